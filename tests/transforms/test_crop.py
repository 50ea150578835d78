"""Crops: bit-equal to torchvision's in every kind; random places follow the same law."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from harness import check_equal, draws_of
from laws import independent, same_continuous, same_discrete
from PIL import Image
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.crop import CenterCrop, FiveCrop, RandomCrop, TenCrop
from dsbridge.transforms.ops.pad import PADDING_MODES
from dsbridge.transforms.ops.values import KINDS, Boxes, Frame, State

BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])


def read(original):
    return find(qualified(original)).read(original)


@BOTH
@pytest.mark.parametrize("size", [32, [33], (20, 51), (60, 6), (200, 201), (1, 1)], ids=str)
def test_center(library, size) -> None:
    check_equal(lambda: library.CenterCrop(size), KINDS)


def test_center_of_all_sizes() -> None:
    """Round half to even, and the padding of smaller images, for all small sizes."""
    for height, width, high, wide in itertools.product(range(4, 12), (7, 8), range(1, 14), (5, 10)):
        array = np.arange(1, height * width + 1, dtype=np.uint8).reshape(1, height, width)
        theirs = v2.CenterCrop((high, wide))(torch.from_numpy(array)).numpy()
        assert np.array_equal(CenterCrop((high, wide)).chw(array), theirs)
        assert np.array_equal(np.asarray(CenterCrop((high, wide)).pil(Image.fromarray(array[0]))), theirs[0])


def test_center_keeps_palettes() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 23, 3)).astype(np.uint8)).convert("P")
    ours, theirs = CenterCrop((20, 20)).pil(image), v2.CenterCrop(20)(image)
    assert np.array_equal(np.asarray(ours.convert("RGB")), np.asarray(theirs.convert("RGB")))


@BOTH
@pytest.mark.parametrize("size", [7, (5, 8), [6]], ids=str)
def test_five_and_ten(library, size) -> None:
    check_equal(lambda: library.FiveCrop(size), KINDS)
    for vertical in (False, True):
        check_equal(lambda vertical=vertical: library.TenCrop(size, vertical), KINDS)


@BOTH
def test_random_equal(library) -> None:
    for settings in (
        {"size": 7},
        {"size": (5, 8)},
        {"size": 32, "padding": 30},
        {"size": [20], "padding": [8, 20], "fill": 9},
        {"size": (20, 31), "padding": (1, 20, 35, 4)},
        {"size": (100, 110), "pad_if_needed": True},
        {"size": (100, 110), "padding": 3, "pad_if_needed": True, "fill": 7.5},
        {"size": (4, 5), "padding": (-1, 0, -2, -1)},
        {"size": (100, 110), "padding": 3, "pad_if_needed": True, "padding_mode": "edge"},
    ):
        check_equal(lambda settings=settings: library.RandomCrop(**settings), KINDS)


@BOTH
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_random_equal_modes(library, mode: str) -> None:
    check_equal(lambda: library.RandomCrop((5, 8), (2, 3, 1, 4), padding_mode=mode), KINDS)
    check_equal(lambda: library.RandomCrop((12, 14), pad_if_needed=True, padding_mode=mode), KINDS)
    check_equal(lambda: library.RandomCrop((130, 70), pad_if_needed=True, padding_mode=mode), ("pil",))
    check_equal(lambda: library.RandomCrop((5, 8), 3, fill=(1, 2, 3), padding_mode=mode), ("pil",), ("RGB",))


def test_random_equal_v2_fills() -> None:
    check_equal(lambda: v2.RandomCrop((9, 12), 6, fill=(1, 2, 3)), KINDS, ("RGB",))
    check_equal(lambda: v2.RandomCrop((9, 12), 6, fill={"others": (4, 5, 6)}), KINDS, ("RGB",))
    check_equal(lambda: v2.RandomCrop((130, 70), 3, pad_if_needed=True, padding_mode="symmetric"))


@BOTH
@pytest.mark.parametrize(
    "settings", [{"size": (20, 33)}, {"size": 32, "padding": 4}, {"size": (47, 60), "pad_if_needed": True}], ids=str
)
def test_random_law(library, settings) -> None:
    original = library.RandomCrop(**settings)
    frame = Frame(33, 40, 3)
    torch.manual_seed(0)
    if library is v2:
        found = [original.make_params([torch.zeros(3, 33, 40)]) for _ in range(4000)]
        theirs = [(params["top"], params["left"]) for params in found]
    else:
        padded = v1.Pad(settings.get("padding", 0))(torch.zeros(3, 33, 40))
        if settings.get("pad_if_needed"):
            padded = v1.Pad((20, 14))(padded)  # what is missing, on both sides
        theirs = [original.get_params(padded, original.size)[:2] for _ in range(4000)]
    ours = draws_of(read(original), frame)
    for place in (0, 1):
        same_discrete([params[place] for params in ours], [params[place] for params in theirs])
        same_continuous([params[place] for params in ours], [params[place] for params in theirs])
    assert independent([top // 4 for top, _ in ours], [left // 4 for _, left in ours]) > 1e-4


def test_after() -> None:
    assert FiveCrop((3, 3)).after(State("pil", 3)) == TenCrop((3, 3)).after(State("pil", 3)) == State("crops", 3)


def test_wrong() -> None:
    image = np.zeros((3, 5, 6), np.uint8)
    draw = np.random.default_rng(0)
    boxes = Boxes(np.zeros((1, 4), np.float32), "XYXY", (5, 6))
    for act in (
        lambda: CenterCrop(3),
        lambda: CenterCrop((0, 3)),
        lambda: FiveCrop((6, 6)).chw(image),
        lambda: TenCrop((6, 6)).pil(Image.new("L", (9, 4))),
        lambda: FiveCrop((2, 2)).boxes(boxes),
        lambda: TenCrop((2, 2)).mask(image),
        lambda: RandomCrop((6, 6)).draw(draw, Frame(5, 6, 3)),
        lambda: RandomCrop((6, 6), padding=3),  # type: ignore[arg-type]
        lambda: RandomCrop((2, 2), (1, 1, 1, 1), padding_mode="edge").boxes(boxes, 0, 0),
        lambda: RandomCrop((2, 2), (1, 1, 1, 1), fill=(1, 2, 3)).mask(image, 0, 0),
    ):
        with pytest.raises(TransformError, match="Hint:"):
            act()


def test_refused() -> None:
    """v1 pads twice, which differs from once where it mirrors or crops."""
    for settings in ({"padding_mode": "reflect"}, {"padding_mode": "symmetric"}):
        with pytest.raises(Refused):
            read(v1.RandomCrop(90, 3, pad_if_needed=True, **settings))
    with pytest.raises(Refused):
        read(v1.RandomCrop(90, -3, pad_if_needed=True))
    with pytest.raises(Refused):
        read(v2.RandomCrop(90, 3, fill={torch.Tensor: 3}))


def test_repr_makes_it_again() -> None:
    for original in (v1.CenterCrop(3), v2.TenCrop([3], True), v1.RandomCrop(3, 4), v2.RandomCrop((3, 4), [1, 2, 3, 4])):
        op = read(original)
        assert eval(repr(op)) == op
