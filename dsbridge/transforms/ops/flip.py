"""Flips: horizontal and vertical, of images, boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.transforms.ops.values import Array, Boxes, Frame


@dataclass(frozen=True, slots=True)
class RandomHorizontalFlip:
    """Mirror left and right with probability ``p``.

    >>> RandomHorizontalFlip(p=1.0).chw(np.arange(3).reshape(1, 1, 3)).tolist()
    [[[2, 1, 0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")
    ALIKE: ClassVar[bool] = True

    p: float = 0.5

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return image.transpose(0)  # FLIP_LEFT_RIGHT

    def chw(self, image: Array) -> Array:
        return image[..., ::-1]

    mask = chw

    def boxes(self, boxes: Boxes) -> Boxes:
        array, width = boxes.array.copy(), boxes.canvas[1]
        if boxes.format == "XYXY":
            array[:, [0, 2]] = -(array[:, [2, 0]] - width)  # torch's -0.0, too
        elif boxes.format == "XYWH":
            array[:, 0] = -(array[:, 0] + array[:, 2] - width)
        else:
            array[:, 0] = -(array[:, 0] - width)
        return boxes.with_array(array)


@dataclass(frozen=True, slots=True)
class RandomVerticalFlip:
    """Mirror top and bottom with probability ``p``.

    >>> RandomVerticalFlip(p=1.0).chw(np.arange(3).reshape(1, 3, 1)).tolist()
    [[[2], [1], [0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")
    ALIKE: ClassVar[bool] = True

    p: float = 0.5

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return image.transpose(1)  # FLIP_TOP_BOTTOM

    def chw(self, image: Array) -> Array:
        return image[..., ::-1, :]

    mask = chw

    def boxes(self, boxes: Boxes) -> Boxes:
        array, height = boxes.array.copy(), boxes.canvas[0]
        if boxes.format == "XYXY":
            array[:, [1, 3]] = -(array[:, [3, 1]] - height)
        elif boxes.format == "XYWH":
            array[:, 1] = -(array[:, 1] + array[:, 3] - height)
        else:
            array[:, 1] = -(array[:, 1] - height)
        return boxes.with_array(array)
