"""Boxes in other formats and clamped boxes: bit-equal to v2, floats and integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from harness import check_equal, plain, same
from torchvision_shim import tv_tensors, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.box_tools import FORMATS, ClampBoundingBoxes, ConvertBoundingBoxFormat
from dsbridge.transforms.ops.values import Boxes

CANVAS = (61, 83)
DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16"]


def boxes_of(dtype: str, number: int = 200) -> np.ndarray:
    """Boxes in and out of the canvas, odd sizes, some of size zero or less."""
    values = np.random.default_rng(7).uniform(-40, 130, (number, 4))
    values[:5] = [[0, 0, 0, 0], [5, 5, 5, 5], [10, 10, 3, 4], [-9, -9, -4, -4], [1, 2, 83, 61]]
    return np.rint(values).astype(dtype) if dtype.startswith("int") else values.astype(dtype)


def check(original, old: str, array: np.ndarray) -> None:
    """Our operation and v2's on the same boxes."""
    theirs = original(tv_tensors.BoundingBoxes(torch.from_numpy(array.copy()), format=old, canvas_size=CANVAS))
    before = array.copy()
    ours = find(qualified(original)).read(original).boxes(Boxes(array, old, CANVAS))
    assert ours.format == theirs.format.value and ours.canvas == theirs.canvas_size
    assert same(ours.array, plain(theirs.as_subclass(torch.Tensor))), (original, old, array.dtype)
    assert same(array, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("old", "new"), list(itertools.product(FORMATS, FORMATS)))
def test_formats(old: str, new: str, dtype: str) -> None:
    check(v2.ConvertBoundingBoxFormat(new), old, boxes_of(dtype))
    check(v2.ConvertBoundingBoxFormat(new.lower()), old, boxes_of(dtype)[:0])
    check(v2.ConvertBoundingBoxFormat(tv_tensors.BoundingBoxFormat[new]), old, boxes_of(dtype, 7))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("old", FORMATS)
@pytest.mark.parametrize("mode", ["auto", "soft", "hard", None])
def test_clamp(mode: str | None, old: str, dtype: str) -> None:
    check(v2.ClampBoundingBoxes(mode), old, boxes_of(dtype))


def test_images_stay() -> None:
    check_equal(v2.ClampBoundingBoxes, ("pil", "uint8", "float"))
    check_equal(lambda: v2.ConvertBoundingBoxFormat("XYXY"), ("pil", "uint8", "float"))


def test_wrong_settings() -> None:
    with pytest.raises(TransformError, match="XYXY, XYWH, CXCYWH"):
        ConvertBoundingBoxFormat("YXYX")
    with pytest.raises(TransformError, match="'auto', 'soft', 'hard' or None"):
        ClampBoundingBoxes("maybe")
    with pytest.raises(Refused, match="rotated"):
        find(qualified(v2.ConvertBoundingBoxFormat("XYWHR"))).read(v2.ConvertBoundingBoxFormat("XYWHR"))
