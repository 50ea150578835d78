"""Norms, distances and linear algebra. Norms of zeros have the gradient 0, as in torch."""

from __future__ import annotations

import math
from typing import Any

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.reductions import amax, amin, axes_of, over
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import plain

MATRIX = 2  # axes


@function("pairwise_distance")
def pairwise_distance(x: Any, y: Any, p: Any = 2.0, eps: Any = 1e-6, keepdim: bool = False) -> Code:
    """eps is added to every difference."""
    return norm(code("x - y + e", x=x, y=y, e=eps), p, -1, keepdim)


@function("norm")
def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Code:
    """The Euclidean norm, the sum of sizes, the largest or the smallest size."""
    order = plain(p)
    if dtype is not None or order not in (None, "fro", 1, 2, math.inf, -math.inf):
        raise Refused(f"p={p}" if dtype is None else "dtype")
    if order in (math.inf, -math.inf):
        return (amax if order > 0 else amin)(call("ops.abs", x), () if dim is None else dim, keepdim)
    terms = call("ops.abs", x) if order == 1 else call("ops.square", x)
    total = code("t.sum()", t=terms) if dim is None and not keepdim else over("sum", terms, axes_of(x, dim), keepdim)
    return total if order == 1 else call("root", total)


@function("linalg_vector_norm")
def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Of all values, or over axes."""
    return norm(x, ord, dim, keepdim, dtype)


@function("linalg_norm")
def linalg_norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Code:
    """Of vectors; over two axes an order means a norm of matrices, of which there is the Frobenius one."""
    axes = range(x.ndim) if dim is None else dim
    if ord not in (None, "fro") and not isinstance(axes, int) and len(axes) == MATRIX:
        raise Refused(f"ord={ord!r} of a matrix")
    return norm(x, ord, dim, keepdim, dtype)


@function("linalg_matrix_norm")
def matrix_norm(x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None) -> Code:
    """The Frobenius norm."""
    return linalg_norm(x, ord, dim, keepdim, dtype=dtype)


@function("cdist")
def cdist(x: Any, y: Any, p: Any = 2.0, compute_mode: Any = None) -> Code:
    """Between all pairs of rows: ops.cdist has no gradient at equal rows."""
    return norm(code("x.unsqueeze(-2) - y.unsqueeze(-3)", x=x, y=y), p, -1)


@function("cross", "linalg_cross")
def cross(x: Any, other: Any, dim: Any = -1) -> Code:
    """Of vectors of three."""
    return call("ops.cross", x, other, dim=dim)


@function("inner")
def inner(x: Any, other: Any) -> Code:
    """Products of all rows with all rows."""
    if x.ndim == other.ndim == 1:
        return code("(x * y).sum()", x=x, y=other)
    if x.ndim != MATRIX or other.ndim != MATRIX:
        raise Refused(f"of {x.ndim}-d and {other.ndim}-d tensors: two vectors or two matrices")
    return code("x @ y.swapaxes(0, 1)", x=x, y=other)


@function("trace")
def trace(x: Any) -> Code:
    """The sum of the diagonal."""
    return call("ops.trace", x)


@function("diag")
def diag(x: Any, diagonal: Any = 0) -> Code:
    """A matrix with a diagonal, or the diagonal of a matrix."""
    if x.ndim == MATRIX:
        return call("ops.diagonal", x, diagonal)
    if plain(diagonal) != 0:
        raise Refused("another diagonal than the main one")
    return call("ops.diag", x)


@function("linalg_inv", "inverse")
def inverse(x: Any) -> Code:
    """Of square matrices."""
    return call("ops.inverse", x)


@function("linalg_det", "det")
def det(x: Any) -> Code:
    """Of square matrices."""
    return call("ops.det", x)
