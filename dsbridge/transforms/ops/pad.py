"""Padding, and windows that reach over an image's edges."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.boxes import padded
from dsbridge.transforms.ops.values import KINDS, Array, Boxes, Fill, frame_of

Sides = tuple[int, int, int, int]
"""How much to add to the left, top, right and bottom; less than nothing crops."""

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")
_SHORT = {"edge": None, "reflect": 1, "symmetric": 0}  # torch's reflections reach no further than the image, less this


def window_pil(image: Any, top: int, left: int, height: int, width: int, fill: Fill = 0) -> Any:
    """The window of a PIL image; what lies outside of the image is ``fill``, one number or one for each channel."""
    if not (any(fill) if isinstance(fill, tuple) else fill):
        return image.crop((left, top, left + width, top + height))
    from PIL import Image

    out = Image.new(image.mode, (width, height), _colour(fill, image))
    out.paste(image, (-left, -top))
    return _with_palette(out, image)


def window_chw(array: Array, top: int, left: int, height: int, width: int, fill: Fill = 0) -> Array:
    """The window of an array [..., H, W]: a view, or a new array where the window reaches outside, which is ``fill``.

    >>> window_chw(np.ones((1, 2, 2)), -1, 1, 2, 2).tolist()
    [[[0.0, 0.0], [1.0, 0.0]]]
    """
    rows, columns = array.shape[-2:]
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return array[..., top : top + height, left : left + width]
    out = np.empty((*array.shape[:-2], height, width), array.dtype)
    out[...] = _filling(fill, array)
    inner = array[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    y, x = max(-top, 0), max(-left, 0)
    out[..., y : y + inner.shape[-2], x : x + inner.shape[-1]] = inner
    return out


def padded_pil(image: Any, sides: Sides, fill: Fill, mode: str, window: Sides | None = None) -> Any:
    """A padded PIL image, or the ``window`` (top, left, height, width) of it."""
    height, width, _ = frame_of(image)
    top, left, high, wide = window or _whole(sides, height, width)
    if mode == "constant":
        return window_pil(image, top - sides[1], left - sides[0], high, wide, fill)
    from PIL import Image

    rows = _indices(height, sides[1], sides[3], mode)[top : top + high]
    columns = _indices(width, sides[0], sides[2], mode)[left : left + wide]
    return _with_palette(Image.fromarray(np.asarray(image).take(rows, 0).take(columns, 1)), image)


def padded_chw(array: Array, sides: Sides, fill: Fill, mode: str, window: Sides | None = None) -> Array:
    """A padded array [..., H, W], or the ``window`` (top, left, height, width) of it.

    >>> padded_chw(np.arange(3).reshape(1, 3), (2, 0, 1, 0), 0, "reflect").tolist()
    [[2, 1, 0, 1, 2, 1]]
    """
    height, width = array.shape[-2:]
    top, left, high, wide = window or _whole(sides, height, width)
    if mode == "constant":
        return window_chw(array, top - sides[1], left - sides[0], high, wide, fill)
    for size, before, after in ((height, *sides[1::2]), (width, *sides[::2])):
        short = _SHORT[mode]
        if short is not None and max(before, after) > size + min(before, 0) + min(after, 0) - short:
            raise TransformError(
                f"padding {sides} in mode {mode!r} is more than an image of {height}x{width} can mirror. Hint: pad less, "
                "or use mode 'edge'"
            )
    rows = _indices(height, sides[1], sides[3], mode)[top : top + high]
    columns = _indices(width, sides[0], sides[2], mode)[left : left + wide]
    return array.take(rows, -2).take(columns, -1)


def _whole(sides: Sides, height: int, width: int) -> Sides:
    left, top, right, bottom = sides
    return 0, 0, top + height + bottom, left + width + right


@functools.lru_cache(maxsize=256)
def _indices(size: int, before: int, after: int, mode: str) -> Array:
    """Where each pixel of a padded axis comes from: crop first, then pad."""
    kept = np.arange(max(-before, 0), size - max(-after, 0))
    found: Array = np.pad(kept, (max(before, 0), max(after, 0)), mode)  # type: ignore[call-overload]
    found.flags.writeable = False
    return found


def _colour(fill: Fill, image: Any) -> Any:
    channels = len(image.getbands())
    values = fill if isinstance(fill, tuple) else (fill,)
    if len(values) not in (1, channels):
        raise TransformError(f"fill {fill} for an image of mode {image.mode}. Hint: give one number or {channels}")
    if image.mode != "F":
        values = tuple(int(value) for value in values)
    return values * channels if channels > len(values) else values if len(values) > 1 else values[0]


def _filling(fill: Fill, array: Array) -> Array:
    values = np.asarray(fill, np.float64)
    if array.dtype.kind in "iu" and values.size:
        limits = np.iinfo(array.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise TransformError(f"fill {fill} does not fit {array.dtype}. Hint: use {limits.min} to {limits.max}")
    if values.ndim:
        channels = array.shape[-3] if array.ndim > 2 else 1
        if values.size not in (1, channels):
            raise TransformError(f"fill {fill} for an image of {channels} channels. Hint: give one number or {channels}")
        values = values.reshape(-1, 1, 1)
    return values.astype(array.dtype)


def _with_palette(out: Any, image: Any) -> Any:
    if image.mode == "P":
        out.putpalette(image.getpalette())
    return out


def mask_fill(fill: Fill) -> Fill:
    """The fill of masks, which have no channels: a number as it is, several refused.

    >>> mask_fill(7)
    7
    """
    if isinstance(fill, tuple):
        raise TransformError(f"fill {fill} for a mask. Hint: masks need a fill of one number")
    return fill


def check_boxes(mode: str) -> None:
    """Raise ``TransformError`` where a padding mode would repeat what boxes are around.

    >>> check_boxes("constant")
    """
    if mode != "constant":
        raise TransformError(f"padding mode {mode!r} cannot be used with boxes. Hint: use 'constant'")


def check_padding(sides: Any, mode: str) -> None:
    """Raise ``TransformError`` for settings of padding that make no sense.

    >>> check_padding((1, 1, 1, 1), "edge")
    """
    if not (isinstance(sides, tuple) and len(sides) == 4 and all(isinstance(side, int) for side in sides)):
        raise TransformError(f"padding {sides!r}. Hint: give (left, top, right, bottom)")
    if mode not in PADDING_MODES:
        raise TransformError(f"padding mode {mode!r}. Hint: it is one of {', '.join(PADDING_MODES)}")


def exact_padding(op: Any) -> tuple[str, ...]:
    """The kinds for which an operation with ``padding``, ``fill`` and ``padding_mode`` equals torchvision's.

    torch itself refuses several fills in other modes than "constant", and reflects cropped pixels, which PIL does not.
    """
    mode = op.padding_mode
    several = isinstance(op.fill, tuple) and len(op.fill) > 1 and mode != "constant"
    return ("pil",) if several or (mode == "reflect" and min(op.padding) < 0) else KINDS


@dataclass(frozen=True, slots=True)
class Pad:
    """Pad (left, top, right, bottom) with ``fill`` or, in other modes than "constant", with the image's own pixels.

    >>> Pad((1, 0, 0, 0), fill=5).chw(np.zeros((1, 1, 2), np.uint8)).tolist()
    [[[5, 0, 0]]]
    """

    EXACT = property(exact_padding)

    padding: Sides
    fill: Fill = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        check_padding(self.padding, self.padding_mode)

    def pil(self, image: Any) -> Any:
        return padded_pil(image, self.padding, self.fill, self.padding_mode)

    def chw(self, array: Array) -> Array:
        return padded_chw(array, self.padding, self.fill, self.padding_mode)

    def mask(self, mask: Array) -> Array:
        return padded_chw(mask, self.padding, mask_fill(self.fill), self.padding_mode)

    def boxes(self, boxes: Boxes) -> Boxes:
        check_boxes(self.padding_mode)
        return padded(boxes, *self.padding)
