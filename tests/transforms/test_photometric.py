"""Invert, posterize, solarize, autocontrast, equalize, sharpness: bit-equal to torchvision's; their coins are fair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, chw, draws_of, pil
from scipy import stats
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops import pil_colour
from dsbridge.transforms.ops.photometric import RandomAdjustSharpness, RandomPosterize, RandomSolarize
from dsbridge.transforms.ops.values import Frame

LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
GREY = ("RGB", "L")
PLAIN = ["RandomInvert", "RandomAutocontrast", "RandomEqualize"]
FACTORS = [0, 0.3, 1, 1.7, 2.0, 10.0]


def read(original):
    return find(qualified(original)).read(original)


def check_all(make, channels_free: bool = False) -> None:
    """Every kind that the operation claims, of every mode that the original takes."""
    exact = read(make()).EXACT
    check_equal(make, ("pil",), GREY)
    check_equal(make, tuple(kind for kind in exact if kind != "pil"), (*GREY, "RGBA") if channels_free else GREY)


@LIBRARIES
@pytest.mark.parametrize("name", PLAIN)
def test_plain(library, name: str) -> None:
    check_all(lambda: getattr(library, name)(p=0.7), library is v2 and name != "RandomAutocontrast")


@LIBRARIES
@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize(library, bits: int) -> None:
    check_all(lambda: library.RandomPosterize(bits, p=0.7), library is v2)


def test_posterize_to_nothing() -> None:
    """0 bits: v2 alone takes them, and not for PIL images."""
    check_equal(lambda: v2.RandomPosterize(0, p=0.7), ("uint8", "float"))
    with pytest.raises(TransformError, match="Hint"):
        RandomPosterize(0).pil(pil(0))


@LIBRARIES
@pytest.mark.parametrize("threshold", [0, 1, 100, 128.5, 255, 256])
def test_solarize(library, threshold: float) -> None:
    check_equal(lambda: library.RandomSolarize(threshold, p=0.7), ("pil",), GREY)
    if threshold <= 255:
        check_equal(lambda: library.RandomSolarize(threshold, p=0.7), ("uint8",), GREY)
    check_equal(lambda: library.RandomSolarize(threshold / 256, p=0.7), ("float",), GREY)


@LIBRARIES
def test_solarize_refuses(library) -> None:
    """A threshold beyond a tensor's greatest value."""
    original = library.RandomSolarize(256, p=1.0)
    for kind in ("uint8", "float"):
        with pytest.raises(TypeError):
            original(torch.from_numpy(chw(0, kind)))
        with pytest.raises(TransformError, match=r"256.*Hint"):
            read(original).chw(chw(0, kind))


@LIBRARIES
@pytest.mark.parametrize("factor", FACTORS)
def test_sharpness(library, factor: float) -> None:
    check_equal(lambda: library.RandomAdjustSharpness(factor, p=0.7), ("pil",))
    check_equal(lambda: library.RandomAdjustSharpness(factor, p=0.7), ("uint8",), GREY)


@LIBRARIES
@pytest.mark.parametrize("name", [*PLAIN, "RandomAdjustSharpness"])
def test_hard_images(library, name: str) -> None:
    """Of one value, of two, black, white, tiny, noise: where histograms and rims are special."""
    original = getattr(library, name)(*([1.7] if name == "RandomAdjustSharpness" else []), p=1.0)
    op = read(original)
    rng = np.random.default_rng(0)
    images = [np.full((3, 20, 30), value, np.uint8) for value in (0, 7, 255)]
    images += [rng.choice(np.array(pair, np.uint8), (3, 40, 50)) for pair in ((0, 255), (3, 4), (254, 255))]
    images += [
        rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((1, 1, 1), (3, 2, 9), (3, 9, 2), (3, 3, 3), (3, 99, 98))
    ]
    for image in images:
        for kind in set(op.EXACT) - {"pil"}:
            given = image if kind == "uint8" else image / np.float32(255)
            theirs = original(torch.from_numpy(given.copy())).numpy()
            np.testing.assert_array_equal(op.chw(given), theirs, strict=True)


