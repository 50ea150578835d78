"""Zooms: in by a random crop that is resized, out by random padding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.boxes import cropped, padded, resized
from dsbridge.transforms.ops.crop import check_size
from dsbridge.transforms.ops.pad import Sides, mask_fill, padded_chw, padded_pil
from dsbridge.transforms.ops.resize import FILTERS, check_filter, exact_resize, near_resize, nearest, resize_chw
from dsbridge.transforms.ops.values import KINDS, Array, Boxes, Fill, Frame, Pixels

_TRIES = 10


@dataclass(frozen=True, slots=True)
class RandomResizedCrop:
    """A crop of a random part of the area and a random ratio of width to height, resized to ``size``.

    Parameters are (top, left, height, width). When ten tries do not fit, it is the largest centred crop of a ratio in range.

    >>> RandomResizedCrop((2, 2), scale=(1.0, 1.0), ratio=(1.0, 1.0)).draw(np.random.default_rng(0), Frame(4, 6, 3))
    (0, 1, 4, 4)
    """

    EXACT = property(exact_resize)
    NEAR = property(near_resize)

    size: tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        check_size(self.size)
        check_filter(self.interpolation)
        if not 0 <= self.scale[0] <= self.scale[1]:
            raise TransformError(f"scale {self.scale}. Hint: give (smallest, largest) share of the area")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise TransformError(f"ratio {self.ratio}. Hint: give (smallest, largest), above 0")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[int, int, int, int]:
        height, width, _ = frame
        low, high = self.scale
        narrow, wide = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_TRIES):
            first, second, third, fourth = rng.random(4).tolist()
            area = height * width * (low + first * (high - low))
            ratio = math.exp(narrow + second * (wide - narrow))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(third * (height - h + 1)), int(fourth * (width - w + 1)), h, w
        h, w = height, width
        if width / height < self.ratio[0]:
            h = round(w / self.ratio[0])
        elif width / height > self.ratio[1]:
            w = round(h * self.ratio[1])
        return (height - h) // 2, (width - w) // 2, h, w

    def pixels(self, array: Array, top: int, left: int, height: int, width: int) -> Any:
        part = Pixels(array[top : top + height, left : left + width]).pil()
        return part.resize((self.size[1], self.size[0]), FILTERS[self.interpolation])

    def pil(self, image: Any, top: int, left: int, height: int, width: int) -> Any:
        part = image.crop((left, top, left + width, top + height))
        return part.resize((self.size[1], self.size[0]), FILTERS[self.interpolation])

    def chw(self, array: Array, top: int, left: int, height: int, width: int) -> Array:
        return resize_chw(array[..., top : top + height, left : left + width], *self.size, self)

    def mask(self, mask: Array, top: int, left: int, height: int, width: int) -> Array:
        return nearest(mask[..., top : top + height, left : left + width], *self.size)

    def boxes(self, boxes: Boxes, top: int, left: int, height: int, width: int) -> Boxes:
        return resized(cropped(boxes, top, left, height, width), *self.size)


@dataclass(frozen=True, slots=True)
class RandomZoomOut:
    """With probability ``p``, place the image somewhere on a larger canvas.

    ``side_range``: how many times as high and wide the canvas is. Parameters are the (left, top, right, bottom) added.

    >>> RandomZoomOut(side_range=(2.0, 2.0)).chw(np.ones((1, 1, 1)), 0, 0, 1, 1).tolist()
    [[[1.0, 0.0], [0.0, 0.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = KINDS

    fill: Fill = 0
    side_range: tuple[float, float] = (1.0, 4.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.side_range[0] <= self.side_range[1]:
            raise TransformError(f"side_range {self.side_range}. Hint: give (smallest, largest), at least 1")

    def draw(self, rng: np.random.Generator, frame: Frame) -> Sides | None:
        coin, side, across, down = rng.random(4).tolist()
        if coin >= self.p:
            return None
        factor = self.side_range[0] + side * (self.side_range[1] - self.side_range[0])
        more_high, more_wide = int(frame.height * factor) - frame.height, int(frame.width * factor) - frame.width
        left, top = int(more_wide * across), int(more_high * down)
        return left, top, more_wide - left, more_high - top

    def pil(self, image: Any, left: int, top: int, right: int, bottom: int) -> Any:
        return padded_pil(image, (left, top, right, bottom), self.fill, "constant")

    def chw(self, array: Array, left: int, top: int, right: int, bottom: int) -> Array:
        return padded_chw(array, (left, top, right, bottom), self.fill, "constant")

    def mask(self, mask: Array, left: int, top: int, right: int, bottom: int) -> Array:
        return padded_chw(mask, (left, top, right, bottom), mask_fill(self.fill), "constant")

    def boxes(self, boxes: Boxes, left: int, top: int, right: int, bottom: int) -> Boxes:
        return padded(boxes, left, top, right, bottom)
