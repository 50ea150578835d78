"""Colour jitter: brightness, contrast, saturation and hue in random order, photometric distortion, channels permuted.

``arithmetic``: see ``grayscale``. On arrays contrast is near, not exact: its mean over all pixels is a float32 sum whose
last bits depend on the processor and the number of threads that torch adds with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops import pil_colour
from dsbridge.transforms.ops.grayscale import floating, fused, grey, need_arithmetic, need_channels
from dsbridge.transforms.ops.values import Array, Frame

Range = tuple[float, float]
_CONTRAST_NEAR = {"uint8": 1.0, "float": 1e-6}


def _back(values: Array, like: Array) -> Array:
    """Floats clamped to the range of ``like`` and, for uint8, cut off to whole numbers."""
    np.maximum(values, 0, out=values)
    np.minimum(values, 1 if like.dtype.kind == "f" else 255, out=values)
    return values.astype(like.dtype, copy=False)


def blend(array: Array, other: Array, ratio: float, arithmetic: str) -> Array:
    """``ratio`` parts of the array and the rest of ``other``, in the array's dtype.

    >>> blend(np.full((1, 1, 1), 100, np.uint8), np.zeros((1, 1, 1), np.float32), 0.5, "v1").item()
    50
    """
    values = floating(array)
    kind = values.dtype.type
    scaled = values * kind(ratio)
    if arithmetic == "v2":
        return _back(fused(scaled, np.broadcast_to(other, scaled.shape), 1.0 - ratio), array)
    scaled += floating(other) * kind(1.0 - ratio)
    return _back(scaled, array)


def _brightness(array: Array, factor: float, arithmetic: str) -> Array:
    need_channels("brightness", array)
    values = floating(array)
    return _back(values * values.dtype.type(factor), array)


def _contrast(array: Array, factor: float, arithmetic: str) -> Array:
    if need_channels("contrast", array) == 3:
        shade = grey(array, arithmetic)
        if array.dtype == np.uint8:
            np.floor(shade, out=shade)
    else:
        shade = floating(array)
    mean = shade.sum(dtype=np.float64).astype(shade.dtype) / shade.dtype.type(shade.size)
    return blend(array, np.reshape(mean, (1, 1, 1)), factor, arithmetic)


def _saturation(array: Array, factor: float, arithmetic: str) -> Array:
    if need_channels("saturation", array) == 1:
        return array
    shade = grey(array, arithmetic)
    if array.dtype == np.uint8:
        np.floor(shade, out=shade)
    return blend(array, shade, factor, arithmetic)


def _hue(array: Array, factor: float, arithmetic: str) -> Array:
    if not -0.5 <= factor <= 0.5:
        raise TransformError(f"hue wants a factor in [-0.5, 0.5], got {factor}. Hint: 0.5 turns the circle half round")
    if need_channels("hue", array) == 1:
        return array
    whole = array.dtype == np.uint8
    image = array.astype(np.float32)
    if whole:
        image = image * np.float32(1 / 255) if arithmetic == "v2" else image / np.float32(255)
    turned = _from_hsv(*_to_hsv(image, factor, arithmetic), arithmetic)
    return (turned * np.float32(255.999)).astype(np.uint8) if whole else turned.astype(array.dtype, copy=False)


def _to_hsv(image: Array, turn: float, arithmetic: str) -> tuple[Array, Array, Array]:
    one = np.float32(1)
    red, green, _ = image
    high, low = image.max(0), image.min(0)
    spread = high - low
    flat = spread == 0
    s = spread / np.where(flat, one, high)
    rc, gc, bc = (high - image) / np.where(flat, one, spread)
    h = np.where(high == red, bc - gc, np.where(high == green, rc + np.float32(2) - bc, gc + np.float32(4) - rc))
    h = (h * np.float32(1 / 6) if arithmetic == "v2" else h / np.float32(6)) + one
    h[h >= 1] -= one
    h += np.float32(turn)
    h[h >= 1] -= one
    h[h < 0] += one
    return h, s, high


def _from_hsv(h: Array, s: Array, v: Array, arithmetic: str) -> Array:
    one = np.float32(1)
    h6 = h * np.float32(6)
    sector = np.floor(h6)
    part = h6 - sector
    rest, product = one - s, s * part
    p, q = rest * v, (one - product) * v
    t = ((product + rest) if arithmetic == "v2" else (one - s * (one - part))) * v
    values = np.stack([p, q, t])
    np.maximum(values, 0, out=values)
    np.minimum(values, one, out=values)
    places = _SECTORS[:, sector.astype(np.intp) % 6]
    return np.take_along_axis(np.concatenate([values, v[None]]), places, 0)


_SECTORS = np.array([[3, 1, 0, 0, 2, 3], [2, 3, 3, 1, 0, 0], [0, 0, 2, 3, 3, 1]])  # of p, q, t, v for red, green, blue

_PIL = (pil_colour.brightness, pil_colour.contrast, pil_colour.saturation, pil_colour.hue)
_CHW = (_brightness, _contrast, _saturation, _hue)


def _need_range(name: str, value: Range | None, low: float, high: float) -> None:
    if value is not None and not (len(value) == 2 and low <= value[0] <= value[1] <= high):
        raise TransformError(f"{name} {value!r}. Hint: give (least, most) within [{low}, {high}], or None")


def _need_settings(op: ColorJitter | RandomPhotometricDistort) -> None:
    name = type(op).__name__
    need_arithmetic(name, op.arithmetic)
    for setting in ("brightness", "contrast", "saturation"):
        _need_range(f"{name}: {setting}", getattr(op, setting), 0.0, float("inf"))
    _need_range(f"{name}: hue", op.hue, -0.5, 0.5)


@dataclass(frozen=True, slots=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue by factors drawn from ranges, in random order; None leaves one out.

    >>> ColorJitter(brightness=(0.5, 0.5)).chw(np.full((1, 1, 1), 100, np.uint8), (0, 1, 2, 3), 0.5, None, None, None).item()
    50
    """

    brightness: Range | None = None
    contrast: Range | None = None
    saturation: Range | None = None
    hue: Range | None = None
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        _need_settings(self)

    @property
    def EXACT(self) -> tuple[str, ...]:  # noqa: N802
        return ("pil", "uint8", "float") if self.contrast is None else ("pil",)

    @property
    def NEAR(self) -> dict[str, float]:  # noqa: N802
        return {} if self.contrast is None else _CONTRAST_NEAR

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Any, ...]:
        order = tuple(rng.permutation(4).tolist())
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        return order, *(None if given is None else rng.uniform(*given) for given in ranges)

    def pil(self, image: Any, order: tuple[int, ...], *factors: float | None) -> Any:
        for place in order:
            factor = factors[place]
            if factor is not None:
                image = _PIL[place](image, factor)
        return image

    def chw(self, array: Array, order: tuple[int, ...], *factors: float | None) -> Array:
        for place in order:
            factor = factors[place]
            if factor is not None:
                array = _CHW[place](array, factor, self.arithmetic)
        return array


