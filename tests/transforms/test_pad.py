"""Padding: bit-equal to torchvision's in all modes, fills and kinds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from harness import check_equal
from PIL import Image
from torchvision_shim import tv_tensors, v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.pad import PADDING_MODES, Pad, window_chw, window_pil
from dsbridge.transforms.ops.values import KINDS

BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])


def read(original):
    return find(qualified(original)).read(original)


@BOTH
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_equal_modes(library, mode: str) -> None:
    check_equal(lambda: library.Pad((1, 0, 4, 6), padding_mode=mode), KINDS)
    for padding in (3, [4], (2, 5), [0, 0, 0, 0]):
        check_equal(lambda padding=padding: library.Pad(padding, padding_mode=mode), KINDS, images=8)


@BOTH
def test_equal_negative(library) -> None:
    for padding in (-2, (-1, 3), (2, -1, -2, 3)):
        for mode in PADDING_MODES:
            kinds = KINDS if mode != "reflect" else ("pil",)
            check_equal(lambda padding=padding, mode=mode: library.Pad(padding, padding_mode=mode), kinds, images=8)
    assert read(library.Pad((2, -1), padding_mode="reflect")).EXACT == ("pil",)


@BOTH
def test_equal_fills(library) -> None:
    for fill in (7, 0.6, 99.9):
        check_equal(lambda fill=fill: library.Pad((1, 2, 3, 4), fill), KINDS, images=8)
    for fill in ((9,), [7.5]):
        check_equal(lambda fill=fill: library.Pad(2, fill), ("pil",))
    for fill in ((1, 2, 3), [200, 0, 13.7], (0, 0, 0)):
        kinds = ("pil",) if library is v1 else KINDS  # v1 refuses several on tensors
        check_equal(lambda fill=fill: library.Pad((1, 2, 0, 4), fill), kinds, ("RGB",))
    check_equal(lambda: library.Pad((1, 2, 0, 4), (1, 2, 3, 4)), ("pil",), ("RGBA",))
    check_equal(lambda: library.Pad(2, (1, 2, 3), "edge"), ("pil",))


def test_equal_v2_fills() -> None:
    check_equal(lambda: v2.Pad(2, None), KINDS)
    check_equal(lambda: v2.Pad(2, {"others": 5}), KINDS)
    check_equal(lambda: v2.Pad(2, [8]), KINDS)


@pytest.mark.parametrize("mode", ["P", "LA", "CMYK", "YCbCr", "I", "F", "1"])
def test_other_modes(mode: str) -> None:
    """Modes that are rarer, palettes too."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 23, 3)).astype(np.uint8)).convert(mode)
    for padding, fill in itertools.product(PADDING_MODES, (0, 1, 5)):
        theirs = v2.Pad((1, 2, 3, 4), fill, padding)(image)
        ours = Pad((1, 2, 3, 4), fill, padding).pil(image)
        assert ours.mode == theirs.mode and ours.getpalette() == theirs.getpalette()
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def test_windows_reach_everywhere() -> None:
    """Windows that touch the image, hold it or miss it are the same in both kinds."""
    array = np.random.default_rng(0).integers(1, 256, (1, 4, 5)).astype(np.uint8)
    image = Image.fromarray(array[0])
    for top, left, height, width in itertools.product(range(-7, 8, 2), range(-7, 8, 2), (1, 6, 12), (2, 7, 13)):
        for fill in (0, 9):
            ours = window_chw(array, top, left, height, width, fill)[0]
            assert np.array_equal(ours, np.asarray(window_pil(image, top, left, height, width, fill)))


def test_mirrors_that_do_not_fit() -> None:
    """Where torch refuses to reflect further than the image is, so does this; PIL images reflect on."""
    tensor = np.zeros((3, 5, 6), np.uint8)
    for mode, most in (("reflect", 4), ("symmetric", 5)):
        assert np.array_equal(Pad((0, most) * 2, 0, mode).chw(tensor), v2.Pad((0, most), 0, mode)(torch.from_numpy(tensor)))
        with pytest.raises((RuntimeError, IndexError)):
            v2.Pad((0, most + 1), 0, mode)(torch.from_numpy(tensor))
        with pytest.raises(TransformError, match="Hint:"):
            Pad((0, most + 1) * 2, 0, mode).chw(tensor)
    check_equal(lambda: v2.Pad(30, padding_mode="reflect"))


def test_wrong() -> None:
    tensor = np.zeros((3, 5, 6), np.uint8)
    for act in (
        lambda: Pad(3),
        lambda: Pad((1, 2)),
        lambda: Pad((1, 1, 1, 1), padding_mode="wrap"),
        lambda: Pad((1, 1, 1, 1), 300).chw(tensor),
        lambda: Pad((1, 1, 1, 1), (1, 2)).chw(tensor),
        lambda: Pad((1, 1, 1, 1), (1, 2)).pil(Image.new("RGB", (3, 3))),
        lambda: Pad((1, 1, 1, 1), (1, 2, 3)).mask(tensor),
    ):
        with pytest.raises(TransformError, match="Hint:"):
            act()


def test_refused() -> None:
    for original in (v2.Pad(1, {tv_tensors.Mask: 0, "others": 3}), v2.Pad(1, {torch.Tensor: 0}), v1.Pad(2.5)):
        with pytest.raises(Refused):
            read(original)
    assert read(v2.Pad(1, (1, 2, 3), "reflect")).EXACT == ("pil",)


def test_repr_makes_it_again() -> None:
    for original in (v1.Pad(1, (1, 2, 3)), v2.Pad([1, 2], 0.5), v2.Pad([1, 2, 3, 4], padding_mode="edge")):
        op = read(original)
        assert eval(repr(op)) == op
