"""UniformTemporalSubsample: frames of a video, evenly spaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array


def even_indices(length: int, count: int) -> Array:
    """``count`` indices from 0 to ``length - 1``, cut to integers as torch cuts its float32 steps.

    torch counts up from the start and down from the end, with one rounding after product and sum; float64 holds both exactly.

    >>> even_indices(10, 4).tolist()
    [0, 3, 6, 9]
    """
    if count < 2:
        return np.zeros(count, np.int64)
    last, at = length - 1, np.arange(count)
    step = np.float64(np.float32(last) / np.float32(count - 1))
    return np.where(at < count // 2, step * at, last - step * (count - 1 - at)).astype(np.float32).astype(np.int64)


@dataclass(frozen=True, slots=True)
class UniformTemporalSubsample:
    """``num_samples`` evenly spaced frames of a video [..., T, C, H, W].

    >>> UniformTemporalSubsample(2).chw(np.arange(5).reshape(5, 1, 1, 1)).ravel().tolist()
    [0, 4]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("uint8", "float")

    num_samples: int

    def __post_init__(self) -> None:
        if self.num_samples < 0:
            raise TransformError(f"num_samples is a number of frames, got {self.num_samples}. Hint: it is 0 or more")

    def chw(self, image: Array) -> Array:
        if image.ndim < 4 or not image.shape[-4]:
            raise TransformError(f"a video is [..., T, C, H, W], got shape {list(image.shape)}. Hint: an image has no frames")
        return image.take(even_indices(image.shape[-4], self.num_samples), -4)
