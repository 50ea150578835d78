"""Colour jitter: bit-equal to torchvision's, near where contrast sums; factors, coins and orders follow its laws."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from harness import MODES, check_equal, chw, draws_of, image_of, pil, plain
from laws import same_continuous, same_discrete
from PIL import Image
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops import pil_colour
from dsbridge.transforms.ops.colour_jitter import ColorJitter, RandomChannelPermutation, RandomPhotometricDistort
from dsbridge.transforms.ops.values import Frame

LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
SETTINGS = [(0.4, 0.4, 0.4, 0.1), (0, 0, 0, 0.5), ((0.5, 3), (0, 4), (0, 5), (-0.5, -0.2)), (2.0, 0, 0.9, 0), (0, 0, 0, 0)]
FACTORS = (0.0, 0.3, 1.0, 1.7, 5.0)


def read(original):
    return find(qualified(original)).read(original)


@LIBRARIES
@pytest.mark.parametrize("settings", SETTINGS)
def test_jitter_pil(library, settings) -> None:
    check_equal(lambda: library.ColorJitter(*settings))


@LIBRARIES
@pytest.mark.parametrize("settings", [(b, 0, s, h) for b, _, s, h in SETTINGS])
def test_jitter_tensors(library, settings) -> None:
    check_equal(lambda: library.ColorJitter(*settings), ("uint8", "float"), ("RGB", "L"))


def test_distort_and_permutation() -> None:
    check_equal(lambda: v2.RandomPhotometricDistort(p=0.6), images=64)
    check_equal(lambda: v2.RandomPhotometricDistort((0, 3), (0, 3), (0, 3), (-0.5, 0.5), p=0.9))
    check_equal(lambda: v2.RandomChannelPermutation(), ("pil", "uint8", "float"))
    hsv = pil(0).convert("HSV")
    ours, theirs = RandomChannelPermutation().pil(hsv, (2, 0, 1)), v2.functional.permute_channels(hsv, [2, 0, 1])
    assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes())


@LIBRARIES
@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_contrast_is_near(library, kind: str) -> None:
    """Within the stated tolerance, on images beyond the 65,793 pixels up to which a float32 sum of bytes is exact, too."""
    original = library.ColorJitter(0.4, (0.0, 3.0), 0.4, 0)
    pin, op = find(qualified(original)).pin, read(original)
    assert op.EXACT == ("pil",)
    for number in range(34):
        image = image_of(number, kind, ("RGB", "L")[number % 2])
        if number > 31:
            image = np.tile(image, (1, 9, 9))
        params = op.draw(np.random.default_rng(number), Frame(1, 1, 1))
        theirs = pin(original, params)(torch.from_numpy(image.copy())).numpy()
        gap = np.abs(op.chw(image, *params).astype(float) - theirs).max()
        assert gap <= op.NEAR[kind], (number, gap)


@LIBRARIES
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue", "sharpness"])
def test_pil_functions(library, name: str) -> None:
    """The functions alone, in every mode that the original takes, at factors from none to far too much."""
    original = getattr(library.functional, f"adjust_{name}")
    for number, mode in enumerate(("RGB", "L", "RGBA", "HSV", "CMYK", "YCbCr", "LA")):
        image = pil(number).convert(mode) if mode not in MODES else pil(number, mode)
        for factor in FACTORS if name != "hue" else (-0.5, -0.49, -0.004, 0.0, 0.003, 0.25, 0.5):
            ours = getattr(pil_colour, name)(image, factor)
            theirs = original(image, factor)
            assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes()), (mode, factor)


@LIBRARIES
def test_every_hue(library) -> None:
    """Dense colours and hues: the sectors' borders, grey, black and white among them."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps)).reshape(3, 18, -1)
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 256, (3, 200, 301), dtype=np.uint8)
    original = library.ColorJitter(hue=0.5)
    pin, op = find(qualified(original)).pin, read(original)
    for factor in (-0.5, -1 / 3, -1 / 6, -0.004, 0.0, 0.01, 1 / 6, 0.37, 0.5):
        for image in (colours, dense, dense / np.float32(255), rng.random((3, 99, 101), np.float32)):
            params = ((3, 2, 1, 0), None, None, None, factor)
            theirs = pin(original, params)(torch.from_numpy(np.ascontiguousarray(image))).numpy()
            np.testing.assert_array_equal(op.chw(image, *params), theirs, strict=True)


