"""Resizes: bit-equal to torchvision's on PIL images and with nearest neighbours; sizes drawn from the same laws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from harness import check_equal, draws_of
from laws import same_continuous, same_discrete
from PIL import Image
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.resize import FILTERS, Resize, resized_size
from dsbridge.transforms.ops.scale import RandomResize, RandomShortestSize, ScaleJitter
from dsbridge.transforms.ops.values import Frame

BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
SIZES = [{"size": 32}, {"size": [40]}, {"size": (31, 57)}, {"size": (61, 83)}, {"size": 48, "max_size": 60}]


def read(original):
    return find(qualified(original)).read(original)


@BOTH
@pytest.mark.parametrize("name", FILTERS)
def test_equal_filters(library, name: str) -> None:
    for settings in SIZES[::2]:
        check_equal(lambda settings=settings: library.Resize(interpolation=library.InterpolationMode(name), **settings))


@BOTH
@pytest.mark.parametrize("settings", SIZES, ids=str)
def test_equal_sizes(library, settings) -> None:
    check_equal(lambda: library.Resize(interpolation=library.InterpolationMode.BICUBIC, **settings))
    for name in ("nearest", "nearest-exact"):
        mode = library.InterpolationMode(name)
        check_equal(lambda mode=mode: library.Resize(interpolation=mode, **settings), ("uint8", "float"))


def test_equal_other_spellings() -> None:
    check_equal(lambda: v2.Resize(None, "bicubic", max_size=70))
    check_equal(lambda: v2.Resize((20, 30), 3))
    check_equal(lambda: v1.Resize((20, 30), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Anti-alias option is always applied"
        check_equal(lambda: v2.Resize(20, antialias=False))


@pytest.mark.parametrize("mode", ["P", "LA", "CMYK", "I", "F", "1"])
def test_other_modes(mode: str) -> None:
    """Modes that are rarer: what Pillow does is what torchvision does."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3)).astype(np.uint8)).convert(mode)
    for name in FILTERS:
        theirs = v2.Resize((20, 31), name)(image)
        ours = Resize((20, 31), name).pil(image)
        assert ours.mode == theirs.mode
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@BOTH
@pytest.mark.parametrize("name", ["nearest", "nearest-exact"])
def test_nearest_is_torchs(library, name: str) -> None:
    """Over many pairs of sizes, among them those where float32 rounds across a pixel, in both of torch's kernels."""
    mode = library.InterpolationMode(name)
    rng = np.random.default_rng(0)
    rounding = [(20, 470), (8, 164), (6, 369), (2, 47), (2, 123), (4, 94), (591, 33), (3, 6)]
    for old, new in (*rounding, *rng.integers(1, 900, (400, 2)).tolist()):
        line = np.arange(old) % 256
        for dtype in (np.float32, np.uint8):
            image = np.ascontiguousarray(np.broadcast_to(line.astype(dtype), (1, 2, old)))
            for original in (library.Resize((3, new), mode), library.Resize((new, 3), mode)):
                flat = original.size[0] == 3
                given = image if flat else np.ascontiguousarray(image.transpose(0, 2, 1))
                assert np.array_equal(read(original).chw(given), original(torch.from_numpy(given)).numpy()), (old, new)


@BOTH
def test_bilinear_uint8_is_near(library) -> None:
    """At most one step apart, even on noise in black and white."""
    rng = np.random.default_rng(0)
    for number in range(60):
        channels, height, width, high, wide = (int(rng.integers(1, 6)), *rng.integers(2, 250, 4).tolist())
        image = rng.integers(0, 256, (channels, height, width)).astype(np.uint8)
        image = image if number % 2 else (image > 127).astype(np.uint8) * np.uint8(255)
        original = library.Resize((high, wide))
        theirs = original(torch.from_numpy(image)).numpy()
        op = read(original)
        ours = op.chw(image)
        assert op.NEAR == {"uint8": 1.0}
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= op.NEAR["uint8"]


def test_sizes_for_all_shapes() -> None:
    """The same int arithmetic as torchvision's for every shape, with and without a limit."""
    from torchvision.transforms.v2.functional._geometry import _compute_resized_output_size as theirs

    for height in range(1, 120, 7):
        for width in range(1, 600, 11):
            assert list(resized_size(height, width, 32)) == theirs((height, width), [32])
            assert list(resized_size(height, width, 32, 45)) == theirs((height, width), [32], 45)
            assert list(resized_size(height, width, None, 45)) == theirs((height, width), None, 45)


RANDOM = {
    "RandomResize": lambda **more: v2.RandomResize(20, 60, **more),
    "RandomShortestSize": lambda **more: v2.RandomShortestSize([20, 33, 64], 90, **more),
    "RandomShortestSize one": lambda **more: v2.RandomShortestSize(33, **more),
    "ScaleJitter": lambda **more: v2.ScaleJitter((90, 64), (0.5, 1.7), **more),
}


@pytest.mark.parametrize("name", RANDOM)
def test_equal_random(name: str) -> None:
    check_equal(RANDOM[name])
    check_equal(lambda: RANDOM[name](interpolation="lanczos"))
    check_equal(lambda: RANDOM[name](interpolation=v2.InterpolationMode.NEAREST), ("pil", "uint8", "float"))


@pytest.mark.parametrize("name", RANDOM)
def test_law_random(name: str) -> None:
    original = RANDOM[name]()
    image = torch.zeros(3, 61, 83)
    torch.manual_seed(0)
    sizes = [original.make_params([image])["size"] for _ in range(4000)]
    theirs = [tuple(resized_size(61, 83, *size) if len(size) == 1 else size) for size in sizes]
    ours = draws_of(read(original), Frame(61, 83, 3))
    if name == "ScaleJitter":
        for place in (0, 1):
            same_continuous([size[place] for size in ours], [size[place] for size in theirs])
    else:
        same_discrete(ours, theirs)


def test_wrong_settings() -> None:
    for make in (
        lambda: Resize(3, "linear"),
        lambda: Resize(None),
        lambda: Resize((3, 3), max_size=9),
        lambda: Resize(9, max_size=9),
        lambda: RandomResize(5, 5),
        lambda: RandomShortestSize(()),
        lambda: ScaleJitter((9, 9), (0.0, 1.0)),
    ):
        with pytest.raises(TransformError, match="Hint:"):
            make()


def test_wrong_input() -> None:
    """Tensors have torch's own kernels: what is not proven close is refused."""
    image = np.zeros((3, 8, 9))
    for op, array in (
        (Resize((4, 4), "bicubic"), image.astype(np.uint8)),
        (Resize((4, 4), antialias=False), image.astype(np.uint8)),
        (Resize((4, 4)), image.astype(np.float32)),
        (Resize((4, 4), "nearest"), image),
    ):
        assert op.NEAR == {} or array.dtype != np.uint8
        with pytest.raises(TransformError, match="Hint:"):
            op.chw(array)
    with pytest.raises(TransformError, match="Hint:"):
        ScaleJitter((1, 1), (0.1, 0.1)).draw(np.random.default_rng(0), Frame(8, 9, 3))


def test_repr_makes_it_again() -> None:
    for original in (v1.Resize([7]), v2.Resize((3, 4), 3), RANDOM["RandomShortestSize"](), RANDOM["ScaleJitter"]()):
        op = read(original)
        assert eval(repr(op)) == op
