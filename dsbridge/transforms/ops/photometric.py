"""Inverting, posterizing, solarizing, stretching and equalizing colours, and sharpness, each with a probability.

``arithmetic``: see ``grayscale``; v1 takes tensors of 1 or 3 channels only, v2 often any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops import pil_colour
from dsbridge.transforms.ops.colour_jitter import blend
from dsbridge.transforms.ops.grayscale import floating, fused, need_arithmetic, need_channels
from dsbridge.transforms.ops.values import Array, Frame


def _need_v1_channels(name: str, array: Array, arithmetic: str) -> None:
    if arithmetic == "v1":
        need_channels(name, array)


def _inverted(array: Array) -> Array:
    return ~array if array.dtype == np.uint8 else array.dtype.type(1) - array


@dataclass(frozen=True, slots=True)
class RandomInvert:
    """Replace each value by the greatest less it, with probability ``p``.

    >>> RandomInvert(p=1.0).chw(np.full((1, 1, 1), 55, np.uint8)).item()
    200
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    p: float = 0.5
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomInvert", self.arithmetic)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return pil_colour.invert(image)

    def chw(self, array: Array) -> Array:
        _need_v1_channels("RandomInvert", array, self.arithmetic)
        return _inverted(array)


@dataclass(frozen=True, slots=True)
class RandomPosterize:
    """Keep the highest ``bits`` of each value, with probability ``p``.

    0 bits work on arrays alone, and arrays of floats in the arithmetic of v2.

    >>> RandomPosterize(bits=1, p=1.0).chw(np.full((1, 1, 1), 255, np.uint8)).item()
    128
    """

    bits: int
    p: float = 0.5
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomPosterize", self.arithmetic)
        if self.bits not in range(9):
            raise TransformError(f"RandomPosterize to {self.bits!r} bits. Hint: it keeps 0 to 8 of them")

    @property
    def EXACT(self) -> tuple[str, ...]:  # noqa: N802
        return ("pil", "uint8", "float") if self.arithmetic == "v2" else ("pil", "uint8")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return pil_colour.posterize(image, self.bits)

    def chw(self, array: Array) -> Array:
        _need_v1_channels("RandomPosterize", array, self.arithmetic)
        if array.dtype == np.uint8:
            return array & np.uint8(256 - (1 << (8 - self.bits)))
        if self.arithmetic == "v1":
            raise TransformError(f"RandomPosterize of v1 wants uint8, got {array.dtype}. Hint: apply it before ToTensor")
        kind, levels = array.dtype.type, 1 << self.bits
        values: Array = np.floor(array * kind(levels))
        np.maximum(values, 0, out=values)
        np.minimum(values, kind(levels - 1), out=values)
        values *= kind(1 / levels)
        return values


