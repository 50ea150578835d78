"""Rotation by a random angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.transforms.ops.values import Array, Boxes, Fill, Frame
from dsbridge.transforms.ops.warp import RESAMPLING, Point, check_interpolation, check_range, colour
from dsbridge.transforms.ops.warp_targets import affine_boxes, affine_mask

_ONLY_TURNED: tuple[Point, float, Point] = ((0.0, 0.0), 1.0, (0.0, 0.0))


@dataclass(frozen=True, slots=True)
class RandomRotation:
    """Turn the image counter-clockwise by an angle drawn from ``degrees`` = (low, high).

    ``expand``: grow the canvas so that all of the image stays. ``center``: (x, y) in pixels, else the middle.
    ``fill``: the colour of what was outside, one number or one for each channel.

    >>> angle, = RandomRotation((90.0, 90.0)).draw(np.random.default_rng(0), Frame(4, 6, 3))
    >>> angle
    90.0
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    degrees: tuple[float, float]
    interpolation: str = "nearest"
    expand: bool = False
    center: Point | None = None
    fill: Fill = 0

    def __post_init__(self) -> None:
        check_range("degrees", self.degrees)
        check_interpolation(self.interpolation)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[float]:
        return (rng.uniform(*self.degrees),)

    def pil(self, image: Any, angle: float) -> Any:
        return rotate(image, angle, self.interpolation, self.fill, expand=self.expand, center=self.center)

    def boxes(self, boxes: Boxes, angle: float) -> Boxes:
        return affine_boxes(boxes, self.center, -angle, *_ONLY_TURNED, expand=self.expand)

    def mask(self, mask: Array, angle: float) -> Array:
        quarters, rest = divmod(angle % 360.0, 90.0)
        if self.center is None and not rest and (quarters in (0, 2) or self.expand or mask.shape[-1] == mask.shape[-2]):
            return np.rot90(mask, int(quarters), (-2, -1))
        return affine_mask(mask, self.center, -(angle % 360.0), *_ONLY_TURNED, self.fill, expand=self.expand)


def rotate(
    image: Any, angle: float, interpolation: str, fill: Fill, *, expand: bool = False, center: Point | None = None
) -> Any:
    """A PIL image turned counter-clockwise by degrees."""
    return image.rotate(angle, RESAMPLING[interpolation], expand, center, fillcolor=colour(fill, image))
