"""LinearTransformation: a whitening matrix; close to torch's product, which adds up in an order of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array


@dataclass(frozen=True, slots=True, eq=False)
class LinearTransformation:
    """(flat image - mean) times a square matrix. ``matrix`` [D, D] and ``mean`` [D] are arrays, D = C * H * W.

    NEAR is what was measured on images in [0, 1] with orthogonal matrices up to D = 768.

    >>> LinearTransformation(np.eye(4, dtype=np.float32), np.ones(4, np.float32)).chw(np.ones((1, 2, 2), np.float32)).tolist()
    [[[0.0, 0.0], [0.0, 0.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ()
    NEAR: ClassVar[dict[str, float]] = {"float": 5e-6}

    matrix: Array
    mean: Array

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.matrix.shape != (self.mean.size, self.mean.size):
            raise TransformError(
                f"a matrix {list(self.matrix.shape)} and a mean {list(self.mean.shape)}. Hint: they are [D, D] and [D]"
            )

    def chw(self, image: Array) -> Array:
        if image.dtype.kind != "f" or np.prod(image.shape[-3:]) != self.mean.size:
            raise TransformError(
                f"the matrix wants floats [C, H, W] of {self.mean.size} values, got {image.dtype}{list(image.shape)}. "
                "Hint: its matrix fits images of one size only"
            )
        flat = image.reshape(-1, self.mean.size) - self.mean
        out: Array = flat @ self.matrix.astype(flat.dtype, copy=False)
        return out.reshape(image.shape)
