"""Functions that move values and change shapes."""

from __future__ import annotations

from typing import Any

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.creation import shape_of
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import Node, plain


@function("view", "reshape")
def reshape(x: Any, *shape: Any) -> Code:
    """-1 stands for the rest in both; a view as another dtype is not meant."""
    sizes = shape_of(shape)
    if any(not isinstance(plain(size), int) for size in sizes):
        raise Refused("view as another dtype")
    return code("x.reshape(s)", x=x, s=sizes)


@function("view_as", "reshape_as")
def view_as(x: Any, other: Any) -> Code:
    """The shape of another."""
    return code("x.reshape(y.shape)", x=x, y=other)


@function("contiguous", "clone")
def contiguous(x: Any, *, memory_format: Any = None) -> Any:
    """Cells do not write in place: nothing to do."""
    return x


@function("flatten")
def flatten(x: Any, start_dim: Any = 0, end_dim: Any = -1) -> Code:
    """MindSpore's default is start_dim=1."""
    return call("ops.flatten", x, start_dim=start_dim, end_dim=end_dim if plain(end_dim) != -1 else None)


@function("ravel")
def ravel(x: Any) -> Code:
    """One axis."""
    return code("x.reshape(-1)", x=x)


@function("unfold_axis")
def unfold_axis(x: Any, dimension: Any, size: Any, step: Any) -> Code:
    """Windows of an axis, each along a new last one (torch.Tensor.unfold)."""
    return call("unfold_axis", x, dimension, size, step)


@function("unfold")
def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Code:
    """A helper: windows as columns."""
    return call("unfold", x, *map(_pair, (kernel_size, dilation, padding, stride)))


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


@function("hstack")
def hstack(tensors: Any) -> Code:
    """Along the second axis, or the only one."""
    return call("ops.cat", _sequence(tensors), axis=0 if next(iter(tensors)).ndim == 1 else 1)


@function("vstack")
def vstack(tensors: Any) -> Code:
    """Along the first axis, of tensors with two at least."""
    if next(iter(tensors)).ndim < 2:
        return call("ops.stack", _sequence(tensors), axis=0)
    return call("ops.cat", _sequence(tensors), axis=0)


@function("repeat_interleave")
def repeat_interleave(x: Any, repeats: Any, dim: Any = None, *, output_size: Any = None) -> Code:
    """Each element so many times; without an axis of the flattened tensor."""
    if isinstance(repeats, Node) and repeats.shape is not None:
        raise Refused("counts in a tensor: the shape of its result depends on the values")
    return call("ops.repeat_interleave", x, repeats, axis=dim)


@function("diagonal")
def diagonal(x: Any, offset: Any = 0, dim1: Any = 0, dim2: Any = 1) -> Code:
    """Of two axes."""
    return call("ops.diagonal", x, offset, dim1, dim2)


@function("unflatten")
def unflatten(x: Any, dim: int, sizes: Any) -> Code:
    """One axis into several."""
    axis = plain(dim) % x.ndim
    shape = [code("x.shape[i]", x=x, i=i) for i in range(x.ndim)]
    return code("x.reshape(s)", x=x, s=(*shape[:axis], *sizes, *shape[axis + 1 :]))


@function("transpose")
def transpose(x: Any, dim0: Any, dim1: Any) -> Code:
    """Two axes."""
    return code("x.swapaxes(a, b)", x=x, a=dim0, b=dim1)


@function("t", "T", "mT")
def t(x: Any) -> Code:
    """The last two axes of a matrix; of more axes T would reverse all."""
    if x.ndim < 2:
        return code("x", x=x)
    return code("x.swapaxes(-2, -1)", x=x)


@function("permute")
def permute(x: Any, *dims: Any) -> Code:
    """All axes."""
    return code("x.permute(d)", x=x, d=shape_of(dims))


@function("movedim")
def movedim(x: Any, source: Any, destination: Any) -> Code:
    """One or several axes."""
    return call("ops.movedim", x, source, destination)


@function("squeeze")
def squeeze(x: Any, *dim: Any) -> Code:
    """With an axis that may be longer than 1 for other inputs, nothing is what torch does; MindSpore refuses.

    Without one both look at the sizes when it runs: a batch of one loses that axis, too.
    """
    axes = shape_of(dim)
    if not axes:
        return code("x.squeeze()", x=x)
    kept = [axis for axis in axes if x.shape[plain(axis)] == 1]
    if not kept:
        return code("x", x=x)
    return code("x.squeeze(d)", x=x, d=kept[0] if len(kept) == 1 else tuple(kept))


@function("unsqueeze")
def unsqueeze(x: Any, dim: Any) -> Code:
    """One axis."""
    return code("x.unsqueeze(d)", x=x, d=dim)