@LIBRARIES
def test_pil_functions(library) -> None:
    """The functions alone, palette images too where Pillow takes them."""
    functional = library.functional
    for mode in ("RGB", "L", "P"):
        image = pil(0).convert(mode)
        calls = [("invert",), ("equalize",), *[("posterize", bits) for bits in range(1, 9)]]
        calls += [("solarize", threshold) for threshold in (0, 99, 255, 256)] + ([] if mode == "P" else [("autocontrast",)])
        for name, *settings in calls:
            ours, theirs = getattr(pil_colour, name)(image, *settings), getattr(functional, name)(image, *settings)
            assert ours.mode == theirs.mode
            assert ours.convert("RGB").tobytes() == theirs.convert("RGB").tobytes(), (name, mode, settings)


@LIBRARIES
@pytest.mark.parametrize("name", PLAIN)
def test_law(library, name: str) -> None:
    acted = sum(params is not None for params in draws_of(read(getattr(library, name)(0.3)), Frame(5, 5, 3)))
    assert stats.binomtest(acted, 4000, 0.3).pvalue > 1e-4


@LIBRARIES
@pytest.mark.parametrize(
    ("name", "settings"), [("RandomPosterize", [3]), ("RandomSolarize", [9]), ("RandomAdjustSharpness", [2])]
)
def test_law_of_the_others(library, name: str, settings: list[int]) -> None:
    acted = sum(params is not None for params in draws_of(read(getattr(library, name)(*settings, p=0.3)), Frame(5, 5, 3)))
    assert stats.binomtest(acted, 4000, 0.3).pvalue > 1e-4


ALL = [*((name, []) for name in PLAIN), ("RandomPosterize", [3]), ("RandomSolarize", [1]), ("RandomAdjustSharpness", [2])]


@LIBRARIES
@pytest.mark.parametrize(("name", "settings"), ALL)
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels(library, name: str, settings: list[int], channels: int) -> None:
    """Other numbers of channels: taken and refused as the original does."""
    original = getattr(library, name)(*settings, p=1.0)
    image = chw(0, channels=channels)
    try:
        theirs = original(torch.from_numpy(image)).numpy()
    except TypeError:
        with pytest.raises(TransformError, match="Hint"):
            read(original).chw(image)
    else:
        np.testing.assert_array_equal(read(original).chw(image), theirs, strict=True)


@LIBRARIES
@pytest.mark.parametrize("name", ["RandomPosterize", "RandomEqualize", "RandomAdjustSharpness"])
def test_floats_that_are_not_claimed(library, name: str) -> None:
    op = read(getattr(library, name)(*([] if name == "RandomEqualize" else [2]), p=1.0))
    if "float" not in op.EXACT:
        with pytest.raises(TransformError, match="Hint"):
            op.chw(chw(0, "float"))


@pytest.mark.parametrize("name", ["RandomInvert", "RandomAutocontrast", "RandomEqualize"])
def test_modes_that_pillow_refuses(name: str) -> None:
    with pytest.raises(TransformError, match=r"RGBA.*Hint"):
        read(getattr(v1, name)()).pil(pil(0, "RGBA"))


def test_wrong_settings() -> None:
    for make in (lambda: RandomPosterize(9), lambda: RandomSolarize(1, arithmetic="v0"), lambda: RandomAdjustSharpness(-1.0)):
        with pytest.raises(TransformError, match="Hint"):
            make()
    for original in (v1.RandomPosterize(9), v1.RandomSolarize("128"), v2.RandomAdjustSharpness(-1.0), v1.RandomPosterize(2.5)):
        with pytest.raises(Refused):
            read(original)


@LIBRARIES
@pytest.mark.parametrize(("name", "settings"), ALL)
def test_repr_makes_it_again(library, name: str, settings: list[int]) -> None:
    op = read(getattr(library, name)(*settings))
    assert eval(repr(op), vars(__import__(type(op).__module__, fromlist=["_"]))) == op
