"""What rotations, affine and perspective warps of PIL images share: filters, fill colours and the affine map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Fill

Point = tuple[float, float]

RESAMPLING = {"nearest": 0, "nearest-exact": 0, "bilinear": 2, "bicubic": 3}
"""The filters with which Pillow can warp, by their numbers there."""

AFFINE, PERSPECTIVE = 0, 2  # PIL.Image.Transform


def warp(image: Any, method: int, data: Sequence[float], interpolation: str, fill: Fill) -> Any:
    """A PIL image of the same size, whose pixels are fetched through the inverse map ``data`` of kind ``method``."""
    return image.transform(image.size, method, data, RESAMPLING[interpolation], fillcolor=colour(fill, image))


def colour(fill: Fill, image: Any) -> Any:
    """The fill as Pillow wants it for this image: one number, or one for each channel; whole numbers but in mode F.

    Raises ``TransformError`` when it has neither one number nor as many as the image has channels.

    >>> class Image:
    ...     mode = "RGB"
    ...     def getbands(self): return ("R", "G", "B")
    >>> colour(7, Image()), colour((1.9, 2, 3), Image())
    ((7, 7, 7), (1, 2, 3))
    """
    channels = len(image.getbands())
    number = float if image.mode == "F" else int
    if not isinstance(fill, tuple):
        return number(fill) if channels == 1 else (number(fill),) * channels
    if len(fill) not in (1, channels):
        raise TransformError(
            f"the fill {fill} has {len(fill)} numbers, but an image of mode {image.mode} has {channels} channels. "
            "Hint: give one number, or convert all images to one mode first"
        )
    return tuple(map(number, fill * channels if len(fill) == 1 else fill))


def inverse_affine(center: Point, angle: float, translate: Point, scale: float, shear: Point, version: int = 1) -> list[float]:
    """The map from output to input pixels of: shear, scale and turn clockwise by degrees about a center, then translate.

    ``version``: torchvision's transforms (1) and transforms.v2 (2) round in different places, which moves single pixels;
    every operation here is rounded as there, so that the numbers are equal to the last bit.

    >>> inverse_affine((0, 0), 0.0, (3, 2), 2.0, (0.0, 0.0), version=2)
    [0.5, 0.0, -1.5, -0.0, 0.5, -1.0]
    """
    turn, shear_x, shear_y = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    cos, sin = math.cos(turn - shear_y), math.sin(turn - shear_y)
    cos_y, tan_x = math.cos(shear_y), math.tan(shear_x)
    a, c = cos / cos_y, sin / cos_y
    to_x, to_y = center[0] + translate[0], center[1] + translate[1]
    if version == 1:
        b, d = -cos * tan_x / cos_y - math.sin(turn), -sin * tan_x / cos_y + math.cos(turn)
        xx, xy, yx, yy = d / scale, -b / scale, -c / scale, a / scale
        return [xx, xy, xx * -to_x + xy * -to_y + center[0], yx, yy, yx * -to_x + yy * -to_y + center[1]]
    b, d = -(a * tan_x + math.sin(turn)), math.cos(turn) - c * tan_x
    xx, xy, yx, yy = d / scale, -b / scale, -c / scale, a / scale
    return [xx, xy, center[0] - xx * to_x - xy * to_y, yx, yy, center[1] - yx * to_x - yy * to_y]


def even_steps(start: float, end: float, count: int) -> Array:
    """``count`` numbers from start to end as torch.linspace has them: single precision, counted from the nearer end.

    >>> even_steps(0.0, 1.0, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    low, high = np.float32(start), np.float32(end)
    if count == 1:
        return np.array([low])
    step, places = float((high - low) / np.float32(count - 1)), np.arange(count)
    up, down = float(low) + step * places, float(high) - step * (count - 1 - places)
    return np.where(places < count // 2, up, down).astype(np.float32)


def check_version(version: int) -> None:
    """Raise ``TransformError`` unless this is one of torchvision's two versions of transforms."""
    if version not in (1, 2):
        raise TransformError(
            f"version is 1 (torchvision.transforms) or 2 (torchvision.transforms.v2), got {version!r}. Hint: take 1"
        )


def check_interpolation(name: str) -> None:
    """Raise ``TransformError`` unless Pillow can warp with the filter of this name."""
    if name not in RESAMPLING:
        raise TransformError(f"cannot warp with interpolation {name!r}. Hint: it is one of {', '.join(RESAMPLING)}")


def check_range(what: str, values: tuple[float, ...], lengths: tuple[int, ...] = (2,)) -> None:
    """Raise ``TransformError`` unless these are (low, high), or several of them, with low <= high.

    >>> check_range("degrees", (-10.0, 10.0))
    """
    if len(values) not in lengths or any(low > high for low, high in zip(values[::2], values[1::2], strict=True)):
        wanted = "(low, high)" if lengths == (2,) else "(low, high) or (low, high, low, high)"
        raise TransformError(f"{what} is {wanted} with low <= high, got {values}. Hint: put the smaller number first")
