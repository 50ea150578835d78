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


def axes_of(x: Any, dim: Any) -> Any:
    """Those asked for, or all."""
    return tuple(range(x.ndim)) if dim is None else _axis(dim)


@function("sum")
def sum_(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Booleans and small integers are summed as int64, as in torch."""
    total = _summed(x, dtype)
    return code("x.sum()", x=total) if dim is None and not keepdim else over("sum", total, axes_of(x, dim), keepdim)


def _summed(x: Any, dtype: Any) -> Any:
    """In the dtype in which torch adds up."""
    if dtype is None and not x.dtype.is_floating_point:
        return code("x.astype(ms.int64)", x=x)
    return x if dtype is None else code("x.astype(d)", x=x, d=dtype)


@function("nansum")
def nansum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """What is no number counts as 0."""
    if dtype is not None or not x.dtype.is_floating_point:
        raise Refused("dtype, and whole numbers")
    return over("sum", code("x.masked_fill(ops.isnan(x), 0.0)", x=x), axes_of(x, dim), keepdim)


@function("mean")
def mean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Over one, several or all axes."""
    values = x if dtype is None else code("x.astype(d)", x=x, d=dtype)
    return code("x.mean()", x=values) if dim is None and not keepdim else over("mean", values, axes_of(x, dim), keepdim)


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
    return call("root", _variance(x, dim, unbiased, keepdim, correction))


def _variance(x: Any, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> Code:
    if isinstance(dim, bool):  # x.var(False)
        dim, unbiased = None, dim
    less = correction if correction is not None else (1 if unbiased in (None, True) else 0)
    return call("variance", x, axes_of(x, dim), less, keepdim)


@function("var_mean")
def var_mean(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Code:
    """Two results at once."""
    return code("(v, m)", v=var(x, dim, unbiased, keepdim, correction=correction), m=mean(x, dim, keepdim))


@function("std_mean")
def std_mean(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None) -> Code:
    """Two results at once."""
    return code("(v, m)", v=std(x, dim, unbiased, keepdim, correction=correction), m=mean(x, dim, keepdim))


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
