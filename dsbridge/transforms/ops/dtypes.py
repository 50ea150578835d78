"""Changes of dtype, with the scaling of values that goes with them: ToDtype, and v1's ConvertImageDtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, State

BITS = {"uint8": 8, "int8": 7, "int16": 15, "uint16": 16, "int32": 31, "int64": 63}
FLOATS = ("float16", "float32", "float64")
_UNSAFE = {"float16": ("int16", "uint16", "int32", "int64"), "float32": ("int32", "int64"), "float64": ("int64",)}


def scale_to_float(image: Array, dtype: str, *, divide: bool) -> Array:
    """Integers as floats in [0, 1]: divided by the largest value, as v1 does, or multiplied by its reciprocal, as v2 does.

    The two differ in the last bit of 126 of the 256 values of uint8.

    >>> scale_to_float(np.array([0, 255], np.uint8), "float32", divide=True).tolist()
    [0.0, 1.0]
    """
    largest = 1 if image.dtype == np.bool_ else 2 ** BITS[image.dtype.name] - 1
    wide: Any = np.float64 if dtype == "float64" else np.float32  # torch computes halves in float32
    values = image.astype(dtype) if dtype == "float16" else image
    out = np.empty(image.shape, wide)
    act = np.divide if divide else np.multiply
    return act(values, wide(largest if divide else 1.0 / largest), out=out, dtype=wide).astype(dtype, copy=False)


def _scale_to_int(image: Array, dtype: str) -> Array:
    source = image.dtype.name
    if dtype in _UNSAFE[source]:
        raise TransformError(f"{source} cannot hold all values of {dtype} in order to be scaled to it. Hint: use scale=False")
    wide = image.astype(np.float32) if source == "float16" else image
    return _cast((wide * wide.dtype.type(2 ** BITS[dtype] - 1e-3)).astype(source, copy=False), dtype)


def _shift(image: Array, dtype: str) -> Array:
    up = BITS[dtype] - BITS[image.dtype.name]
    if up < 0:
        return np.right_shift(image, -up).astype(dtype)
    out: Array = np.left_shift(image.astype(dtype), np.dtype(dtype).type(up))
    return out


def _cast(image: Array, dtype: str) -> Array:
    if image.dtype.kind == "f" and dtype in ("uint8", "int8", "int16", "uint16"):
        image = image.astype(np.int32)  # what is out of range wraps, on every machine
    return image.astype(dtype)


def converted(image: Array, dtype: str, *, scale: bool, divide: bool = False) -> Array:
    """An image in another dtype; with ``scale`` the range of values goes over into the other dtype's.

    Raises ``TransformError`` where torch refuses, too.

    >>> converted(np.array([0.0, 1.0], np.float32), "uint8", scale=True).tolist()
    [0, 255]
    >>> converted(np.array([0, 255], np.uint8), "int16", scale=True).tolist()
    [0, 32640]
    """
    source = image.dtype.name
    if source == dtype:
        return image
    if source not in BITS and source not in FLOATS and source != "bool":
        raise TransformError(
            f"an image of dtype {source} cannot be converted. Hint: it is {', '.join([*BITS, *FLOATS])} or bool"
        )
    if not scale or (source in FLOATS and dtype in FLOATS):
        return _cast(image, dtype)
    if dtype in FLOATS:
        return scale_to_float(image, dtype, divide=divide)
    if source in FLOATS and dtype in BITS:
        return _scale_to_int(image, dtype)
    if source in BITS and dtype in BITS:
        return _shift(image, dtype)
    raise TransformError(f"{source} has no range that could be scaled to {dtype}'s. Hint: use scale=False")


def _check(dtype: str) -> None:
    if dtype not in BITS and dtype not in FLOATS and dtype != "bool":
        raise TransformError(f"dtype {dtype!r} is not known. Hint: it is one of {', '.join([*BITS, *FLOATS, 'bool'])}")


def _after(state: State, dtype: str) -> State:
    if state.kind == "pil":
        return state
    return State("uint8" if dtype == "uint8" else "float" if dtype in FLOATS else None, state.channels)


@dataclass(frozen=True, slots=True)
class ToDtype:
    """An array in another dtype, scaled (``scale=True``) by multiplication; PIL images stay as they are.

    >>> ToDtype("float32", scale=True).chw(np.array([[[255]]], np.uint8)).tolist()
    [[[1.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    dtype: str = "float32"
    scale: bool = False

    def __post_init__(self) -> None:
        _check(self.dtype)

    def pil(self, image: Any) -> Any:
        return image

    def chw(self, image: Array) -> Array:
        return converted(image, self.dtype, scale=self.scale)

    def after(self, state: State) -> State:
        return _after(state, self.dtype)


@dataclass(frozen=True, slots=True)
class ConvertImageDtype:
    """An array in another dtype, scaled by division as torchvision's v1 does.

    >>> ConvertImageDtype("float32").chw(np.array([[[255]]], np.uint8)).tolist()
    [[[1.0]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("uint8", "float")

    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check(self.dtype)

    def chw(self, image: Array) -> Array:
        return converted(image, self.dtype, scale=True, divide=True)

    def after(self, state: State) -> State:
        return _after(state, self.dtype)