@LIBRARIES
def test_jitter_law(library) -> None:
    torch.manual_seed(0)
    original = library.ColorJitter(0.4, (0.2, 3), 0.5, 0.2)
    if library is v1:
        ranges = (original.brightness, original.contrast, original.saturation, original.hue)
        theirs = [original.get_params(*ranges) for _ in range(4000)]
    else:
        theirs = [tuple(original.make_params([]).values()) for _ in range(4000)]
    ours = draws_of(read(original), Frame(5, 5, 3))
    same_discrete([draw[0] for draw in ours], [tuple(draw[0].tolist()) for draw in theirs])
    for place in range(1, 5):
        same_continuous([draw[place] for draw in ours], [draw[place] for draw in theirs])
    off = read(library.ColorJitter(hue=0.1))
    assert draws_of(off, Frame(5, 5, 3), 1)[0][1:4] == (None, None, None)


def test_distort_law() -> None:
    torch.manual_seed(0)
    original = v2.RandomPhotometricDistort(p=0.4)
    tensor = torch.zeros(3, 4, 4)
    theirs = [tuple(original.make_params([tensor]).values()) for _ in range(4000)]
    ours = draws_of(read(original), Frame(4, 4, 3))
    for place in range(4):
        same_discrete([draw[place] is None for draw in ours], [draw[place] is None for draw in theirs])
        values = [[draw[place] for draw in draws if draw[place] is not None] for draws in (ours, theirs)]
        same_continuous(*values)
    same_discrete([draw[4] for draw in ours], [draw[4] for draw in theirs])
    same_discrete([draw[5] for draw in ours], [None if draw[5] is None else tuple(draw[5].tolist()) for draw in theirs])


def test_permutation_law() -> None:
    torch.manual_seed(0)
    tensor = torch.zeros(4, 2, 2)
    theirs = [tuple(v2.RandomChannelPermutation().make_params([tensor])["permutation"].tolist()) for _ in range(4000)]
    same_discrete([draw[0] for draw in draws_of(RandomChannelPermutation(), Frame(2, 2, 4))], theirs)


@LIBRARIES
@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("place", range(4))
def test_wrong_channels(library, channels: int, place: int) -> None:
    original = library.ColorJitter(0.1, 0.1, 0.1, 0.1)
    params = ((0, 1, 2, 3), *(0.1 if index == place else None for index in range(4)))
    image = chw(0, channels=channels)
    with pytest.raises(TypeError):
        find(qualified(original)).pin(original, params)(torch.from_numpy(image))
    with pytest.raises(TransformError, match="Hint"):
        read(original).chw(image, *params)


def test_wrong_input() -> None:
    with pytest.raises(TransformError, match="Hint"):
        pil_colour.hue(pil(0), 0.6)
    with pytest.raises(TransformError, match="Hint"):
        ColorJitter().chw(chw(0), (3,), None, None, None, 0.6)
    for mode in ("P", "I", "F"):
        with pytest.raises(TransformError, match=f"'{mode}'.*Hint"):
            pil_colour.brightness(pil(0, "L").convert(mode), 0.5)
        assert mode == "P" or pil_colour.hue(pil(0, "L").convert(mode), 0.5).mode == mode
    for image, permutation in ((pil(0), (0, 1)), (Image.new("F", (3, 3)), (0,)), (pil(0, "RGBA").convert("P"), (0,))):
        with pytest.raises(TransformError, match="Hint"):
            RandomChannelPermutation().pil(image, permutation)
    with pytest.raises(TransformError, match="Hint"):
        RandomChannelPermutation().chw(chw(0), (0, 1))


@pytest.mark.parametrize(
    "settings",
    [{"brightness": (2.0, 1.0)}, {"contrast": (-0.1, 1.0)}, {"saturation": (1.0,)}, {"hue": (-0.6, 0.1)}, {"arithmetic": "v3"}],
)
@pytest.mark.parametrize("make", [ColorJitter, RandomPhotometricDistort])
def test_wrong_settings(make, settings) -> None:
    with pytest.raises(TransformError, match="Hint"):
        make(**settings)


def test_refused() -> None:
    """An instance whose ranges are not its class's runs as it is."""
    original = v1.ColorJitter(0.4)
    original.brightness = 0.4
    with pytest.raises(Refused):
        read(original)
    with pytest.raises(Refused):
        read(v2.RandomPhotometricDistort(hue=(-1, 1)))


def test_repr_makes_it_again() -> None:
    op = read(v2.ColorJitter(0.4, hue=0.1))
    assert eval(repr(op)) == op
    assert plain(op.pil(pil(0), (0, 1, 2, 3), 1.0, None, None, None)).shape == (61, 83, 3)
    assert "torch" not in inspect.getsource(pil_colour).replace("torchvision", "")
