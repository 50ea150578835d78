"""RandomPerspective: bit-equal to torchvision's on PIL images given the coefficients, which follow one law.

v2 draws the coefficients. v1 solves for them after drawing corners, in double precision; our exact solution, rounded once,
is compared with what its solver says.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, draws_of, pil
from laws import same_continuous, same_discrete
from scipy import stats
from test_rotate import boxes_equal, masks_equal
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.perspective import RandomPerspective, coefficients
from dsbridge.transforms.ops.values import Boxes, Frame
from dsbridge.transforms.randomness import Draws, Key

LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])


@LIBRARIES
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"p": 1.0, "interpolation": v1.InterpolationMode.NEAREST, "fill": 200},
        {"p": 1.0, "interpolation": v1.InterpolationMode.BICUBIC, "distortion_scale": 0.9},
        {"p": 0.7, "interpolation": 2, "distortion_scale": 0.2, "fill": [66.6]},
        {"p": 1.0, "distortion_scale": 0},
    ],
    ids=repr,
)
def test_equal(library, settings) -> None:
    check_equal(lambda: library.RandomPerspective(**settings))


@LIBRARIES
@pytest.mark.parametrize(("mode", "fill"), [("RGB", (1, 2.9, 300)), ("L", (77,)), ("RGBA", [9, 8, 7, 100])])
def test_equal_where_each_channel_has_its_fill(library, mode: str, fill) -> None:
    check_equal(lambda: library.RandomPerspective(p=1.0, fill=fill), modes=(mode,))


def corners_of(op: RandomPerspective, frame: Frame, count: int) -> list:
    return [op.corners(Draws(0, Key(0, index)).at(1), frame) for index in range(count)]


def test_law_of_corners() -> None:
    torch.manual_seed(0)
    ours = np.array(corners_of(RandomPerspective(0.6), Frame(41, 64, 3), 4000))
    theirs = np.array([v1.RandomPerspective.get_params(64, 41, 0.6)[1] for _ in range(4000)])
    for corner in range(4):
        for axis in range(2):
            same_discrete(ours[:, corner, axis].tolist(), theirs[:, corner, axis].tolist())


def test_law_of_coefficients() -> None:
    torch.manual_seed(0)
    ours = [p[0] for p in draws_of(RandomPerspective(0.5, p=1.0), Frame(61, 83, 3), 1000)]
    transform, image = v2.RandomPerspective(0.5, p=1.0), pil(0)
    theirs = [transform.make_params([image])["coefficients"] for _ in range(1000)]
    for number in range(8):  # to nine digits: where the truth is 0, their solver says 1e-17
        same_continuous([round(p[number], 9) for p in ours], [round(p[number], 9) for p in theirs])


def test_coin() -> None:
    acted = sum(params is not None for params in draws_of(RandomPerspective(p=0.3), Frame(50, 50, 3)))
    assert stats.binomtest(acted, 4000, 0.3).pvalue > 1e-4


@pytest.mark.parametrize("frame", [Frame(61, 83, 3), Frame(224, 224, 3), Frame(47, 20, 3)])
def test_coefficients_are_what_torch_solves(frame: Frame) -> None:
    """Equal to single precision: relative 4e-7, or absolute 1e-12 around zero; most of them to the last bit."""
    height, width = frame[:2]
    starts = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
    corners = corners_of(RandomPerspective(0.5), frame, 300)
    ours = np.array([coefficients(c, height, width) for c in corners])
    theirs = np.array([v1.functional._get_perspective_coeffs(starts, [list(point) for point in c]) for c in corners])
    np.testing.assert_allclose(ours, theirs, rtol=4e-7, atol=1e-12)
    assert (ours == theirs).mean() > 0.9


@pytest.mark.parametrize("corners", [((2, 2), (2, 2), (5, 5), (0, 5)), ((2, 2), (4, 2), (6, 6), (2, 4))])
def test_corners_without_a_map(corners) -> None:
    """Corners that fall together, and a horizon through the first pixel."""
    assert coefficients(corners, 7, 9) is None


def test_refused() -> None:
    original = v2.RandomPerspective(interpolation="lanczos")
    with pytest.raises(Refused, match="cannot warp"):
        find(qualified(original)).read(original)


def test_wrong_settings() -> None:
    with pytest.raises(TransformError, match="'box'.*Hint"):
        RandomPerspective(interpolation="box")
    with pytest.raises(TransformError, match="from 0 to 1, got 1.5.*Hint"):
        RandomPerspective(1.5)


def test_wrong_input() -> None:
    with pytest.raises(TransformError, match="1 x 5 pixels has no perspective.*Hint"):
        draws_of(RandomPerspective(p=1.0), Frame(1, 5, 3), 1)
    op = RandomPerspective(p=1.0, fill=(1, 2))
    with pytest.raises(TransformError, match="2 numbers.*Hint"):
        op.pil(pil(0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0))


@pytest.mark.usefixtures("sums_in_order")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_equal(form: str, dtype: str) -> None:
    boxes_equal(v2.RandomPerspective(0.7, p=1.0), form, dtype)


@pytest.mark.usefixtures("sums_in_order")
def test_masks_equal() -> None:
    for settings in ({}, {"distortion_scale": 0.9, "fill": 3}, {"distortion_scale": 0.1, "fill": [5]}):
        masks_equal(v2.RandomPerspective(p=1.0, **settings))


def test_no_way_back_for_boxes() -> None:
    flat = Boxes(np.ones((1, 4), np.float32), "XYXY", (61, 83))
    with pytest.raises(TransformError, match="no way back for boxes.*Hint"):
        RandomPerspective().boxes(flat, (1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.1, 0.2))
