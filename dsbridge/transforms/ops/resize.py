"""Resizing, and what all operations that resize share."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.boxes import resized
from dsbridge.transforms.ops.values import KINDS, Array, Boxes

FILTERS = {"nearest": 0, "nearest-exact": 0, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5, "lanczos": 1}
"""Pillow's numbers of the interpolations. Pillow's nearest is centred: it is what torch calls nearest-exact."""

_NEAREST = ("nearest", "nearest-exact")
_SMALL = 128  # torch has another kernel where the new height and width are together no more than this


def exact_resize(op: Any) -> tuple[str, ...]:
    """The kinds for which an operation with ``interpolation`` equals torchvision's: tensors have torch's own kernels."""
    return KINDS if op.interpolation in _NEAREST else ("pil",)


def near_resize(op: Any) -> dict[str, float]:
    """Kinds that come close: torch's bilinear uint8 and Pillow's differ in how they round.

    Bicubic and lanczos do not come close: both libraries clip between the passes, and in another order.
    """
    return {"uint8": 1.0} if op.interpolation == "bilinear" and op.antialias else {}


def check_filter(interpolation: str) -> None:
    """Raise ``TransformError`` for an interpolation that does not exist.

    >>> check_filter("bicubic")
    """
    if interpolation not in FILTERS:
        raise TransformError(f"interpolation {interpolation!r}. Hint: it is one of {', '.join(FILTERS)}")


def resized_size(height: int, width: int, size: int | None, longest: int | None = None) -> tuple[int, int]:
    """The size at which the shorter side is ``size`` and the longer at most ``longest``; None: the longer is ``longest``.

    >>> resized_size(100, 200, 50), resized_size(100, 200, 50, 80), resized_size(100, 200, None, 80)
    ((50, 100), (40, 80), (40, 80))
    """
    short, long = min(height, width), max(height, width)
    if size is None:
        assert longest is not None
        new_short, new_long = int(longest * short / long), longest
    else:
        new_short, new_long = size, int(size * long / short)
        if longest is not None and new_long > longest:
            new_short, new_long = int(longest * new_short / new_long), longest
    return (new_long, new_short) if width <= height else (new_short, new_long)


def resize_pil(image: Any, height: int, width: int, interpolation: str) -> Any:
    """A PIL image at another size."""
    return image if image.size == (width, height) else image.resize((width, height), FILTERS[interpolation])


def resize_chw(array: Array, height: int, width: int, op: Any) -> Array:
    """An array [..., H, W] at another size, with the ``interpolation`` of an operation, of whose kinds it is."""
    if array.shape[-2:] == (height, width):
        return array
    if op.interpolation in _NEAREST and array.dtype != np.float64:
        return nearest(array, height, width, op.interpolation)
    if array.dtype != np.uint8 or "uint8" not in near_resize(op):
        raise TransformError(
            f"{type(op).__name__} cannot resize an array of {array.dtype} with {op.interpolation!r}, antialias={op.antialias}. "
            "Hint: resize PIL images, or let the original transform run"
        )
    from PIL import Image

    planes = array.reshape(-1, *array.shape[-2:])  # plane by plane: Pillow would weigh a fourth channel in as alpha
    out = np.empty((len(planes), height, width), np.uint8)
    for plane, target in zip(planes, out, strict=True):
        target[...] = Image.fromarray(plane).resize((width, height), FILTERS[op.interpolation])
    return out.reshape(*array.shape[:-2], height, width)


def nearest(array: Array, height: int, width: int, interpolation: str = "nearest") -> Array:
    """Nearest neighbours as torch finds them in all but float64.

    >>> nearest(np.arange(4).reshape(1, 4), 1, 2).tolist(), nearest(np.arange(4).reshape(1, 4), 1, 2, "nearest-exact").tolist()
    ([[0, 2]], [[1, 3]])
    """
    rows, columns = array.shape[-2:]
    kind = interpolation if interpolation == "nearest" or height + width <= _SMALL else "nearest-exact by fma"
    return array.take(_sources(rows, height, kind), -2).take(_sources(columns, width, kind), -1)


@functools.lru_cache(maxsize=256)
def _sources(old: int, new: int, kind: str) -> Array:
    scale = np.float32(old) / np.float32(new)
    place = np.arange(new, dtype=np.float32)
    if kind == "nearest":
        place = place * scale
    elif kind == "nearest-exact":
        place = (place + np.float32(0.5)) * scale
    else:  # torch's kernel for larger images: fused times and minus, rounded once, then plus
        place = ((place + 0.5).astype(np.float64) * float(scale) - 0.5).astype(np.float32) + np.float32(0.5)
    found: Array = np.minimum(np.floor(place).astype(np.int64), old - 1)
    found.flags.writeable = False
    return found


def mask_filter(interpolation: str) -> str:
    """The interpolation that masks get in v2.

    >>> mask_filter("bilinear"), mask_filter("nearest-exact")
    ('nearest', 'nearest-exact')
    """
    return interpolation if interpolation in _NEAREST else "nearest"


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize to (height, width), or so that the shorter side is ``size`` and the longer at most ``max_size``.

    >>> Resize((1, 2), "nearest").chw(np.arange(4).reshape(1, 1, 4)).tolist()
    [[[0, 2]]]
    """

    EXACT = property(exact_resize)
    NEAR = property(near_resize)

    size: int | tuple[int, int] | None
    interpolation: str = "bilinear"
    max_size: int | None = None
    antialias: bool = True

    def __post_init__(self) -> None:
        check_filter(self.interpolation)
        if self.max_size is None and self.size is None:
            raise TransformError("Resize without size. Hint: give size, or max_size for the longer side")
        if self.max_size is not None and isinstance(self.size, tuple):
            raise TransformError(f"Resize to {self.size} with max_size. Hint: max_size goes with the length of one side")
        if self.max_size is not None and isinstance(self.size, int) and self.max_size <= self.size:
            raise TransformError(f"max_size {self.max_size} is not more than size {self.size}. Hint: the longer side is more")

    def _target(self, height: int, width: int) -> tuple[int, int]:
        return self.size if isinstance(self.size, tuple) else resized_size(height, width, self.size, self.max_size)

    def pil(self, image: Any) -> Any:
        return resize_pil(image, *self._target(image.height, image.width), self.interpolation)

    def chw(self, array: Array) -> Array:
        return resize_chw(array, *self._target(*array.shape[-2:]), self)

    def mask(self, mask: Array) -> Array:
        return nearest(mask, *self._target(*mask.shape[-2:]), mask_filter(self.interpolation))

    def boxes(self, boxes: Boxes) -> Boxes:
        return resized(boxes, *self._target(*boxes.canvas))
