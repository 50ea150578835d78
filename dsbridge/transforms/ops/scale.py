"""Resizing to a size that is drawn for each image; parameters are the (height, width) to resize to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.boxes import resized
from dsbridge.transforms.ops.resize import (
    check_filter,
    exact_resize,
    mask_filter,
    near_resize,
    nearest,
    resize_chw,
    resize_pil,
    resized_size,
)
from dsbridge.transforms.ops.values import Array, Boxes, Frame


def _pil(op: Any, image: Any, height: int, width: int) -> Any:
    return resize_pil(image, height, width, op.interpolation)


def _chw(op: Any, array: Array, height: int, width: int) -> Array:
    return resize_chw(array, height, width, op)


def _mask(op: Any, mask: Array, height: int, width: int) -> Array:
    return nearest(mask, height, width, mask_filter(op.interpolation))


def _boxes(op: Any, boxes: Boxes, height: int, width: int) -> Boxes:
    return resized(boxes, height, width)


def _times(frame: Frame, factor: float) -> tuple[int, int]:
    height, width = int(frame.height * factor), int(frame.width * factor)
    if height < 1 or width < 1:
        raise TransformError(
            f"an image of {frame.height}x{frame.width} scaled by {factor:.4g} has no pixels. Hint: use larger images or scales"
        )
    return height, width


@dataclass(frozen=True, slots=True)
class RandomResize:
    """Resize the shorter side to a whole number of pixels, at least ``min_size`` and less than ``max_size``.

    >>> RandomResize(4, 5).draw(np.random.default_rng(0), Frame(8, 10, 3))
    (4, 5)
    """

    EXACT = property(exact_resize)
    NEAR = property(near_resize)

    min_size: int
    max_size: int
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        check_filter(self.interpolation)
        if not 0 < self.min_size < self.max_size:
            raise TransformError(f"sizes from {self.min_size} to less than {self.max_size}. Hint: give 0 < min_size < max_size")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[int, int]:
        size = self.min_size + int(rng.random() * (self.max_size - self.min_size))
        return resized_size(frame.height, frame.width, size)

    pil, chw, mask, boxes = _pil, _chw, _mask, _boxes


@dataclass(frozen=True, slots=True)
class RandomShortestSize:
    """Scale the shorter side to one of ``min_size``, but the longer to at most ``max_size``.

    >>> RandomShortestSize((4,), max_size=6).draw(np.random.default_rng(0), Frame(8, 16, 3))
    (3, 6)
    """

    EXACT = property(exact_resize)
    NEAR = property(near_resize)

    min_size: tuple[int, ...]
    max_size: int | None = None
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        check_filter(self.interpolation)
        if not self.min_size or min(self.min_size) < 1:
            raise TransformError(f"min_size {self.min_size}. Hint: give a tuple of sizes above 0")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[int, int]:
        factor = self.min_size[int(rng.random() * len(self.min_size))] / min(frame.height, frame.width)
        if self.max_size is not None:
            factor = min(factor, self.max_size / max(frame.height, frame.width))
        return _times(frame, factor)

    pil, chw, mask, boxes = _pil, _chw, _mask, _boxes


@dataclass(frozen=True, slots=True)
class ScaleJitter:
    """Fit the image into ``target_size`` times a factor from ``scale_range``; torchvision divides the height by the second.

    >>> ScaleJitter((8, 8), (1.0, 1.0)).draw(np.random.default_rng(0), Frame(4, 2, 3))
    (8, 4)
    """

    EXACT = property(exact_resize)
    NEAR = property(near_resize)

    target_size: tuple[int, int]
    scale_range: tuple[float, float] = (0.1, 2.0)
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        check_filter(self.interpolation)
        if min(self.scale_range) <= 0:
            raise TransformError(f"scale_range {self.scale_range}. Hint: scales are above 0")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[int, int]:
        low, high = self.scale_range
        fitting = min(self.target_size[1] / frame.height, self.target_size[0] / frame.width)
        return _times(frame, fitting * (low + rng.random() * (high - low)))

    pil, chw, mask, boxes = _pil, _chw, _mask, _boxes
