"""Normalize, and ToTensor with Normalize in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.convert import FULL, pil_planes, planes, unit
from dsbridge.transforms.ops.dtypes import converted
from dsbridge.transforms.ops.values import Array, State

RECIPROCAL = np.float32(1 / 255)
SCALES = ("divide", "convert", "multiply")


def _check_moments(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    if not mean or not std or len(std) not in (1, len(mean)):
        raise TransformError(
            f"{len(mean)} means and {len(std)} standard deviations. Hint: give one of each per channel, or one"
        )
    if not all(std):
        raise TransformError(f"std {std} has a zero, by which no one can divide. Hint: give a channel without variance std 1")


def _columns(values: tuple[float, ...], dtype: np.dtype[Any]) -> Array:
    return np.asarray(values, dtype)[:, None, None]


def normalize(image: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Array:
    """(image - mean) / std by channels, in the image's own floating point dtype.

    An image of one channel becomes as many channels as there are means, as torch's broadcasting has it.
    Raises ``TransformError`` for what is no float [..., C, H, W] of as many channels.

    >>> normalize(np.full((1, 1, 2), 0.75, np.float32), (0.5,), (0.5,)).tolist()
    [[[0.5, 0.5]]]
    """
    if image.dtype.kind != "f" or image.ndim < 3:
        raise TransformError(
            f"Normalize wants floats [C, H, W], got {image.dtype}{list(image.shape)}. Hint: put ToTensor or ToDtype first"
        )
    if image.shape[-3] != 1 and len(mean) not in (1, image.shape[-3]):
        raise TransformError(f"{len(mean)} means for {image.shape[-3]} channels. Hint: give one mean per channel")
    divisor = _columns(std, image.dtype)
    if not divisor.all():
        raise TransformError(f"std {std} is zero in {image.dtype}. Hint: give a channel without variance std 1")
    out = np.subtract(image, _columns(mean, image.dtype))
    return np.divide(out, divisor, out=out)


@dataclass(frozen=True, slots=True)
class Normalize:
    """(image - mean) / std by channels of a float array.

    >>> Normalize((0.5,), (0.25,)).chw(np.ones((1, 1, 1), np.float32)).tolist()
    [[[2.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("float",)

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_moments(self.mean, self.std)

    def chw(self, image: Array) -> Array:
        return normalize(image, self.mean, self.std)


def to_tensor_normalize(image: Any, mean: tuple[float, ...], std: tuple[float, ...], scale: str = "divide") -> Array:
    """Scale to [0, 1] and normalize, bit-equal to both in turn, in one array.

    ``image``: a PIL image or an array [C, H, W]. ``scale``: "divide" by 255 as ToTensor does, which leaves all but
    uint8 unscaled; "convert": divide whatever the dtype, as ConvertImageDtype; "multiply" by 1/255, as ToDtype.

    >>> to_tensor_normalize(np.full((1, 1, 1), 255, np.uint8), (0.5,), (0.25,)).tolist()
    [[[2.0]]]
    """
    if isinstance(image, np.ndarray):
        values = image
    else:
        values = pil_planes(image) if scale == "divide" else planes(np.asarray(image))
    if values.dtype != np.uint8 or values.ndim != 3 or len(mean) not in (1, values.shape[0]):
        plain = scale == "divide"
        as_float = unit(values) if plain else converted(values, "float32", scale=True, divide=scale == "convert")
        return normalize(as_float, mean, std)
    out = np.empty(values.shape, np.float32)
    if scale != "multiply":
        np.divide(values, FULL, out=out, dtype=np.float32)
    else:
        np.multiply(values, RECIPROCAL, out=out, dtype=np.float32)
    np.subtract(out, _columns(mean, out.dtype), out=out)
    return np.divide(out, _columns(std, out.dtype), out=out)


@dataclass(frozen=True, slots=True)
class ToTensorNormalize:
    """Scale to [0, 1] and normalize at once: ToTensor ("divide"), or ToImage with ToDtype ("multiply") or with
    ConvertImageDtype ("convert"), then Normalize.

    >>> ToTensorNormalize((0.5,), (0.5,)).chw(np.array([[[0, 255]]], np.uint8)).tolist()
    [[[-1.0, 1.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8")

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: str = "divide"

    def __post_init__(self) -> None:
        _check_moments(self.mean, tuple(np.asarray(self.std, np.float32).tolist()))
        if self.scale not in SCALES:
            raise TransformError(f"scale {self.scale!r}. Hint: it is one of {', '.join(SCALES)}")

    def pil(self, image: Any) -> Array:
        return to_tensor_normalize(image, self.mean, self.std, self.scale)

    def hwc(self, image: Array) -> Array:
        return to_tensor_normalize(planes(image), self.mean, self.std, self.scale)

    def chw(self, image: Array) -> Array:
        return to_tensor_normalize(image, self.mean, self.std, self.scale)

    def after(self, state: State) -> State:
        return State("float", state.channels)
