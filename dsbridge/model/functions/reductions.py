"""Reductions over axes."""

from __future__ import annotations

from typing import Any

import torch

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import plain


def _axis(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, list) else dim


@function("sum")
def sum_(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Booleans and small integers are summed as int64, as in torch."""
    x = _summed(x, dtype)
    return code("x.sum()", x=x) if dim is None else over("sum", x, _axis(dim), keepdim)


def _summed(x: Any, dtype: Any) -> Any:
    """In the dtype in which torch adds up."""
    if dtype is None and not x.dtype.is_floating_point:
        return code("x.astype(ms.int64)", x=x)
    return x if dtype is None else code("x.astype(d)", x=x, d=dtype)


@function("mean")
def mean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Over one, several or all axes."""
    x = x if dtype is None else code("x.astype(d)", x=x, d=dtype)
    return code("x.mean()", x=x) if dim is None else over("mean", x, _axis(dim), keepdim)


def over(name: str, x: Any, axis: Any, keepdims: bool) -> Code:
    """A reduction; that axes are kept is written if they are."""
    return code(f"ops.{name}(x, a, True)" if keepdims else f"x.{name}(a)", x=x, a=axis)


@function("amax")
def amax(x: Any, dim: Any = (), keepdim: bool = False) -> Code:
    """Values only."""
    return call("ops.amax", x, axis=_axis(dim) or None, keepdims=keepdim or None)


@function("amin")
def amin(x: Any, dim: Any = (), keepdim: bool = False) -> Code:
    """Values only."""
    return call("ops.amin", x, axis=_axis(dim) or None, keepdims=keepdim or None)


@function("max")
def max_(x: Any, dim: Any = None, keepdim: bool = False) -> Code:
    """Without an axis the largest value; of two tensors the larger; with one (values, indices)."""
    return _extreme("max", "maximum", x, dim, keepdim)


@function("min")
def min_(x: Any, dim: Any = None, keepdim: bool = False) -> Code:
    """As max."""
    return _extreme("min", "minimum", x, dim, keepdim)


def _extreme(name: str, of_two: str, x: Any, dim: Any, keepdim: bool) -> Code:
    if dim is None:
        return code(f"x.{name}()", x=x)
    if not isinstance(plain(dim), int):
        return call(f"ops.{of_two}", x, dim)
    return call(f"ops.{name}", x, axis=dim, keepdims=keepdim or None)


@function("argmax")
def argmax(x: Any, dim: Any = None, keepdim: bool = False) -> Code:
    """int64 in both."""
    return call("ops.argmax", x, dim=dim, keepdim=keepdim or None)


@function("argmin")
def argmin(x: Any, dim: Any = None, keepdim: bool = False) -> Code:
    """int64 in both."""
    found = call("ops.argmin", x, axis=dim, keepdims=keepdim or None)
    return code("f.astype(ms.int64)", f=found)


@function("count_nonzero")
def count_nonzero(x: Any, dim: Any = None) -> Code:
    """As int64."""
    return sum_(code("(x != 0).astype(ms.int64)", x=x), dim, dtype=torch.int64)


@function("var")
def var(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Code:
    """The mean of squared differences, over n - correction."""
    return _variance(x, dim, unbiased, keepdim, correction)


@function("std")
def std(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Code:
    """The root of var."""
    return code("ops.sqrt(v)", v=_variance(x, dim, unbiased, keepdim, correction))


def _variance(x: Any, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> Code:
    if dim is None or isinstance(dim, bool):
        raise Refused("without an axis")
    less = correction if correction is not None else (1 if unbiased in (None, True) else 0)
    return call("variance", x, _axis(dim), less, keepdim)


@function("var_mean")
def var_mean(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Code:
    """Two results at once."""
    return code("(v, m)", v=var(x, dim, unbiased, keepdim, correction=correction), m=over("mean", x, _axis(dim), keepdim))


@function("std_mean")
def std_mean(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Code:
    """Two results at once."""
    return code("(v, m)", v=std(x, dim, unbiased, keepdim, correction=correction), m=over("mean", x, _axis(dim), keepdim))


@function("pairwise_distance")
def pairwise_distance(x: Any, y: Any, p: Any = 2.0, eps: Any = 1e-6, keepdim: bool = False) -> Code:
    """The Euclidean one; eps is added to every difference."""
    if plain(p) != 2.0:
        raise Refused(f"p={p}")
    return norm(code("x - y + e", x=x, y=y, e=eps), dim=-1, keepdim=keepdim)


@function("norm")
def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Code:
    """The Euclidean norm."""
    if plain(p) not in ("fro", 2, 2.0, None) or dtype is not None:
        raise Refused(f"p={p}")
    squares = code("x * x", x=x)
    return code("ops.sqrt(s)", s=code("s.sum()", s=squares) if dim is None else over("sum", squares, _axis(dim), keepdim))


@function("linalg_vector_norm", "linalg_norm")
def vector_norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """The Euclidean norm."""
    return norm(x, "fro" if ord is None else ord, dim, keepdim, dtype)


@function("cumprod")
def cumprod(x: Any, dim: Any, *, dtype: Any = None) -> Code:
    """Of floating-point numbers."""
    if dtype is not None or not x.dtype.is_floating_point:
        raise Refused("dtype, and whole numbers")
    return call("ops.cumprod", x, dim)


@function("cumsum")
def cumsum(x: Any, dim: Any, *, dtype: Any = None) -> Code:
    """Whole numbers as int64, as in torch."""
    return call("ops.cumsum", _summed(x, dtype), dim)


@function("logsumexp")
def logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Code:
    """With the maximum taken out."""
    return call("ops.logsumexp", x, _axis(dim), keepdim)


@function("prod")
def prod(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Over one axis or all."""
    if dtype is not None:
        raise Refused("dtype")
    return call("ops.prod", x, axis=dim, keep_dims=keepdim or None)


@function("all")
def every(x: Any, dim: Any = None, keepdim: bool = False) -> Code:
    """Of booleans."""
    return call("ops.all", x, axis=dim, keep_dims=keepdim or None)


@function("any")
def some(x: Any, dim: Any = None, keepdim: bool = False) -> Code:
    """Of booleans."""
    return call("ops.any", x, axis=dim, keep_dims=keepdim or None)
