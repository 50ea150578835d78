"""RandomErasing: bit-equal given the rectangle and what is written; rectangles and noise follow torchvision's law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, draws_of, image_of, pil, plain, same
from laws import same_continuous
from scipy import stats
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.erase import RandomErasing
from dsbridge.transforms.ops.values import Frame
from dsbridge.transforms.randomness import Draws, Key

BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])


@BOTH
@pytest.mark.parametrize("value", [0, 0.25, 200, -3, "random", (0.1, 128.7, -2.5), [1, 2, 300]])
def test_equal(library, value) -> None:
    modes = ("RGB",) if isinstance(value, (tuple, list)) else ("RGB", "L", "RGBA")
    kinds = ("uint8", "float") if library is v1 else ("pil", "uint8", "float")
    check_equal(lambda: library.RandomErasing(p=0.8, value=value, scale=(0.02, 0.5)), kinds, modes)


@pytest.mark.parametrize("value", [7.5, "random"])
@pytest.mark.parametrize("mode", ["LA", "CMYK", "YCbCr", "HSV", "I", "F", "RGBX"])
def test_other_modes(mode: str, value) -> None:
    """v2 takes them; so do we."""
    original = v2.RandomErasing(p=1.0, value=value)
    foreign = find(qualified(original))
    op = foreign.read(original)
    for number in range(6):
        image = pil(number, "L").convert(mode) if mode in "I LA F" else pil(number).convert(mode)
        params = op.draw(Draws(0, Key(0, number)).at(0), Frame(image.size[1], image.size[0], len(image.getbands())))
        ours, theirs = op.pil(image, *params), foreign.pin(original, params)(image)
        assert ours.mode == theirs.mode and same(plain(ours), plain(theirs)), (mode, number)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_floats(dtype) -> None:
    original = v2.RandomErasing(p=1.0, value=0.1)
    image = image_of(3, "float").astype(dtype)
    op = RandomErasing(value=(0.1,))
    theirs = find(qualified(original)).pin(original, (3, 4, 10, 11))(torch.from_numpy(image))
    assert same(op.chw(image, 3, 4, 10, 11), plain(theirs))


@pytest.mark.parametrize(
    ("frame", "scale", "ratio"), [(Frame(61, 83, 3), (0.02, 0.33), (0.3, 3.3)), (Frame(9, 40, 1), (0.1, 1.0), (0.5, 4))]
)
def test_law(frame: Frame, scale, ratio) -> None:
    """Every parameter against v1's and v2's samplers, where there are rectangles that do not fit, too."""
    ours = [p for p in draws_of(RandomErasing(1.0, scale, ratio), frame) if p is not None]
    image = torch.zeros(frame.channels, frame.height, frame.width)
    torch.manual_seed(5)
    second = v2.RandomErasing(scale=scale, ratio=ratio)
    samplers = [
        lambda: v1.RandomErasing.get_params(image, scale, ratio, [0.0]),
        lambda: tuple(second.make_params([image]).values()),
    ]
    for sampler in samplers:
        drawn = [sampler() for _ in range(4000)]
        theirs = [d for d in drawn if d[2:4] != (frame.height, frame.width)]  # v1's sign of no rectangle
        assert stats.fisher_exact([[len(ours), 4000 - len(ours)], [len(theirs), 4000 - len(theirs)]])[1] > 1e-4
        for column in range(4):
            same_continuous([p[column] for p in ours], [p[column] for p in theirs])
        same_continuous([p[2] / (p[3] + 1) for p in ours], [p[2] / (p[3] + 1) for p in theirs])


def test_coin_and_noise() -> None:
    """Acts with probability p; the noise is normal in every channel, and other each time."""
    drawn = draws_of(RandomErasing(0.3, value=None), Frame(20, 20, 3), 2000)
    acted = [p for p in drawn if p is not None]
    assert stats.binomtest(len(acted), 2000, 0.3).pvalue > 1e-4
    for _, _, height, width, noise in acted:
        assert noise.shape == (3, height, width) and noise.dtype == np.float32
    for channel in range(3):
        assert stats.kstest(np.concatenate([p[4][channel].ravel() for p in acted])[:4000], "norm").pvalue > 1e-4


@BOTH
def test_reading(library) -> None:
    def read(**settings):
        original = library.RandomErasing(**settings)
        return find(qualified(original)).read(original)

    takes_pil = library is v2
    assert read() == RandomErasing(takes_pil=takes_pil) and eval(repr(read())) == read()
    assert ("pil" in read().EXACT) is takes_pil
    assert read(value="random").value is None
    expected = RandomErasing(1.0, (0.0, 1.0), (1.0, 2.0), (1.0, 2.0, 3.0), takes_pil)
    assert read(p=1, value=(1, 2, 3), scale=[0, 1], ratio=(1, 2)) == expected


def test_wrong_input() -> None:
    with pytest.raises(TransformError, match="probability"):
        RandomErasing(p=1.5)
    for settings in ({"scale": (0.5, 0.2)}, {"scale": (0, 2)}, {"ratio": (3, 1)}, {"ratio": (0, 1)}):
        with pytest.raises(TransformError, match="low, high"):
            RandomErasing(**settings)
    with pytest.raises(TransformError, match="2 values for 3 channels"):
        RandomErasing(1.0, value=(1.0, 2.0)).draw(np.random.default_rng(0), Frame(9, 9, 3))
    with pytest.raises(TransformError, match="mode P"):
        RandomErasing().pil(pil(0).convert("P"), 0, 0, 2, 2)
