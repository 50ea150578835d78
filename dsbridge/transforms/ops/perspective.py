"""Random change of perspective: the four corners of the image move inwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.perspective_targets import perspective_boxes, perspective_mask
from dsbridge.transforms.ops.values import Array, Boxes, Fill, Frame
from dsbridge.transforms.ops.warp import PERSPECTIVE, check_interpolation, warp

Corners = tuple[tuple[int, int], ...]
_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class RandomPerspective:
    """Move each corner inwards by at most ``distortion_scale`` of the way to the middle, with probability ``p``.

    Its parameters are the eight coefficients of the map from output to input pixels. Corners that no map has, three on a
    line, are drawn again. ``fill``: the colour of what was outside.

    >>> op = RandomPerspective(distortion_scale=0.0, p=1.0)
    >>> op.draw(np.random.default_rng(0), Frame(4, 6, 3))
    ((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),)
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    distortion_scale: float = 0.5
    p: float = 0.5
    interpolation: str = "bilinear"
    fill: Fill = 0

    def __post_init__(self) -> None:
        check_interpolation(self.interpolation)
        if not 0 <= self.distortion_scale <= 1:
            raise TransformError(f"distortion_scale is from 0 to 1, got {self.distortion_scale}. Hint: 0.5 is usual")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[tuple[float, ...]] | None:
        if rng.random() >= self.p:
            return None
        for _ in range(_ATTEMPTS):
            found = coefficients(self.corners(rng, frame), frame.height, frame.width)
            if found is not None:
                return (found,)
        raise TransformError(
            f"an image of {frame.height} x {frame.width} pixels has no perspective. Hint: drop or enlarge such images"
        )

    def corners(self, rng: np.random.Generator, frame: Frame) -> Corners:
        """Where the corners go: top left, top right, bottom right, bottom left, each as (x, y)."""
        most_x = int(self.distortion_scale * (frame.width // 2))
        most_y = int(self.distortion_scale * (frame.height // 2))
        x, y = rng.integers(0, most_x + 1, 4).tolist(), rng.integers(0, most_y + 1, 4).tolist()
        right, low = frame.width - 1, frame.height - 1
        return (x[0], y[0]), (right - x[1], y[1]), (right - x[2], low - y[2]), (x[3], low - y[3])

    def pil(self, image: Any, coefficients: tuple[float, ...]) -> Any:
        return warp(image, PERSPECTIVE, coefficients, self.interpolation, self.fill)

    def boxes(self, boxes: Boxes, coefficients: tuple[float, ...]) -> Boxes:
        return perspective_boxes(boxes, coefficients)

    def mask(self, mask: Array, coefficients: tuple[float, ...]) -> Array:
        return perspective_mask(mask, coefficients, self.fill)


def coefficients(corners: Corners, height: int, width: int) -> tuple[float, ...] | None:
    """The map (x, y) -> ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1)) that takes the corners back.

    Returned are a to h in single precision, as torchvision has them; None where there is no such map. All is done in whole
    numbers up to the last division, thus right to the last bit; torchvision's solver is so in most cases only.

    >>> coefficients(((1, 0), (5, 0), (5, 3), (1, 3)), 4, 6)
    (1.25, 0.0, -1.25, 0.0, 1.0, 0.0, 0.0, 0.0)
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    # The map from the unit square to the corners, times its last element ``i``, after Heckbert.
    i = (x1 - x2) * (y3 - y2) - (x3 - x2) * (y1 - y2)
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    g = sum_x * (y3 - y2) - (x3 - x2) * sum_y
    h = (x1 - x2) * sum_y - sum_x * (y1 - y2)
    a, b, c = (x1 - x0) * i + g * x1, (x3 - x0) * i + h * x3, x0 * i
    d, e, f = (y1 - y0) * i + g * y1, (y3 - y0) * i + h * y3, y0 * i
    last = a * e - b * d
    if not (i and last):
        return None
    right, low = width - 1, height - 1
    inverse = (  # its adjugate, from the unit square to the image
        *((e * i - f * h) * right, (c * h - b * i) * right, (b * f - c * e) * right),
        *((f * g - d * i) * low, (a * i - c * g) * low, (c * d - a * f) * low),
        *(d * h - e * g, b * g - a * h),
    )
    return tuple(np.array([number / last for number in inverse], np.float32).tolist())
