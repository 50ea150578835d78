"""Random rotation, translation, scale and shear in one warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Boxes, Fill, Frame
from dsbridge.transforms.ops.warp import AFFINE, Point, check_interpolation, check_range, check_version, inverse_affine, warp
from dsbridge.transforms.ops.warp_targets import affine_boxes, affine_mask

Params = tuple[float, tuple[int, int], float, Point]


@dataclass(frozen=True, slots=True)
class RandomAffine:
    """Shear, scale and turn the image clockwise about ``center`` (else the middle), then translate it.

    ``degrees``: (low, high). ``translate``: the largest shifts as fractions of width and height. ``scale``: (low, high).
    ``shear``: degrees (low, high) along x, or four numbers, along x and along y. ``fill``: the colour of what was outside.
    ``version``: whose rounding it has, see ``inverse_affine``.

    >>> op = RandomAffine((0.0, 0.0), translate=(0.5, 0.0))
    >>> angle, shift, scale, shear = op.draw(np.random.default_rng(0), Frame(10, 20, 3))
    >>> angle, shift, scale, shear
    (0.0, (-5, 0), 1.0, (0.0, 0.0))
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    degrees: tuple[float, float]
    translate: Point | None = None
    scale: tuple[float, float] | None = None
    shear: tuple[float, ...] | None = None
    interpolation: str = "nearest"
    fill: Fill = 0
    center: Point | None = None
    version: int = 1

    def __post_init__(self) -> None:
        check_range("degrees", self.degrees)
        check_interpolation(self.interpolation)
        check_version(self.version)
        if self.translate is not None and not (len(self.translate) == 2 and all(0 <= share <= 1 for share in self.translate)):
            raise TransformError(
                f"translate is two numbers from 0 to 1, got {self.translate}. Hint: they are shares of the size"
            )
        if self.scale is not None:
            check_range("scale", self.scale)
            if self.scale[0] <= 0:
                raise TransformError(f"scale is positive, got {self.scale}. Hint: (0.8, 1.2) is a fifth smaller to larger")
        if self.shear is not None:
            check_range("shear", self.shear, (2, 4))

    def draw(self, rng: np.random.Generator, frame: Frame) -> Params:
        angle = rng.uniform(*self.degrees)
        shift = (0, 0)
        if self.translate is not None:
            most_x, most_y = self.translate[0] * frame.width, self.translate[1] * frame.height
            shift = (round(rng.uniform(-most_x, most_x)), round(rng.uniform(-most_y, most_y)))
        scale = 1.0 if self.scale is None else rng.uniform(*self.scale)
        bounds = (self.shear or ()) + (0.0,) * 4
        shear = (rng.uniform(bounds[0], bounds[1]), rng.uniform(bounds[2], bounds[3]))
        return angle, shift, scale, shear

    def pil(self, image: Any, angle: float, shift: tuple[int, int], scale: float, shear: Point) -> Any:
        return affine(image, angle, shift, scale, shear, self.interpolation, self.fill, self.center, self.version)

    def boxes(self, boxes: Boxes, angle: float, shift: tuple[int, int], scale: float, shear: Point) -> Boxes:
        return affine_boxes(boxes, self.center, angle, shift, scale, shear)

    def mask(self, mask: Array, angle: float, shift: tuple[int, int], scale: float, shear: Point) -> Array:
        return affine_mask(mask, self.center, angle, shift, scale, shear, self.fill)


def affine(
    image: Any,
    angle: float,
    shift: tuple[int, int],
    scale: float,
    shear: Point,
    interpolation: str,
    fill: Fill,
    center: Point | None = None,
    version: int = 1,
) -> Any:
    """A PIL image sheared, scaled and turned about ``center`` (else its middle), then translated."""
    about = (image.width * 0.5, image.height * 0.5) if center is None else center
    return warp(image, AFFINE, inverse_affine(about, angle, shift, scale, shear, version), interpolation, fill)