@dataclass(frozen=True, slots=True)
class RandomSolarize:
    """Invert the values of ``threshold`` and more, with probability ``p``.

    Threshold 256 changes nothing in a PIL image. Arrays refuse a threshold above their greatest value, 255 or 1.

    >>> RandomSolarize(threshold=128, p=1.0).chw(np.array([[[100, 200]]], np.uint8)).tolist()
    [[[100, 55]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    threshold: float
    p: float = 0.5
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomSolarize", self.arithmetic)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return pil_colour.solarize(image, self.threshold)

    def chw(self, array: Array) -> Array:
        _need_v1_channels("RandomSolarize", array, self.arithmetic)
        greatest = 255 if array.dtype == np.uint8 else 1
        if self.threshold > greatest:
            hint = "Hint: it counts in the image's own values"
            raise TransformError(f"threshold {self.threshold} for {array.dtype}, whose values end at {greatest}. {hint}")
        return np.where(floating(array) >= floating(array).dtype.type(self.threshold), _inverted(array), array)


@dataclass(frozen=True, slots=True)
class RandomAutocontrast:
    """Stretch each channel to the full range, with probability ``p``.

    >>> RandomAutocontrast(p=1.0).chw(np.array([[[100, 110, 120]]], np.uint8)).tolist()
    [[[0, 127, 255]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    p: float = 0.5
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomAutocontrast", self.arithmetic)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return pil_colour.autocontrast(image)

    def chw(self, array: Array) -> Array:
        need_channels("RandomAutocontrast", array)
        values = floating(array)
        kind = values.dtype.type
        bound = kind(255 if array.dtype == np.uint8 else 1)
        least = array.min((1, 2), keepdims=True).astype(kind)
        spread = array.max((1, 2), keepdims=True).astype(kind) - least
        flat = spread == 0
        least[flat] = 0
        if self.arithmetic == "v2":
            values = (values - least) / np.where(flat, kind(1), spread * kind(1 / bound))
        else:
            # torch divides a number by a tensor as number times reciprocal
            values = (values - least) * np.where(flat, kind(1), kind(1) / np.where(flat, kind(1), spread) * bound)
        np.maximum(values, 0, out=values)
        np.minimum(values, bound, out=values)
        result: Array = values.astype(array.dtype, copy=False)
        return result


def _equalized(channel: Array) -> Array:
    counts = np.bincount(channel.ravel(), minlength=256)
    step = int(channel.size - counts[channel.max()]) // 255
    if not step:
        return channel
    table = np.zeros(256, np.uint8)
    table[1:] = np.minimum((np.cumsum(counts)[:-1] + step // 2) // step, 255)
    return table[channel]


@dataclass(frozen=True, slots=True)
class RandomEqualize:
    """Spread each channel's histogram evenly, with probability ``p``.

    Arrays of floats in the arithmetic of v2 alone, in 256 steps.

    >>> RandomEqualize(p=1.0).chw(np.arange(0, 64, dtype=np.uint8).repeat(8).reshape(1, 16, 32)).max().item()
    255
    """

    p: float = 0.5
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomEqualize", self.arithmetic)

    @property
    def EXACT(self) -> tuple[str, ...]:  # noqa: N802
        return ("pil", "uint8", "float") if self.arithmetic == "v2" else ("pil", "uint8")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return pil_colour.equalize(image)

    def chw(self, array: Array) -> Array:
        _need_v1_channels("RandomEqualize", array, self.arithmetic)
        if array.dtype == np.uint8:
            return np.stack([_equalized(channel) for channel in array])
        if self.arithmetic == "v1":
            raise TransformError(f"RandomEqualize of v1 wants uint8, got {array.dtype}. Hint: apply it before ToTensor")
        kind = array.dtype.type
        whole = (array * kind(255.999)).astype(np.uint8)
        result: Array = np.stack([_equalized(channel) for channel in whole]).astype(kind)
        result *= kind(1 / 255)
        return result


@dataclass(frozen=True, slots=True)
class RandomAdjustSharpness:
    """Blend with the smoothed image, 0 being it and 1 the image, with probability ``p``.

    Arrays of floats are not equal bit by bit: torch's order of adding is its own.

    >>> RandomAdjustSharpness(factor=2.0, p=1.0).chw(np.full((1, 5, 5), 7, np.uint8)).max().item()
    7
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8")

    factor: float
    p: float = 0.5
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomAdjustSharpness", self.arithmetic)
        if self.factor < 0:
            raise TransformError(f"RandomAdjustSharpness by {self.factor}. Hint: 0 blurs, 1 is the image, 2 is sharper")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return pil_colour.sharpness(image, self.factor)

    def chw(self, array: Array) -> Array:
        need_channels("RandomAdjustSharpness", array)
        if array.dtype != np.uint8:
            raise TransformError(f"RandomAdjustSharpness wants uint8, got {array.dtype}. Hint: apply it before ToTensor")
        if min(array.shape[1:]) <= 2:
            return array
        inner, smooth = array[:, 1:-1, 1:-1], _smooth(array)
        if self.arithmetic == "v1":
            whole = array.copy()
            whole[:, 1:-1, 1:-1] = smooth
            return blend(array, whole, self.factor, "v1")  # the rim, too: it may lose a step to rounding
        sharp = fused(inner.astype(np.float32), smooth.astype(np.int16) - inner, 1.0 - self.factor)
        result = array.copy()
        result[:, 1:-1, 1:-1] = np.clip(sharp, 0, 255)
        return result


def _smooth(array: Array) -> Array:
    """The 3 by 3 mean that counts the middle fivefold; thirteenths never lie in the middle, so any rounding agrees."""
    wide = array.astype(np.uint16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * wide[:, 1:-1, 1:-1]
    rounded: Array = (total + np.uint16(6)) // np.uint16(13)
    return rounded.astype(np.uint8)
