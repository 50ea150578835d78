"""Conversions between PIL images and arrays: ToTensor, PILToTensor, ToImage, ToPILImage, and what changes nothing.

What reads a dataset's own numpy images takes them as [H, W] or [H, W, C], in a method ``hwc``: everywhere else an array is
[C, H, W].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, State

FULL = np.float32(255)
_READ_AS = {"I": np.int32, "I;16": np.int16, "F": np.float32}  # what ToTensor reads a PIL mode as; all others as uint8


def planes(image: Array) -> Array:
    """An array [H, W] or [H, W, C] as a view [C, H, W]; raises ``TransformError`` for any other shape.

    >>> planes(np.zeros((4, 5, 3))).shape, planes(np.zeros((4, 5))).shape
    ((3, 4, 5), (1, 4, 5))
    """
    if image.ndim == 3:
        return image.transpose(2, 0, 1)
    if image.ndim == 2:
        return image[None]
    raise TransformError(f"an image has 2 or 3 dimensions, got shape {list(image.shape)}. Hint: convert images one by one")


def unit(image: Array) -> Array:
    """A uint8 image as float32 in [0, 1] by division; an image of any other dtype as it is, but contiguous.

    >>> unit(np.array([[[0, 51, 255]]], np.uint8)).tolist()
    [[[0.0, 0.20000000298023224, 1.0]]]
    """
    if image.dtype != np.uint8:
        return np.ascontiguousarray(image)
    return np.divide(image, FULL, out=np.empty(image.shape, np.float32), dtype=np.float32)


def pil_planes(image: Any) -> Array:
    """A PIL image as ToTensor reads it, a view [C, H, W]: int32 for I, int16 for I;16, float32 for F, else uint8.

    >>> from PIL import Image
    >>> pil_planes(Image.new("RGB", (5, 4))).shape
    (3, 4, 5)
    """
    mode = image.mode
    values = np.asarray(image, _READ_AS.get(mode, np.uint8))
    return planes(values * np.uint8(255) if mode == "1" else values)


def pil_of(pixels: Array, mode: str) -> Any:
    """A PIL image of this mode whose pixels are an array [H, W] or [H, W, C].

    >>> pil_of(np.zeros((4, 5, 3), np.uint8), "HSV").mode
    'HSV'
    """
    from PIL import Image

    return Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())


@dataclass(frozen=True, slots=True)
class ToTensor:
    """A PIL image, or a numpy image [H, W, C], as float32 [C, H, W] in [0, 1].

    Only uint8 is scaled: images of modes I, I;16 and F, and arrays of other dtypes, keep their values.

    >>> ToTensor().hwc(np.full((1, 1, 3), 255, np.uint8)).tolist()
    [[[1.0]], [[1.0]], [[1.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    def pil(self, image: Any) -> Array:
        return unit(pil_planes(image))

    def hwc(self, image: Array) -> Array:
        return unit(planes(image))

    def after(self, state: State) -> State:
        return State("float", state.channels)


def _pixels(image: Any) -> Array:
    values = np.asarray(image)
    if not values.dtype.isnative:
        raise TransformError(f"a PIL image of mode {image.mode} has foreign byte order. Hint: convert it to I;16 first")
    return planes(values)


@dataclass(frozen=True, slots=True)
class PILToTensor:
    """A PIL image as an array [C, H, W] with the values and the dtype that it has.

    >>> from PIL import Image
    >>> PILToTensor().pil(Image.new("L", (2, 1), 7)).tolist()
    [[[7, 7]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    def pil(self, image: Any) -> Array:
        return _pixels(image)

    def after(self, state: State) -> State:
        return State("uint8", state.channels)


@dataclass(frozen=True, slots=True)
class ToImage:
    """A PIL image or a numpy image [H, W, C] as an array [C, H, W], values as they are; arrays [C, H, W] unchanged.

    >>> ToImage().hwc(np.zeros((4, 5), np.uint8)).shape
    (1, 4, 5)
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    def pil(self, image: Any) -> Array:
        return _pixels(image)

    def chw(self, image: Array) -> Array:
        return image

    def hwc(self, image: Array) -> Array:
        return planes(image)

    def after(self, state: State) -> State:
        return State("uint8", state.channels) if state.kind == "pil" else state


@dataclass(frozen=True, slots=True)
class Identity:
    """Whatever comes, unchanged.

    >>> Identity().chw(np.arange(2)).tolist()
    [0, 1]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    def pil(self, image: Any) -> Any:
        return image

    def chw(self, image: Array) -> Array:
        return image


_MODES: dict[int, tuple[str, ...]] = {2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}
_SINGLE = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F"}


@dataclass(frozen=True, slots=True)
class ToPILImage:
    """An array [C, H, W], or a numpy image [H, W, C], as a PIL image; floats are taken to be in [0, 1].

    ``mode``: that of the PIL image; None: L, LA, RGB or RGBA by the number of channels; for one channel it follows the dtype.

    >>> ToPILImage().chw(np.zeros((3, 4, 5), np.float32)).mode
    'RGB'
    """

    EXACT: ClassVar[tuple[str, ...]] = ("uint8", "float")

    mode: str | None = None

    def chw(self, image: Array) -> Any:
        from PIL import Image

        values = self._values(image[None] if image.ndim == 2 else image)
        mode, (channels, height, width) = self._mode(values.shape[0], values.dtype.name), values.shape
        if channels == 1:
            return pil_of(values[0], mode)
        bands = [Image.frombytes("L", (width, height), band.tobytes()) for band in values]
        return Image.merge(mode, bands)  # PIL interleaves faster than numpy

    def hwc(self, image: Array) -> Any:
        values = self._values(planes(image))
        mode = self._mode(values.shape[0], values.dtype.name)
        return pil_of(values[0] if values.shape[0] == 1 else values.transpose(1, 2, 0), mode)

    def _values(self, image: Array) -> Array:
        if image.ndim != 3:
            raise TransformError(f"an image is [C, H, W], got shape {list(image.shape)}. Hint: convert images one by one")
        return (image * 255).astype(np.uint8) if image.dtype.kind == "f" and self.mode != "F" else image

    def _mode(self, channels: int, dtype: str) -> str:
        allowed: tuple[str, ...]
        if channels == 1:
            allowed = (_SINGLE[dtype],) if dtype in _SINGLE else ()
        else:
            allowed = _MODES.get(channels, ()) if dtype == "uint8" else ()
        mode = self.mode or next(iter(allowed), None)
        if mode is None or mode not in allowed:
            raise TransformError(
                f"ToPILImage(mode={self.mode!r}) cannot take {channels} channels of {dtype}, for which PIL has "
                f"{' or '.join(allowed) or 'no mode'}. Hint: give it 1 to 4 channels of uint8, or floats in [0, 1]"
            )
        return mode

    def after(self, state: State) -> State:
        return State("pil", state.channels)
