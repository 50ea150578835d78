"""Grey images, images of three channels, and the arithmetic of grey that other colour operations share.

torchvision's v1 and v2 agree on PIL images. On tensors v2 multiplies and adds with one rounding where v1 has two, so
operations say whose ``arithmetic`` they follow: "v1" or "v2".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Frame, State

ARITHMETICS = ("v1", "v2")
_WEIGHTS = (0.2989, 0.587, 0.114)


def need_arithmetic(name: str, arithmetic: str) -> None:
    """Raise ``TransformError`` where an arithmetic is neither v1 nor v2.

    >>> need_arithmetic("Grayscale", "v2")
    """
    if arithmetic not in ARITHMETICS:
        raise TransformError(f"{name} of arithmetic {arithmetic!r}. Hint: torchvision has two, 'v1' and 'v2'")


def need_channels(name: str, array: Array) -> int:
    """The number of channels of [C, H, W]; raises ``TransformError`` where it is neither 1 nor 3.

    >>> need_channels("hue", np.zeros((3, 4, 5), np.uint8))
    3
    """
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        hint = "Hint: drop the other channels before, or apply the operation where the image is grey or RGB"
        raise TransformError(f"{name} wants an image of 1 or 3 channels, got {array.dtype}{list(array.shape)}. {hint}")
    return int(array.shape[0])


def floating(array: Array) -> Array:
    """The array itself if it is of floats, else as float32.

    >>> floating(np.zeros((1, 2, 2), np.uint8)).dtype
    dtype('float32')
    """
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def fused(first: Array, second: Array, factor: float) -> Array:
    """``first + second * factor`` of float32, rounded once, as a fused multiply-add rounds; ``second`` may be whole numbers.

    Two float32 multiply exactly in float64. Their sum may be rounded there, and matters where it then lies in the middle
    between two float32: there the lost rest decides. Arrays of float64 are rounded twice.

    >>> float(fused(np.float32([1]), np.float32([1 + 2**-12]), 1 + 2**-12)[0]) == 2 + 2**-11
    True
    """
    if first.dtype != np.float32:
        return np.asarray(first + second * factor, first.dtype)
    total = second.astype(np.float64)
    total *= float(np.float32(factor))
    product = total.copy() if second.dtype.kind == "f" else None
    total += first
    result = total.astype(np.float32)
    if product is None:  # 9 bits by 24: nothing is lost
        return result
    middle = np.nonzero((total.view(np.int64) & 0x1FFFFFFF) == 0x10000000)
    if len(middle[0]):
        a, p, s = first[middle].astype(np.float64), product[middle], total[middle]
        rest = (p - (s - (s - p))) + (a - (s - p))
        result[middle] = np.where(rest == 0, s, np.nextafter(s, np.copysign(np.inf, rest))).astype(np.float32)
    return result


def grey(array: Array, arithmetic: str) -> Array:
    """Luma of an RGB array [3, H, W] as floats [1, H, W], not rounded.

    >>> grey(np.full((3, 1, 1), 100, np.uint8), "v1").item() < 100  # the weights sum to 0.9999
    True
    """
    if arithmetic == "v2":
        kind = array.dtype.type if array.dtype.kind == "f" else np.float32
        red = floating(array[:1]) * kind(_WEIGHTS[0])
        return fused(fused(red, array[1:2], _WEIGHTS[1]), array[2:3], _WEIGHTS[2])
    values = floating(array)
    kind = values.dtype.type
    total: Array = values[:1] * kind(_WEIGHTS[0])
    total += values[1:2] * kind(_WEIGHTS[1])
    total += values[2:3] * kind(_WEIGHTS[2])
    return total


def _grey_pil(name: str, image: Any, channels: int) -> Any:
    if channels not in (1, 3):
        raise TransformError(f"{name} of a PIL image of mode {image.mode!r}. Hint: convert it to RGB or L before")
    return image.convert("L") if channels == 1 else image.convert("L").convert("RGB")


def _grey_chw(name: str, array: Array, channels: int, arithmetic: str) -> Array:
    if need_channels(name, array) == 1:  # v1 leaves one channel one channel
        return np.repeat(array, 3, 0) if channels == 3 and arithmetic == "v2" else array
    made = grey(array, arithmetic).astype(array.dtype, copy=False)
    return made if channels == 1 else np.broadcast_to(made, array.shape)


@dataclass(frozen=True, slots=True)
class Grayscale:
    """Make grey, of one channel or of three equal ones.

    >>> Grayscale(channels=3).chw(np.full((3, 1, 1), 100, np.uint8)).tolist()
    [[[99]], [[99]], [[99]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    channels: int = 1
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("Grayscale", self.arithmetic)
        if self.channels not in (1, 3):
            raise TransformError(f"Grayscale to {self.channels} channels. Hint: it makes 1 or 3")

    def pil(self, image: Any) -> Any:
        return _grey_pil("Grayscale", image, self.channels)

    def chw(self, array: Array) -> Array:
        return _grey_chw("Grayscale", array, self.channels, self.arithmetic)

    def after(self, state: State) -> State:
        if state.kind == "pil" or self.channels == 1 or self.arithmetic == "v2":
            return State(state.kind, self.channels)
        return state  # 1 stays 1, 3 stays 3


@dataclass(frozen=True, slots=True)
class RandomGrayscale:
    """Make grey with probability ``p``, of as many channels as before.

    >>> RandomGrayscale(p=1.0).chw(np.full((3, 1, 1), 100, np.uint8)).ravel().tolist()
    [99, 99, 99]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    p: float = 0.1
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("RandomGrayscale", self.arithmetic)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[()] | None:
        return () if rng.random() < self.p else None

    def pil(self, image: Any) -> Any:
        return _grey_pil("RandomGrayscale", image, len(image.getbands()))

    def chw(self, array: Array) -> Array:
        return _grey_chw("RandomGrayscale", array, array.shape[0], self.arithmetic)


@dataclass(frozen=True, slots=True)
class RGB:
    """Three channels: grey is repeated; a PIL image is converted, an array of three channels or more left as it is.

    >>> RGB().chw(np.zeros((1, 4, 5), np.uint8)).shape
    (3, 4, 5)
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    def pil(self, image: Any) -> Any:
        return image.convert("RGB")

    def chw(self, array: Array) -> Array:
        if array.shape[0] >= 3:
            return array
        need_channels("RGB", array)
        return np.broadcast_to(array, (3, *array.shape[1:]))

    def after(self, state: State) -> State:
        if state.kind == "pil" or state.channels in (1, 3):
            return State(state.kind, 3)
        return state
