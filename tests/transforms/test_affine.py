"""RandomAffine: bit-equal to torchvision's on PIL images, the same law of its four parameters."""

from __future__ import annotations

import pytest
import torch
from harness import check_equal, draws_of, pil
from laws import same_continuous, same_discrete
from test_rotate import boxes_equal, masks_equal
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.affine import RandomAffine
from dsbridge.transforms.ops.values import Frame

LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
SETTINGS = [
    {"degrees": 0},
    {"degrees": 30, "interpolation": v1.InterpolationMode.BILINEAR},
    {"degrees": 0, "translate": (0.3, 0.2), "fill": 128},
    {"degrees": 0, "scale": [0.4, 1.7], "interpolation": v1.InterpolationMode.BICUBIC},
    {"degrees": 0, "shear": 25},
    {"degrees": 0, "shear": [-40, 10, -30, 45], "interpolation": 2, "fill": [60]},
    {"degrees": (-180, 180), "translate": [0.1, 0.4], "scale": (0.5, 2), "shear": (-10, 20, 5, 30), "interpolation": 2},
    {"degrees": (-180, 180), "translate": (1, 0), "scale": (0.5, 2), "shear": (3, 4), "center": [7, 31.5], "fill": 9.9},
]


@LIBRARIES
@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_equal(library, settings) -> None:
    check_equal(lambda: library.RandomAffine(**settings))


@LIBRARIES
@pytest.mark.parametrize(("mode", "fill"), [("RGB", (1, 2.9, 300)), ("L", (77,)), ("RGBA", [9, 8, 7, 100])])
def test_equal_where_each_channel_has_its_fill(library, mode: str, fill) -> None:
    for interpolation in (0, 2, 3):
        check_equal(
            lambda i=interpolation: library.RandomAffine(60, shear=20, interpolation=i, fill=fill), modes=(mode,), images=12
        )


def test_law() -> None:
    torch.manual_seed(0)
    settings = ((-20.0, 70.0), (0.1, 0.05), (0.5, 2.0), (-5.0, 5.0, 10.0, 30.0))
    angles, shifts, scales, shears = zip(*draws_of(RandomAffine(*settings), Frame(60, 100, 3)), strict=True)
    transform = v2.RandomAffine(*settings)
    image = pil(0).resize((100, 60))
    drawn = [transform.make_params([image]) for _ in range(4000)]
    theirs_v2 = [(p["angle"], p["translate"], p["scale"], p["shear"]) for p in drawn]
    for theirs in ([v1.RandomAffine.get_params(*settings, [100, 60]) for _ in range(4000)], theirs_v2):
        same_continuous(angles, [p[0] for p in theirs])
        same_discrete([x for x, _ in shifts], [p[1][0] for p in theirs])
        same_discrete([y for _, y in shifts], [p[1][1] for p in theirs])
        same_continuous(scales, [p[2] for p in theirs])
        same_continuous([x for x, _ in shears], [p[3][0] for p in theirs])
        same_continuous([y for _, y in shears], [p[3][1] for p in theirs])


def test_law_where_nothing_is_set() -> None:
    assert {params[1:] for params in draws_of(RandomAffine((1.0, 2.0)), Frame(60, 100, 3), 50)} == {((0, 0), 1.0, (0.0, 0.0))}


def test_refused() -> None:
    original = v2.RandomAffine(30, interpolation="hamming")
    with pytest.raises(Refused, match="cannot warp"):
        find(qualified(original)).read(original)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"degrees": (3.0, 2.0)}, "degrees"),
        ({"translate": (0.5, 1.5)}, "from 0 to 1"),
        ({"translate": (0.5,)}, "from 0 to 1"),
        ({"scale": (2.0, 1.0)}, "scale"),
        ({"scale": (0.0, 1.0)}, "scale is positive"),
        ({"shear": (1.0, 2.0, 3.0)}, "shear is .* or "),
        ({"interpolation": "box"}, "'box'"),
        ({"version": 3}, "version is 1"),
    ],
)
def test_wrong_settings(settings, said: str) -> None:
    with pytest.raises(TransformError, match=f"{said}.*Hint"):
        RandomAffine(**{"degrees": (0.0, 0.0), **settings})


def test_wrong_input() -> None:
    op = RandomAffine((0.0, 0.0), fill=(1, 2, 3, 4))
    with pytest.raises(TransformError, match=r"4 numbers.*mode RGB has 3 channels.*Hint"):
        op.pil(pil(0), 0.0, (0, 0), 1.0, (0.0, 0.0))


@pytest.mark.usefixtures("sums_in_order")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_equal(form: str, dtype: str) -> None:
    settings = {"translate": (0.2, 0.3), "scale": (0.5, 1.8), "shear": (-20, 30, -10, 25)}
    for original in (v2.RandomAffine(90, **settings), v2.RandomAffine(0, **settings, center=[3, 40.5])):
        boxes_equal(original, form, dtype)


@pytest.mark.usefixtures("sums_in_order")
def test_masks_equal() -> None:
    settings = {"translate": (0.2, 0.3), "scale": (0.5, 1.8), "shear": (-20, 30, -10, 25)}
    masks_equal(v2.RandomAffine(90, **settings, fill=7))
    masks_equal(v2.RandomAffine(0, **settings, center=[3, 40.5]))
    masks_equal(v2.RandomAffine(0, translate=(0.5, 0.5)))
