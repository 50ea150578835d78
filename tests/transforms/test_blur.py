"""Gaussian blur: bit-equal to torchvision's v2, near to v1, weights included; the deviation follows its law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, chw, draws_of, image_of, pil, plain
from laws import same_continuous
from torchvision.transforms import _functional_tensor
from torchvision.transforms.v2.functional import _misc
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.blur import GaussianBlur, weights
from dsbridge.transforms.ops.values import Frame

AVX2 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX2", reason="torch adds in another order on this processor"
)
LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
SIZES = [1, 3, 5, 7, 9, (3, 5), (5, 3), (1, 7), (13, 7)]


def read(original):
    return find(qualified(original)).read(original)


@AVX2
@pytest.mark.parametrize("size", SIZES)
def test_equal(size) -> None:
    check_equal(lambda: v2.GaussianBlur(size, (0.1, 5.0)), ("pil", "uint8"))


@AVX2
def test_equal_in_doubt() -> None:
    """Noise and flat stripes, large kernels: many pixels near the middle between two values, each done in torch's order."""
    rng = np.random.default_rng(0)
    original = v2.GaussianBlur((31, 23), (0.5, 9.0))
    pin, op = find(qualified(original)).pin, read(original)
    stripes = np.tile(np.array([[0, 1], [1, 0]], np.uint8) * 255, (3, 40, 45))
    for image in (
        rng.integers(0, 256, (3, 120, 131), dtype=np.uint8),
        rng.integers(0, 2, (1, 90, 81), dtype=np.uint8),
        stripes,
    ):
        for sigma in (0.5, 1.7, 4.0, 9.0):
            theirs = pin(original, (sigma,))(torch.from_numpy(image)).numpy()
            np.testing.assert_array_equal(op.chw(image, sigma), theirs, strict=True)


@LIBRARIES
@pytest.mark.parametrize("size", SIZES)
def test_near(library, size) -> None:
    """On any processor, v1 too: one step at most, in one of 100,000 pixels at most."""
    original = library.GaussianBlur(size, (0.1, 5.0))
    pin, op = find(qualified(original)).pin, read(original)
    off, pixels = 0, 0
    for number in range(33):
        kind, mode = ("pil", "uint8")[number % 2], ("RGB", "L", "RGBA")[number % 3]
        image = image_of(number, kind, mode)
        params = op.draw(np.random.default_rng(number), Frame(1, 1, 1))
        theirs = plain(pin(original, params)(image.copy() if kind == "pil" else torch.from_numpy(image.copy())))
        ours = plain(op.pil(image, *params) if kind == "pil" else op.chw(image, *params))
        gap = np.abs(ours.astype(int) - theirs)
        assert ours.shape == theirs.shape
        assert gap.max() <= 1
        off, pixels = off + int((gap > 0).sum()), pixels + gap.size
    assert off <= pixels / 100_000


@AVX2
def test_weights() -> None:
    """v2's to the last bit; v1's within one unit in the last place, and most of them equal."""
    rng, unequal = np.random.default_rng(0), 0
    for size in [*range(1, 64, 2)] * 5:
        sigma = float(rng.uniform(0.1, 6.0))
        theirs = _misc._get_gaussian_kernel1d(size, sigma, torch.float32, "cpu").numpy()
        np.testing.assert_array_equal(weights(size, sigma, "v2"), theirs, strict=True)
        first = _functional_tensor._get_gaussian_kernel1d(size, sigma, torch.float32, "cpu").numpy()
        np.testing.assert_array_max_ulp(weights(size, sigma, "v1"), first, 2)
        unequal += bool((weights(size, sigma, "v1") != first).any())
    assert unequal <= 40


@LIBRARIES
def test_law(library) -> None:
    torch.manual_seed(0)
    original = library.GaussianBlur(3, (0.1, 2.0))
    if library is v1:
        theirs = [original.get_params(*original.sigma) for _ in range(4000)]
    else:
        theirs = [original.make_params([])["sigma"][0] for _ in range(4000)]
    same_continuous([draw[0] for draw in draws_of(read(original), Frame(5, 5, 3))], theirs)
    fixed = read(library.GaussianBlur(3, 1.5))
    assert {draw[0] for draw in draws_of(fixed, Frame(5, 5, 3), 20)} == {1.5}


@LIBRARIES
def test_claims(library) -> None:
    op = read(library.GaussianBlur([5, 3], [0.2, 1.0]))
    assert op == GaussianBlur((5, 3), (0.2, 1.0), "v1" if library is v1 else "v2")
    assert (op.EXACT == ("pil", "uint8")) == (library is v2)
    assert eval(repr(op)) == op


@LIBRARIES
def test_wrong_input(library) -> None:
    original = library.GaussianBlur(9)
    for image in (np.zeros((3, 4, 30), np.uint8), np.zeros((3, 30, 4), np.uint8)):
        with pytest.raises(RuntimeError):
            original(torch.from_numpy(image))
        with pytest.raises(TransformError, match="Hint"):
            read(original).chw(image, 1.0)
    with pytest.raises(TransformError, match=r"float32.*Hint"):
        read(original).chw(chw(0, "float"), 1.0)
    with pytest.raises(TransformError, match=r"'F'.*Hint"):
        read(original).pil(pil(0, "L").convert("F"), 1.0)


def test_wrong_settings() -> None:
    for settings in ({"size": (2, 3)}, {"size": (3, 0)}, {"size": (3,)}, {"sigma": (0.0, 1.0)}, {"sigma": (2.0, 1.0)}):
        with pytest.raises(TransformError, match="Hint"):
            GaussianBlur(**{"size": (3, 3), **settings})
    with pytest.raises(TransformError, match="Hint"):
        GaussianBlur((3, 3), arithmetic="v3")
    original = v1.GaussianBlur(3)
    original.sigma = 1.0
    with pytest.raises(Refused):
        read(original)
