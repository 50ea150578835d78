"""Boxes and masks on whatever processor: torch's products of matrices take other kernels, and round differently, on each."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from harness import chw, drawn_for, product_in_order
from test_rotate import boxes_of, tensor_of
from torchvision_shim import tv_tensors, v2

ORIGINALS = pytest.mark.parametrize(
    "original",
    [
        v2.RandomRotation(180, expand=True),
        v2.RandomAffine(90, translate=(0.2, 0.3), scale=(0.5, 1.8), shear=(-20, 30, -10, 25)),
        v2.RandomPerspective(0.7, p=1.0),
    ],
    ids=["rotation", "affine", "perspective"],
)
PRODUCTS = """
    import sys, torch
    sys.path.insert(0, sys.argv[1])
    from harness import product_in_order
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        for count in (*range(4, 100, 4), 61 * 83):
            points, matrix = torch.rand(count, 3, dtype=dtype) * 80, torch.rand(2, 3, dtype=dtype)
            points[:, 2] = 1
            assert (points @ matrix.T).equal(product_in_order(points, matrix.T)), (dtype, count)
            both = points[None].bmm(matrix.T[None])
            assert both.equal(product_in_order(points[None], matrix.T[None])), (dtype, count)
    print("fine")
"""


def test_products_of_avx2_are_sums_in_order(run_python: Any) -> None:
    """What the tests of equality stand on, asked of MKL itself (a processor without AVX-512 does so anyway)."""
    done = run_python(PRODUCTS, os.path.dirname(__file__), env={"MKL_ENABLE_INSTRUCTIONS": "AVX2"})
    assert done.stdout == "fine\n", done.stderr


@ORIGINALS
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_boxes_are_off_by_a_rounding_at_most(original: Any, dtype: str) -> None:
    """Torch as it is here: fractions by a rounding or two of their size, whole numbers and the canvas by one."""
    bound = {"float32": 4e-5, "float64": 1e-13, "int64": 1}[dtype]
    for number in range(32):
        boxes = boxes_of(number, "XYXY", dtype)
        op, params, pinned = drawn_for(original, number, *boxes.canvas)
        theirs, ours = pinned(tensor_of(boxes)), op.boxes(boxes, *params)
        assert np.abs(np.subtract(ours.canvas, theirs.canvas_size)).max() <= 1
        if ours.canvas == theirs.canvas_size and len(boxes.array):
            assert np.abs(ours.array - theirs.as_subclass(torch.Tensor).numpy()).max() <= bound


@ORIGINALS
def test_masks_are_off_where_two_values_are_as_near(original: Any) -> None:
    """Torch as it is here: no more pixels differ than a row has, out of some thousand."""
    for number in range(32):
        mask = chw(number)[:1] // 12
        op, params, pinned = drawn_for(original, number, *mask.shape[-2:])
        theirs = pinned(tv_tensors.Mask(torch.from_numpy(mask.copy()))).as_subclass(torch.Tensor).numpy()
        ours = op.mask(mask, *params)
        if ours.shape == theirs.shape:
            assert (ours != theirs).sum() <= max(ours.shape)


def test_the_order_of_sums_matters() -> None:
    """Else the fixture would show nothing."""
    points, matrix = torch.rand(1000, 3) * 80, torch.rand(3, 2)
    assert not product_in_order(points, matrix).equal(product_in_order(points.flip(1), matrix.flip(0)))
