"""Grey and RGB: bit-equal to torchvision's in both arithmetics; one rounding where v2 has one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, chw, draws_of, pil
from PIL import Image
from scipy import stats
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.grayscale import RGB, Grayscale, RandomGrayscale, fused
from dsbridge.transforms.ops.values import Frame, State

LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
TENSORS = ("uint8", "float")


@LIBRARIES
@pytest.mark.parametrize("channels", [1, 3])
def test_grayscale(library, channels: int) -> None:
    check_equal(lambda: library.Grayscale(channels))
    check_equal(lambda: library.Grayscale(channels), TENSORS, ("RGB", "L"))


@LIBRARIES
def test_random_grayscale(library) -> None:
    check_equal(lambda: library.RandomGrayscale(0.6), ("pil", "uint8", "float"), ("RGB", "L"))


def test_rgb() -> None:
    check_equal(lambda: v2.RGB(), ("pil", "uint8", "float"))


@LIBRARIES
def test_random_colours(library) -> None:
    """All 8-bit colours alike, and floats of every size: a wrong rounding would show here."""
    rng = np.random.default_rng(0)
    original = library.Grayscale()
    op = find(qualified(original)).read(original)
    colours = rng.integers(0, 256, (3, 1000, 1001), dtype=np.uint8)
    np.testing.assert_array_equal(op.chw(colours), original(torch.from_numpy(colours)).numpy())
    floats = (rng.random((3, 500, 601)) * 2.0 ** rng.integers(-20, 3, (3, 500, 601))).astype(np.float32)
    np.testing.assert_array_equal(op.chw(floats), original(torch.from_numpy(floats)).numpy())


def test_fused_rounds_once() -> None:
    """Sums in the middle between two float32, and beside it by less than float64 can hold."""
    second, factor = np.float32([1 + 2.0**-12]), 1 + 2.0**-12  # the product, 1 + 2**-11 + 2**-24, is such a middle
    low, high = 1 + 2.0**-11, 1 + 2.0**-11 + 2.0**-23
    for first, nearest in ((2.0**-60, high), (-(2.0**-60), low), (0.0, low)):
        assert fused(np.float32([first]), second, factor).tolist() == [nearest], first
        assert fused(np.float32([-first]), -second, factor).tolist() == [-nearest], first


@pytest.mark.parametrize("arithmetic", ["v1", "v2"])
def test_law(arithmetic: str) -> None:
    acted = sum(params is not None for params in draws_of(RandomGrayscale(0.3, arithmetic), Frame(5, 5, 3)))
    assert stats.binomtest(acted, 4000, 0.3).pvalue > 1e-4


@LIBRARIES
def test_wrong_input(library) -> None:
    """What the original refuses, the operation refuses with a hint."""
    random, plain = library.RandomGrayscale(1.0), library.Grayscale(1)
    for original, image in ((random, pil(0, "RGBA")), (random, chw(0, channels=4)), (plain, chw(0, channels=2))):
        op = find(qualified(original)).read(original)
        with pytest.raises(Exception):  # noqa: B017
            original(torch.from_numpy(image) if isinstance(image, np.ndarray) else image)
        with pytest.raises(TransformError, match="Hint"):
            op.chw(image) if isinstance(image, np.ndarray) else op.pil(image)
    with pytest.raises(TransformError, match="Hint"):
        RGB().chw(np.zeros((2, 3, 3), np.uint8))


def test_wrong_settings() -> None:
    for make in (lambda: Grayscale(2), lambda: Grayscale(1, "v3"), lambda: RandomGrayscale(0.1, "v3")):
        with pytest.raises(TransformError, match="Hint"):
            make()
    with pytest.raises(Refused):
        find(qualified(v1.Grayscale())).read(v1.Grayscale(4))


def test_states() -> None:
    """The channels that a later operation may count on."""
    assert Grayscale(1).after(State("uint8", 3)) == State("uint8", 1)
    assert Grayscale(3, "v2").after(State("uint8", 1)) == State("uint8", 3)
    assert Grayscale(3, "v1").after(State("uint8", 1)) == State("uint8", 1)
    assert Grayscale(3).after(State("pil", 1)) == State("pil", 3)
    assert RGB().after(State("pil")) == State("pil", 3)
    assert RGB().after(State("uint8", 4)) == State("uint8", 4)


def test_palette_image() -> None:
    image = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).convert("P")
    assert RGB().pil(image).tobytes() == v2.RGB()(image).tobytes()
    assert Grayscale(3).pil(image).tobytes() == v2.Grayscale(3)(image).tobytes()
