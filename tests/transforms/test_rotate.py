"""RandomRotation: bit-equal to torchvision's on PIL images, the same law of angles."""

from __future__ import annotations

import itertools

import numpy as np
import PIL.Image
import pytest
import torch
from harness import SIZES, check_equal, chw, difference, drawn_for, draws_of, pil, plain, same
from laws import same_continuous
from torchvision_shim import tv_tensors, v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.rotate import RandomRotation
from dsbridge.transforms.ops.values import Boxes, Frame
from dsbridge.transforms.ops.warp import RESAMPLING
from dsbridge.transforms.ops.warp_targets import expanded_size
from dsbridge.transforms.stage import Sample, apply

MASKS = ["uint8", "int64", "bool", "float32"]
LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
SETTINGS = [
    {"degrees": 30},
    {"degrees": (-180, 180), "interpolation": v1.InterpolationMode.BILINEAR, "expand": True},
    {"degrees": (10, 80), "interpolation": v1.InterpolationMode.BICUBIC, "center": [10, 5.5]},
    {"degrees": 45, "interpolation": v1.InterpolationMode.NEAREST_EXACT, "expand": True, "center": (0, 0), "fill": 200},
    {"degrees": 400, "interpolation": PIL.Image.BILINEAR, "fill": [33.7]},
    {"degrees": (90, 90), "expand": True},
    {"degrees": (90, 90), "fill": 9},
    {"degrees": (180, 180)},
    {"degrees": (0, 0)},
]


def boxes_of(number: int, form: str, dtype: str) -> Boxes:
    """Up to six boxes of odd sizes, none at number 7."""
    rng = np.random.default_rng(number)
    height, width = SIZES[number % len(SIZES)]
    count = 0 if number == 7 else 1 + number % 6
    low, size = rng.uniform(0, 0.7, (count, 2)), rng.uniform(0.05, 0.5, (count, 2))
    far = low + size if form == "XYXY" else size
    return Boxes((np.concatenate([low, far], 1) * [width, height, width, height]).astype(dtype), form, (height, width))


def masks_equal(original, images: int = 32) -> None:
    """Bit-equality of masks of all dtypes: one channel, several, and none, of classes 0 to 20 (True and False)."""
    for number in range(images):
        dtype, values = MASKS[number % 4], chw(number)[: number % 3 + 1] // 12
        mask = (values > 9 if dtype == "bool" else values.astype(dtype))[0 if number % 5 == 0 else slice(None)]
        op, params, pinned = drawn_for(original, number, *mask.shape[-2:])
        theirs = plain(pinned(tv_tensors.Mask(torch.from_numpy(mask.copy()))).as_subclass(torch.Tensor))
        ours = np.ascontiguousarray(op.mask(mask, *params))
        assert same(ours, np.ascontiguousarray(theirs)), f"{number}, {params}: {(ours != theirs).sum()} pixels"


def tensor_of(boxes: Boxes) -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(torch.from_numpy(boxes.array.copy()), format=boxes.format, canvas_size=boxes.canvas)


def boxes_equal(original, form: str, dtype: str) -> None:
    """Bit-equality of boxes and of the canvas that they end on, for 32 images."""
    for number in range(32):
        boxes = boxes_of(number, form, dtype)
        op, params, pinned = drawn_for(original, number, *boxes.canvas)
        theirs = pinned(tensor_of(boxes))
        ours = op.boxes(boxes, *params)
        assert same(ours.array, theirs.as_subclass(torch.Tensor).numpy()), difference(ours.array, theirs.numpy())
        assert ours.canvas == theirs.canvas_size


@LIBRARIES
@pytest.mark.parametrize("settings", SETTINGS, ids=repr)
def test_equal(library, settings) -> None:
    check_equal(lambda: library.RandomRotation(**settings))


@LIBRARIES
@pytest.mark.parametrize(("mode", "fill"), [("RGB", (1, 2.9, 300)), ("L", (77,)), ("RGBA", [9, 8, 7, 100])])
def test_equal_where_each_channel_has_its_fill(library, mode: str, fill) -> None:
    for interpolation in (0, 2, 3):
        check_equal(lambda i=interpolation: library.RandomRotation(60, i, fill=fill), modes=(mode,), images=12)


def test_equal_with_an_interpolation_by_name() -> None:
    check_equal(lambda: v2.RandomRotation(60, "bicubic", fill={"others": (5, 6, 7)}), modes=("RGB",))


