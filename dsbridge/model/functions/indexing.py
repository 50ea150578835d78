"""Indexing, gathering, sorting."""

from __future__ import annotations

from typing import Any

import torch

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import Node, fixed, plain


@function("getitem")
def getitem(x: Any, index: Any) -> Code:
    """Whole numbers, slices, None, ``...``, tensors of whole numbers; masks that hang on sizes only.

    The gradient of a slice with a step crashes in MindSpore: a helper gathers along that axis, before all other indices.
    """
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if isinstance(part, Node) and part.shape is not None and part.dtype == torch.bool and not fixed(part):
            raise Refused("a mask of values as an index: the shape depends on them")
    rest = list(parts)
    for number, part in enumerate(parts):
        if isinstance(part, slice) and plain(part.step) not in (None, 1):
            x_axis = _axis(parts, number)
            x = call("every", x, x_axis, part.start, part.stop, part.step)
            rest[number] = slice(None)
    if all(part == slice(None) for part in rest if isinstance(part, slice)) and all(
        isinstance(part, slice) or part is Ellipsis for part in rest
    ):
        return x if isinstance(x, Code) else code("x[i]", x=x, i=index)
    return code("x[i]", x=x, i=tuple(rest) if isinstance(index, tuple) else rest[0])


def _axis(parts: tuple[Any, ...], number: int) -> int:
    """The axis that a part of an index is for: from the front, or behind ``...`` from the back."""
    takes = [part is not None and part is not Ellipsis for part in parts]
    if Ellipsis in [part for part in parts[:number] if part is None or part is Ellipsis]:
        return -sum(takes[number:])
    return sum(takes[:number])


@function("select")
def select(x: Any, dim: int, index: Any) -> Code:
    """One slice of an axis."""
    return code("x[i]", x=x, i=(*(slice(None),) * (plain(dim) % x.ndim), index))


@function("narrow")
def narrow(x: Any, dim: int, start: Any, length: Any) -> Code:
    """A part of an axis."""
    return call("ops.narrow", x, dim, start, length)


@function("index_select")
def index_select(x: Any, dim: int, index: Any) -> Code:
    """Along one axis."""
    return call("ops.index_select", x, dim, index)


@function("scatter")
def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Code:
    """Values of a tensor, or one number; which of several for one place is kept is nobody's to know."""
    given = src if value is None else value
    if not (isinstance(given, Node) and given.shape is not None):
        given = code("ops.ones(i.shape, d) * v", i=index, d=x.dtype, v=given)
    elif given.shape != index.shape:
        raise Refused("more values than indices")
    return call("ops.tensor_scatter_elements", x, index, given, axis=dim)


@function("scatter_add")
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Code:
    """All that go to one place are added."""
    if src.shape != index.shape:
        raise Refused("more values than indices")
    return call("ops.tensor_scatter_elements", x, index, src, axis=dim, reduction="add")


@function("scatter_reduce")
def scatter_reduce(x: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Code:
    """Sums."""
    if reduce != "sum" or not include_self:
        raise Refused(f"reduce={reduce!r}, include_self={include_self}")
    return scatter_add(x, dim, index, src)


@function("index_add")
def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Code:
    """Slices added at places along an axis; ops.index_add also writes into its argument."""
    shape = tuple(-1 if axis == plain(dim) % x.ndim else 1 for axis in range(x.ndim))
    places = code("i.reshape(s).broadcast_to(y.shape)", i=index, s=shape, y=source)
    added = source if plain(alpha) == 1 else code("a * y", a=alpha, y=source)
    return call("ops.tensor_scatter_elements", x, places, added, axis=dim, reduction="add")


@function("masked_select", "nonzero", "argwhere", "unique", "unique_consecutive", "bincount")
def selected(*args: Any, **kwargs: Any) -> Code:
    """How many there are depends on the values."""
    raise Refused("the shape of its result depends on the values")


@function("take_along_dim")
def take_along_dim(x: Any, indices: Any, dim: Any = None) -> Code:
    """As gather, for indices of the tensor's shape but for that axis."""
    sizes = [a == b for axis, (a, b) in enumerate(zip(x.shape, indices.shape, strict=True)) if axis != plain(dim) % x.ndim]
    if dim is None or not all(sizes):
        raise Refused("without an axis, or indices that are broadcast")
    return gather(x, dim, indices)


@function("gather")
def gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Code:
    """torch's gather is gather_elements there."""
    return call("ops.gather_elements", x, dim, index)


@function("topk")
def topk(x: Any, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True) -> Code:
    """(values, indices)."""
    return call("ops.topk", x, k, dim=dim, largest=largest, sorted=sorted)


@function("sort")
def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Code:
    """(values, indices)."""
    return call("ops.sort", x, axis=dim, descending=descending)


@function("argsort")
def argsort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Code:
    """int64 as in torch."""
    return code("ops.argsort(x, axis=d, descending=r).astype(ms.int64)", x=x, d=dim, r=descending)


@function("embedding")
def embedding(
    x: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Code:  # fmt: skip
    """A lookup; the row of padding_idx gets no gradient."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Refused("max_norm, scale_grad_by_freq and sparse gradients")
    if padding_idx is None:
        return call("ops.gather", weight, x, 0)
    row = plain(padding_idx)
    return call("padded_embedding", x, weight, row if row >= 0 else weight.shape[0] + row)


@function("one_hot")
def one_hot(x: Any, num_classes: int = -1) -> Code:
    """As int64."""
    if plain(num_classes) < 1:
        raise Refused("num_classes=-1 depends on the values")
    return code("ops.one_hot(x, n, ms.Tensor(1), ms.Tensor(0)).astype(ms.int64)", x=x, n=num_classes)


@function("tril")
def tril(x: Any, diagonal: Any = 0) -> Code:
    """The lower triangle."""
    return call("ops.tril", x, diagonal)


@function("triu")
def triu(x: Any, diagonal: Any = 0) -> Code:
    """The upper triangle."""
    return call("ops.triu", x, diagonal)
