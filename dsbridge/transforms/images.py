"""Columns hold arrays, operations work on images: from one to the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Pixels

_CHANNELS = (1, 3, 4)  # grey, RGB, RGBA


def from_array(array: Array, kind: str) -> Any:
    """An image of this kind from a column's array, without a copy: pixels of a PIL image, or a view [C, H, W].

    ``array``: uint8 [H, W, C] or [H, W] for "pil" and "uint8", floating point [C, H, W] for "float".
    Raises ``TransformError`` naming dtype and shape.

    >>> from_array(np.zeros((5, 7, 3), np.uint8), "uint8").shape
    (3, 5, 7)
    """
    got = f"got {array.dtype}{list(array.shape)}"
    if kind == "float":
        if array.dtype.kind != "f" or array.ndim != 3:
            raise TransformError(f'input="float" wants a floating point image [C, H, W], {got}. Hint: input="uint8"?')
        return array
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise TransformError(f'input="{kind}" wants a uint8 image [H, W, C], {got}. Hint: input="float" for [C, H, W] floats')
    if 0 in array.shape:
        raise TransformError(f"an image without pixels, {got}")
    if array.ndim == 2:
        array = array[..., None]
    if kind == "uint8":
        return array.transpose(2, 0, 1)
    if array.shape[2] not in _CHANNELS:
        raise TransformError(f"a PIL image has 1 (grey), 3 (RGB) or 4 (RGBA) channels, {got}")
    return Pixels(array)


def from_image(image: Any) -> Any:
    """The array a column holds: [H, W, C] or [H, W] of a PIL image, else the array itself; several images as a tuple.

    >>> from_image(np.zeros((3, 5, 7), np.float32)).shape
    (3, 5, 7)
    """
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, tuple):
        return tuple(map(from_image, image))
    if isinstance(image, Pixels):
        array = image.array
        return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return image.array if hasattr(image, "array") else np.asarray(image)
