"""weight_norm and spectral_norm folded into the weight they stand for: MindSpore has no counterpart of either."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np

from dsbridge.checkpoint.rows import Array, Operation
from dsbridge.errors import CheckpointError

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]


def _one(items: tuple[Any, ...]) -> Any:
    if len(items) != 1:
        raise CheckpointError(f"unfold_weight_norm takes one tensor, got {len(items)}")
    return items[0]


def _norms(v: Array, g_shape: Shape) -> Array:
    """The norms of ``v`` over the axes where ``g`` has length one (all for a 0-d g), float64, shaped to broadcast."""
    axes = tuple(axis for axis in range(v.ndim) if not g_shape or g_shape[axis] == 1)
    return cast(Array, np.sqrt(np.sum(np.square(v.astype(np.float64)), axis=axes, keepdims=True)))


@dataclass(frozen=True, slots=True)
class FoldWeightNorm:
    """weight_norm's ``(g, v)`` -> ``v * g / |v|``; the axes of the norm are those where g has length one.

    torch stores g with the rank of v and length one everywhere but at ``dim``, or 0-d for ``dim=None``, so ``dim`` need not be
    given. Computed in float64. The inverse gives ``g = |w|, v = w``: the same weight, not the same g and v.

    >>> FoldWeightNorm().apply((np.full((1, 1), 2.0), np.array([[3.0, 4.0]])))[0]
    array([[1.2, 1.6]])
    """

    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        if len(shapes) != 2:
            raise CheckpointError(f"fold_weight_norm takes g and v, got {len(shapes)} tensors")
        g, v = shapes
        if g and (len(g) != len(v) or any(a not in (1, b) for a, b in zip(g, v, strict=True))):
            raise CheckpointError(f"fold_weight_norm: g of shape {g} does not belong to v of shape {v}")
        return (v,)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        g, v = arrays
        self.shapes((g.shape, v.shape))
        return ((v.astype(np.float64) * (g.astype(np.float64) / _norms(v, g.shape))).astype(v.dtype),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return UnfoldWeightNorm(shapes[0])


@dataclass(frozen=True, slots=True)
class UnfoldWeightNorm:
    """A weight -> weight_norm's ``(g, v)`` with ``v`` the weight itself and ``g`` its norms, of shape ``g``.

    >>> UnfoldWeightNorm((2, 1)).shapes(((2, 3),))
    ((2, 1), (2, 3))
    """

    g: tuple[int, ...]
    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        shape = _one(shapes)
        FoldWeightNorm().shapes((self.g, shape))
        return (self.g, shape)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        v = _one(arrays)
        self.shapes((v.shape,))
        return _norms(v, self.g).reshape(self.g).astype(v.dtype), v

    def inverse(self, shapes: Shapes) -> Operation | None:
        return FoldWeightNorm()


@dataclass(frozen=True, slots=True)
class FoldSpectralNorm:
    """spectral_norm's ``(weight, u, v)`` -> ``weight / (u . W v)``, W the weight as a matrix with ``dim`` as its rows.

    What torch computes in eval mode; float64. No inverse: the norm before cannot be known.

    >>> FoldSpectralNorm(0).apply((np.array([[3.0]]), np.ones(1), np.ones(1)))[0]
    array([[1.]])
    """

    dim: int
    moves_bytes = True

    def shapes(self, shapes: Shapes) -> Shapes:
        if len(shapes) != 3:
            raise CheckpointError(f"fold_spectral_norm takes weight, u and v, got {len(shapes)} tensors")
        weight, u, v = shapes
        if not 0 <= self.dim < len(weight):
            raise CheckpointError(f"fold_spectral_norm: dim {self.dim} of shape {weight}")
        rows = weight[self.dim]
        if u != (rows,) or v != (prod(weight) // max(rows, 1),):
            raise CheckpointError(f"fold_spectral_norm: u {u} and v {v} do not belong to {weight} with dim {self.dim}")
        return (weight,)

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        self.shapes(tuple(array.shape for array in arrays))
        weight, u, v = (array.astype(np.float64) for array in arrays)
        matrix = np.moveaxis(weight, self.dim, 0).reshape(len(u), -1)
        return ((weight / (u @ matrix @ v)).astype(arrays[0].dtype),)

    def inverse(self, shapes: Shapes) -> Operation | None:
        return None
