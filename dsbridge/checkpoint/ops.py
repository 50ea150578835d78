"""What happens to tensors on their way: the operations of ``rows.Operation``, each with its inverse.

A rename is none of them: rows carry names. All work on numpy arrays (bfloat16 and fp8 by ml_dtypes) and need neither framework.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import prod
from typing import Any, cast

import ml_dtypes
import numpy as np

from dsbridge.checkpoint.norm_folds import FoldSpectralNorm, FoldWeightNorm, UnfoldWeightNorm
from dsbridge.checkpoint.rows import Array, Operation
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import numpy_dtype

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]


def _one(shapes: tuple[Any, ...], what: str) -> Any:
    if len(shapes) != 1:
        raise CheckpointError(f"{what} takes one tensor, got {len(shapes)}")
    return shapes[0]


def _axis(axis: int, rank: int, what: str) -> int:
    if not -rank <= axis < rank:
        raise CheckpointError(f"{what}: axis {axis} of a tensor of {rank} dimensions")
    return axis % rank


@dataclass(frozen=True, slots=True)
class ExpandDims:
    """Insert axes of length one; ``axes`` are positions in the result, rising.

    >>> ExpandDims((2,)).shapes(((8, 4, 3),))
    ((8, 4, 1, 3),)
    """

    axes: tuple[int, ...]
    moves_bytes = False

    def shapes(self, shapes: Shapes) -> Shapes:
        shape = list(_one(shapes, "expand_dims"))
        for axis in self.axes:
            if not 0 <= axis <= len(shape):
                raise CheckpointError(f"expand_dims: axis {axis} of a tensor of {len(shape)} dimensions")
            shape.insert(axis, 1)
        return (tuple(shape),)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        array = _one(arrays, "expand_dims")
        return (array.reshape(self.shapes((array.shape,))[0]),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Squeeze(self.axes)


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Remove axes of length one; ``axes`` are positions in the source, rising.

    >>> Squeeze((2, 3)).shapes(((8, 4, 1, 1),))
    ((8, 4),)
    """

    axes: tuple[int, ...]
    moves_bytes = False

    def shapes(self, shapes: Shapes) -> Shapes:
        shape = list(_one(shapes, "squeeze"))
        for axis in reversed(self.axes):
            if not 0 <= axis < len(shape) or shape[axis] != 1:
                raise CheckpointError(f"squeeze: axis {axis} of shape {tuple(shape)} is not of length 1")
            del shape[axis]
        return (tuple(shape),)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        array = _one(arrays, "squeeze")
        return (array.reshape(self.shapes((array.shape,))[0]),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return ExpandDims(self.axes)


@dataclass(frozen=True, slots=True)
class Permute:
    """Reorder the axes, as ``numpy.transpose``; a matrix is transposed by ``Permute((1, 0))``.

    >>> Permute((1, 0)).shapes(((3, 5),))
    ((5, 3),)
    """

    axes: tuple[int, ...]
    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        shape = _one(shapes, "permute")
        if sorted(self.axes) != list(range(len(shape))):
            raise CheckpointError(f"permute: {self.axes} is no order of the axes of shape {tuple(shape)}")
        return (tuple(shape[axis] for axis in self.axes),)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        array = _one(arrays, "permute")
        self.shapes((array.shape,))
        return (array.transpose(self.axes),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Permute(tuple(self.axes.index(axis) for axis in range(len(self.axes))))


@dataclass(frozen=True, slots=True)
class Split:
    """Cut along an axis; ``sizes``: the lengths of the parts, or into how many equal ones.

    >>> Split(0, 3).shapes(((9, 4),))
    ((3, 4), (3, 4), (3, 4))
    """

    axis: int
    sizes: tuple[int, ...] | int
    moves_bytes = True

    def _lengths(self, shape: Shape) -> tuple[int, tuple[int, ...]]:
        axis = _axis(self.axis, len(shape), "split")
        sizes = self.sizes
        if isinstance(sizes, int):
            if sizes < 1 or shape[axis] % sizes:
                raise CheckpointError(f"split: axis {axis} of shape {shape} does not part into {sizes} equal ones")
            return axis, (shape[axis] // sizes,) * sizes
        if sum(sizes) != shape[axis] or min(sizes, default=0) < 0:
            raise CheckpointError(f"split: sizes {sizes} do not add up to axis {axis} of shape {shape}")
        return axis, sizes

    def shapes(self, shapes: Shapes) -> Shapes:
        shape = _one(shapes, "split")
        axis, lengths = self._lengths(shape)
        return tuple((*shape[:axis], length, *shape[axis + 1 :]) for length in lengths)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        array = _one(arrays, "split")
        axis, lengths = self._lengths(array.shape)
        return tuple(np.split(array, np.cumsum(lengths)[:-1].tolist(), axis))

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Concat(self.axis)


@dataclass(frozen=True, slots=True)
class Concat:
    """Join along an axis; the inverse cuts at the sources' lengths.

    >>> Concat(0).inverse(((2, 4), (3, 4)))
    Split(axis=0, sizes=(2, 3))
    """

    axis: int
    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        if not shapes:
            raise CheckpointError("concat: no tensors")
        axis = _axis(self.axis, len(shapes[0]), "concat")
        if len({(*shape[:axis], *shape[axis + 1 :], len(shape)) for shape in shapes}) != 1:
            raise CheckpointError(f"concat: shapes {', '.join(map(str, shapes))} differ beside axis {axis}")
        return ((*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]),)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        self.shapes(tuple(array.shape for array in arrays))
        _same_dtype(arrays, "concat")
        return (np.concatenate(arrays, self.axis),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Split(self.axis, tuple(shape[self.axis] for shape in shapes))


def _same_dtype(arrays: tuple[Array, ...], what: str) -> None:
    dtypes = sorted({array.dtype.name for array in arrays})
    if len(dtypes) > 1:  # numpy would widen them without a word
        raise CheckpointError(f"{what}: dtypes {', '.join(dtypes)} differ", hint="cast them to one first")


@dataclass(frozen=True, slots=True)
class Stack:
    """Join along a new axis.

    >>> Stack(0).shapes(((4, 2), (4, 2), (4, 2)))
    ((3, 4, 2),)
    """

    axis: int
    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        if len(set(shapes)) != 1:
            raise CheckpointError(f"stack: shapes {', '.join(map(str, shapes)) or 'none'} are not one")
        axis = _axis(self.axis, len(shapes[0]) + 1, "stack")
        return ((*shapes[0][:axis], len(shapes), *shapes[0][axis:]),)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        self.shapes(tuple(array.shape for array in arrays))
        _same_dtype(arrays, "stack")
        return (np.stack(arrays, self.axis),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Unstack(self.axis)


@dataclass(frozen=True, slots=True)
class Unstack:
    """Take an axis apart, one tensor for each position.

    >>> Unstack(0).shapes(((2, 5),))
    ((5,), (5,))
    """

    axis: int
    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        shape = _one(shapes, "unstack")
        axis = _axis(self.axis, len(shape), "unstack")
        return ((*shape[:axis], *shape[axis + 1 :]),) * int(shape[axis])

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        array = _one(arrays, "unstack")
        axis = _axis(self.axis, array.ndim, "unstack")
        index: tuple[Any, ...] = (slice(None),) * axis
        return tuple(array[(*index, at, ...)] for at in range(array.shape[axis]))

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Stack(self.axis)


@dataclass(frozen=True, slots=True)
class Cast:
    """Change the dtype from ``source`` to ``dtype`` (names of ``schema.dtypes``); lossy ones have no inverse.

    bfloat16 <-> float32 keeps every bit, NaN payloads included; other widening quietens signalling NaNs.

    >>> Cast("float32", "bfloat16").lossy, Cast("float16", "float32").lossy
    (False, True)
    """

    dtype: str
    source: str
    moves_bytes = True

    @property
    def lossy(self) -> bool:
        """Whether some value of ``source`` has no equal in ``dtype``."""
        return not np.can_cast(numpy_dtype(self.source), numpy_dtype(self.dtype), "safe")

    def shapes(self, shapes: Shapes) -> Shapes:
        return shapes

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(self._cast(array) for array in arrays)

    def _cast(self, array: Array) -> Array:
        source, dtype = numpy_dtype(self.source), numpy_dtype(self.dtype)
        if array.dtype != source:
            raise CheckpointError(f"cast: a tensor of {array.dtype.name}, expected {source.name}")
        if source == ml_dtypes.bfloat16 and dtype == np.float32:
            return cast(Array, (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32))
        if source == np.float32 and dtype == ml_dtypes.bfloat16:
            bits = array.view(np.uint32)
            if not (bits & 0xFFFF).any():  # all are bfloat16 values: astype would rewrite NaN payloads
                return cast(Array, (bits >> 16).astype(np.uint16).view(dtype))
        return array.astype(dtype)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return None if self.lossy else Cast(self.source, self.dtype)


@dataclass(frozen=True, slots=True)
class Const:
    """A tensor from nothing: ``value`` everywhere, or (bytes) its content, little-endian.

    >>> Const(1.0, (2,), "float32").apply(())[0]
    array([1., 1.], dtype=float32)
    """

    value: float | bytes
    shape: tuple[int, ...]
    dtype: str
    moves_bytes = True

    def __post_init__(self) -> None:
        nbytes = prod(self.shape) * numpy_dtype(self.dtype).itemsize
        if isinstance(self.value, bytes) and len(self.value) != nbytes:
            raise CheckpointError(f"const: {len(self.value)} bytes for {self.dtype}{list(self.shape)}, expected {nbytes}")

    def shapes(self, shapes: Shapes) -> Shapes:
        return (self.shape,)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        dtype = numpy_dtype(self.dtype)
        if isinstance(self.value, bytes):
            return (np.frombuffer(self.value, dtype).reshape(self.shape),)
        return (np.full(self.shape, self.value, dtype),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return Drop()


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing from a tensor; what it held is gone, so there is no inverse.

    >>> Drop().apply((np.ones(2),))
    ()
    """

    moves_bytes = False

    def shapes(self, shapes: Shapes) -> Shapes:
        return ()

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        return ()

    def inverse(self, shapes: Shapes) -> Operation | None:
        return None


OPERATIONS: dict[str, Callable[..., Operation]] = {
    "expand_dims": ExpandDims,
    "squeeze": Squeeze,
    "permute": Permute,
    "split": Split,
    "concat": Concat,
    "stack": Stack,
    "unstack": Unstack,
    "cast": Cast,
    "const": Const,
    "drop": Drop,
    "fold_weight_norm": FoldWeightNorm,
    "unfold_weight_norm": UnfoldWeightNorm,
    "fold_spectral_norm": FoldSpectralNorm,
}
"""The operations by their names in rule files."""


def spelled(operation: Operation) -> str:
    """An operation's name in rule files.

    >>> spelled(Permute((1, 0)))
    'permute'
    """
    return next(name for name, kind in OPERATIONS.items() if kind is type(operation))


def arguments(operation: Operation) -> dict[str, Any]:
    """An operation's arguments by name.

    >>> arguments(Split(0, (1, 2)))
    {'axis': 0, 'sizes': (1, 2)}
    """
    return {item.name: getattr(operation, item.name) for item in fields(operation)}  # type: ignore[arg-type]


def through(operations: tuple[Operation, ...], shapes: Shapes) -> Shapes:
    """The shapes after all operations in turn.

    >>> through((Permute((1, 0)), Split(0, 2)), ((3, 4),))
    ((2, 3), (2, 3))
    """
    for operation in operations:
        shapes = operation.shapes(shapes)
    return shapes


def reverse(operations: tuple[Operation, ...], shapes: Shapes) -> tuple[Operation, ...] | None:
    """The operations that lead back to tensors of ``shapes``; None where one has no inverse.

    >>> reverse((ExpandDims((2,)), Permute((1, 0, 2, 3))), ((8, 4, 3),))
    (Permute(axes=(1, 0, 2, 3)), Squeeze(axes=(2,)))
    """
    back: list[Operation] = []
    for operation in operations:
        inverse = operation.inverse(shapes)
        if inverse is None:
            return None
        back.insert(0, inverse)
        shapes = operation.shapes(shapes)
    return tuple(back)