@function("expand")
def expand(x: Any, *sizes: Any, implicit: bool = False) -> Code:
    """-1 keeps a size in both."""
    return code("x.broadcast_to(s)", x=x, s=shape_of(sizes))


@function("expand_as")
def expand_as(x: Any, other: Any) -> Code:
    """The shape of another."""
    return code("x.broadcast_to(y.shape)", x=x, y=other)


@function("broadcast_to")
def broadcast_to(x: Any, size: Any) -> Code:
    """The same."""
    return code("x.broadcast_to(s)", x=x, s=tuple(size))


@function("repeat", "tile")
def repeat(x: Any, *sizes: Any) -> Code:
    """Tensor.repeat has no kernel on the CPU; tile is the same."""
    return call("ops.tile", x, shape_of(sizes))


@function("cat")
def cat(tensors: Any, dim: Any = 0, *, axis: Any = None) -> Code:
    """The same axis."""
    return call("ops.cat", _sequence(tensors), axis=dim if axis is None else axis)


@function("stack")
def stack(tensors: Any, dim: Any = 0) -> Code:
    """The same axis."""
    return call("ops.stack", _sequence(tensors), axis=dim)


def _sequence(tensors: Any) -> Any:
    return tensors if isinstance(tensors, Node) else tuple(tensors)


@function("chunk")
def chunk(x: Any, chunks: int, dim: Any = 0) -> Code:
    """Equal parts, the last one smaller."""
    return call("ops.chunk", x, chunks, axis=dim)


@function("split")
def split(tensor: Any, split_size_or_sections: Any, dim: Any = 0) -> Code:
    """By a size or by sizes."""
    return call("ops.split", tensor, split_size_or_sections, axis=dim)


@function("tensor_split")
def tensor_split(x: Any, indices_or_sections: Any, dim: Any = 0) -> Code:
    """By sections or indices."""
    return call("ops.tensor_split", x, indices_or_sections, axis=dim)


@function("unbind")
def unbind(x: Any, dim: Any = 0) -> Code:
    """Each slice of an axis."""
    return call("ops.unbind", x, dim=dim)


@function("flip")
def flip(x: Any, *dims: Any) -> Code:
    """Axes reversed."""
    return call("ops.flip", x, shape_of(dims))


@function("fliplr")
def fliplr(x: Any) -> Code:
    """The second axis reversed."""
    return flip(x, 1)


@function("flipud")
def flipud(x: Any) -> Code:
    """The first axis reversed."""
    return flip(x, 0)


@function("diff")
def diff(x: Any, n: Any = 1, dim: Any = -1, prepend: Any = None, append: Any = None) -> Code:
    """Of neighbours."""
    if plain(n) != 1 or prepend is not None or append is not None:
        raise Refused("n, prepend and append")
    return call("ops.diff", x, axis=dim)


@function("diag_embed")
def diag_embed(x: Any, offset: Any = 0, dim1: Any = -2, dim2: Any = -1) -> Code:
    """The last axis as the diagonal of matrices."""
    if (plain(offset), plain(dim1), plain(dim2)) != (0, -2, -1):
        raise Refused("another diagonal than that of the last two axes")
    return call("ops.diag_embed", x)


@function("roll")
def roll(x: Any, shifts: Any, dims: Any = None) -> Code:
    """There is no kernel on the CPU: a helper of slices. Without axes of the flattened tensor."""
    if dims is None:
        return code("r.reshape(x.shape)", r=call("roll", code("x.reshape(-1)", x=x), _tuple(shifts), (0,)), x=x)
    return call("roll", x, _tuple(shifts), _tuple(dims))


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


@function("pad")
def pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Code:
    """The same order of sides, last axis first."""
    if mode == "constant":
        return call("ops.pad", x, tuple(pad), mode="constant", value=value if value is not None else 0)
    if mode == "reflect" or mode == "replicate":
        return call("ops.pad", x, tuple(pad), mode=mode)
    if mode == "circular" and len(pad) // 2 == x.ndim - 2:
        return call("pad_circular", x, tuple(pad))
    raise Refused(f"mode={mode!r}")


@function("pixel_shuffle")
def pixel_shuffle(x: Any, upscale_factor: Any) -> Code:
    """The same factor."""
    return call("ops.pixel_shuffle", x, upscale_factor)


@function("detach")
def detach(x: Any) -> Code:
    """Without gradient."""
    return call("ops.stop_gradient", x)


@function("constant")
def constant(values: Any, dtype: Any) -> Code:
    """A small tensor written out."""
    return call("ms.Tensor", values, dtype)


@function("numel")
def numel(x: Node) -> Code:
    """How many elements."""
    return code("x.size", x=x)