def _permute_pil(image: Any, permutation: tuple[int, ...]) -> Any:
    from PIL import Image

    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(len(permutation))
    bands = image.split()
    if mode is None or len(bands) != len(permutation) or any(band.mode != "L" for band in bands):
        hint = "Hint: convert it to RGB before"
        raise TransformError(f"channels {list(permutation)} of a PIL image of mode {image.mode!r}. {hint}")
    return Image.merge(mode, [bands[place] for place in permutation])


def _permute_chw(array: Array, permutation: tuple[int, ...]) -> Array:
    if array.shape[0] != len(permutation):
        hint = "Hint: a permutation names each channel once"
        raise TransformError(f"channels {list(permutation)} of an image {list(array.shape)}. {hint}")
    return array[list(permutation)]


@dataclass(frozen=True, slots=True)
class RandomChannelPermutation:
    """Put the channels into random order.

    >>> RandomChannelPermutation().chw(np.arange(3).reshape(3, 1, 1), (2, 0, 1)).ravel().tolist()
    [2, 0, 1]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[tuple[int, ...]]:
        return (tuple(rng.permutation(frame.channels).tolist()),)

    def pil(self, image: Any, permutation: tuple[int, ...]) -> Any:
        return _permute_pil(image, permutation)

    def chw(self, array: Array, permutation: tuple[int, ...]) -> Array:
        return _permute_chw(array, permutation)


@dataclass(frozen=True, slots=True)
class RandomPhotometricDistort:
    """Brightness, contrast, saturation, hue and the channels' order, each with probability ``p``, as SSD does.

    Contrast comes before saturation or after hue, by a fair coin.

    >>> op = RandomPhotometricDistort(p=1.0)
    >>> op.chw(np.arange(3).reshape(3, 1, 1), None, None, None, None, True, (2, 0, 1)).ravel().tolist()
    [2, 0, 1]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)
    NEAR: ClassVar[dict[str, float]] = _CONTRAST_NEAR

    brightness: Range = (0.875, 1.125)
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.5, 1.5)
    hue: Range = (-0.05, 0.05)
    p: float = 0.5
    arithmetic: str = "v2"

    def __post_init__(self) -> None:
        _need_settings(self)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Any, ...]:
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        factors = [rng.uniform(*given) if rng.random() < self.p else None for given in ranges]
        before = bool(rng.random() < 0.5)
        return *factors, before, tuple(rng.permutation(frame.channels).tolist()) if rng.random() < self.p else None

    def pil(self, image: Any, *params: Any) -> Any:
        for place, factor in _distortions(*params[:5]):
            image = _PIL[place](image, factor)
        return image if params[5] is None else _permute_pil(image, params[5])

    def chw(self, array: Array, *params: Any) -> Array:
        for place, factor in _distortions(*params[:5]):
            array = _CHW[place](array, factor, self.arithmetic)
        return array if params[5] is None else _permute_chw(array, params[5])


def _distortions(
    brightness: float | None, contrast: float | None, saturation: float | None, hue: float | None, before: bool
) -> list[tuple[int, float]]:
    middle = [(2, saturation), (3, hue)]
    placed = [(0, brightness), *([(1, contrast), *middle] if before else [*middle, (1, contrast)])]
    return [(place, factor) for place, factor in placed if factor is not None]