def test_law() -> None:
    torch.manual_seed(0)
    op = RandomRotation((-20.0, 70.0))
    ours = [angle for (angle,) in draws_of(op, Frame(40, 50, 3))]
    same_continuous(ours, [v1.RandomRotation.get_params([-20.0, 70.0]) for _ in range(4000)])
    transform = v2.RandomRotation((-20.0, 70.0))
    same_continuous(ours, [transform.make_params([])["angle"] for _ in range(4000)])


@pytest.mark.parametrize(
    "settings",
    [
        {"interpolation": v1.InterpolationMode.LANCZOS},
        {"interpolation": "box"},
        {"fill": {tv_tensors.Image: 3, "others": 4}},
        {"fill": {PIL.Image.Image: 3}},
    ],
)
def test_refused(settings) -> None:
    """What Pillow cannot warp with, and fills by type, are left to the original."""
    original = v2.RandomRotation(30, **settings)
    with pytest.raises(Refused):
        find(qualified(original)).read(original)


def test_refused_fill_of_other_things() -> None:
    original = v1.RandomRotation(30, fill="red")
    with pytest.raises(Refused, match="plain numbers"):
        find(qualified(original)).read(original)


def test_wrong_settings() -> None:
    with pytest.raises(TransformError, match=r"degrees is \(low, high\).*Hint"):
        RandomRotation((3.0, 2.0))
    with pytest.raises(TransformError, match="'lanczos'.*Hint.*" + ", ".join(RESAMPLING)):
        RandomRotation((2.0, 3.0), "lanczos")


def test_wrong_input() -> None:
    """A fill of three numbers suits no grey image, for the original as for us; arrays are not taken."""
    op = RandomRotation((30.0, 30.0), fill=(1, 2, 3))
    with pytest.raises(TransformError, match=r"3 numbers.*mode L has 1 channels.*Hint"):
        op.pil(pil(0, "L"), 30.0)
    with pytest.raises(ValueError, match="does not match"):
        v1.RandomRotation(30, fill=(1, 2, 3))(pil(0, "L"))
    with pytest.raises(TransformError, match="cannot take"):
        apply(op, Sample(chw(0)), (30.0,))


@pytest.mark.usefixtures("sums_in_order")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
def test_boxes_equal(form: str, dtype: str) -> None:
    for center, expand in itertools.product((None, (10, 50.5)), (False, True)):
        boxes_equal(v2.RandomRotation(180, center=center, expand=expand), form, dtype)


@pytest.mark.usefixtures("sums_in_order")
def test_masks_equal() -> None:
    for settings in ({"degrees": 180}, {"degrees": 90, "center": (10, 50.5), "fill": 3}, {"degrees": (90, 90)}):
        masks_equal(v2.RandomRotation(**settings))
    for angle, expand in itertools.product((0, 180, 270, 450), (False, True)):
        masks_equal(v2.RandomRotation((angle, angle), expand=expand, fill=[5]), images=8)
        masks_equal(v2.RandomRotation((angle, angle), expand=expand, center=[10, 5]), images=8)
    masks_equal(v2.RandomRotation(180, expand=True, fill=3))
    masks_equal(v2.RandomRotation(90, expand=True, center=(10, 50.5)))


def test_masks_that_are_not_taken() -> None:
    mask = chw(0)[0]
    with pytest.raises(TransformError, match="got float64.*Hint"):
        RandomRotation((1.0, 2.0)).mask(mask.astype(np.float64), 1.5)
    with pytest.raises(TransformError, match="suits no mask.*Hint"):
        RandomRotation((1.0, 2.0), fill=(1, 2, 3)).mask(mask, 1.5)


@pytest.mark.usefixtures("sums_in_order")
def test_quarter_turns_of_boxes_with_expand() -> None:
    """The canvas is turned, too; torchvision's is at times a pixel larger than the image, and so is ours."""
    for angle, number in itertools.product((0, 90, 180, 270, 450), range(8)):
        original = v2.RandomRotation((angle, angle), expand=True)
        boxes = boxes_of(number, "XYXY", "float32")
        theirs = original(tensor_of(boxes))
        ours = find(qualified(original)).read(original).boxes(boxes, float(angle))
        assert same(ours.array, theirs.as_subclass(torch.Tensor).numpy()) and ours.canvas == theirs.canvas_size


@pytest.mark.usefixtures("sums_in_order")
@pytest.mark.parametrize("beyond", [0.0, 0.00005, 0.0002, -0.00005])
def test_what_is_beyond_the_fourth_place_does_not_grow_the_canvas(beyond: float) -> None:
    matrix = [1.0, 0.0, beyond, 0.0, 1.0, 0.0]
    theirs = v2.functional._geometry._compute_affine_output_size(matrix, 83, 61)
    assert expanded_size(matrix, 61, 83) == theirs[::-1]
