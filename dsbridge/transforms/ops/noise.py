"""Gaussian noise on arrays; torchvision has none for PIL images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Frame


@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """Add normal noise. ``mean`` and ``sigma`` are of the range [0, 1] and count 255 times for uint8.

    Without ``clip`` uint8 wraps round.

    >>> GaussianNoise(sigma=0.0, mean=0.5).chw(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.float32)).item()
    127
    """

    EXACT: ClassVar[tuple[str, ...]] = ("uint8", "float")

    mean: float = 0.0
    sigma: float = 0.1
    clip: bool = True

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise TransformError(f"GaussianNoise of sigma {self.sigma}. Hint: a deviation is 0 or more")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Array]:
        return (rng.standard_normal((frame.channels, frame.height, frame.width), np.float32),)

    def chw(self, array: Array, noise: Array) -> Array:
        whole = array.dtype == np.uint8
        scale = 255 if whole else 1
        kind = np.float32 if whole else array.dtype.type
        added = noise.astype(kind, copy=False) * kind(self.sigma * scale)
        added += kind(self.mean * scale)
        total = array + added.astype(np.int16 if whole else kind, copy=False)
        result: Array = np.clip(total, 0, scale) if self.clip else total
        return result.astype(array.dtype, copy=False)
