"""Zooms: bit-equal to torchvision's given equal parameters, which follow the same laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, draws_of, image_of
from laws import independent, same_continuous, same_discrete
from scipy import stats
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.resize import FILTERS
from dsbridge.transforms.ops.values import KINDS, Frame
from dsbridge.transforms.ops.zoom import RandomResizedCrop, RandomZoomOut

BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])


def read(original):
    return find(qualified(original)).read(original)


@BOTH
@pytest.mark.parametrize("name", FILTERS)
def test_equal(library, name: str) -> None:
    mode = library.InterpolationMode(name)
    kinds = KINDS if "nearest" in name else ("pil",)
    check_equal(lambda: library.RandomResizedCrop((31, 40), interpolation=mode), kinds)
    check_equal(lambda: library.RandomResizedCrop(48, (0.5, 1.0), (0.3, 5.0), interpolation=mode), kinds)


def test_equal_other_spellings() -> None:
    check_equal(lambda: v1.RandomResizedCrop([32], interpolation=3))
    check_equal(lambda: v2.RandomResizedCrop([32], interpolation="bicubic"))
    check_equal(lambda: v2.RandomResizedCrop(61, (1.0, 1.0), (1.0, 1.0)))


@BOTH
def test_uint8_is_near(library) -> None:
    original = library.RandomResizedCrop((40, 50))
    foreign = find(qualified(original))
    op = foreign.read(original)
    assert op.NEAR == {"uint8": 1.0} and op.EXACT == ("pil",)
    for number, params in enumerate(draws_of(op, Frame(61, 83, 3), 24)):
        image = image_of(8 * number, "uint8", ("RGB", "L", "RGBA")[number % 3])
        theirs = foreign.pin(original, params)(torch.from_numpy(image)).numpy()
        ours = op.chw(image, *params)
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


LAWS = [
    ((375, 500), {}),
    ((61, 83), {"scale": (0.5, 1.0), "ratio": (0.5, 2.5)}),
    ((100, 600), {}),
    ((600, 100), {"scale": (0.3, 1)}),
]


@BOTH
@pytest.mark.parametrize(("shape", "settings"), LAWS, ids=str)
def test_law(library, shape, settings) -> None:
    """On images that are so wide or high that tries fail, too."""
    original = library.RandomResizedCrop(32, **settings)
    image = torch.zeros(1, 1, 1).expand(3, *shape)
    torch.manual_seed(1)
    if library is v2:
        theirs = [tuple(original.make_params([image]).values()) for _ in range(4000)]
    else:
        theirs = [original.get_params(image, original.scale, original.ratio) for _ in range(4000)]
    ours = draws_of(read(original), Frame(*shape, 3))
    for place in range(4):
        same_continuous([params[place] for params in ours], [params[place] for params in theirs])
    same_continuous([h * w for _, _, h, w in ours], [h * w for _, _, h, w in theirs])
    same_continuous([w / h for _, _, h, w in ours], [w / h for _, _, h, w in theirs])


def test_fallback() -> None:
    """Ratios that no try can meet: the same centred crop as torchvision's."""
    for shape in ((10, 300), (300, 10), (51, 53)):
        for settings in ({"scale": (1.0, 1.0), "ratio": (0.9, 0.95)}, {"scale": (2.0, 3.0), "ratio": (0.5, 2.0)}):
            original = v2.RandomResizedCrop(8, **settings)
            theirs = tuple(original.make_params([torch.zeros(1, *shape)]).values())
            assert read(original).draw(np.random.default_rng(0), Frame(*shape, 1)) == theirs


def test_zoom_out_equal() -> None:
    check_equal(lambda: v2.RandomZoomOut(p=0.7), KINDS)
    check_equal(lambda: v2.RandomZoomOut(9.5, (1.5, 2.0), p=1.0), KINDS)
    check_equal(lambda: v2.RandomZoomOut((1, 2, 3), (1.0, 1.2), p=1.0), KINDS, ("RGB",))


def test_zoom_out_law() -> None:
    original = v2.RandomZoomOut(side_range=(1.2, 3.0), p=0.4)
    torch.manual_seed(0)
    theirs = [original.make_params([torch.zeros(3, 61, 83)])["padding"] for _ in range(4000)]
    drawn = draws_of(read(original), Frame(61, 83, 3))
    assert stats.binomtest(sum(params is not None for params in drawn), 4000, 0.4).pvalue > 1e-4
    ours = list(draws_of(read(v2.RandomZoomOut(side_range=(1.2, 3.0), p=1.0)), Frame(61, 83, 3)))
    for place in range(4):
        same_continuous([params[place] for params in ours], [params[place] for params in theirs])
    same_discrete([params[0] // 20 for params in ours], [params[0] // 20 for params in theirs])
    for sides in (ours, theirs):  # left and top share the factor, and nothing else
        shares = [(int(4 * s[0] / (s[0] + s[2] + 1)), int(4 * s[1] / (s[1] + s[3] + 1))) for s in sides]
        assert independent([a for a, _ in shares], [b for _, b in shares]) > 1e-4


def test_wrong_settings() -> None:
    for make in (
        lambda: RandomResizedCrop(32),  # type: ignore[arg-type]
        lambda: RandomResizedCrop((3, 3), scale=(1.0, 0.5)),
        lambda: RandomResizedCrop((3, 3), ratio=(0.0, 1.0)),
        lambda: RandomResizedCrop((3, 3), interpolation="linear"),
        lambda: RandomResizedCrop((3, 3)).chw(np.zeros((3, 9, 9), np.float32), 0, 0, 5, 5),
        lambda: RandomZoomOut(side_range=(0.5, 1.0)),
    ):
        with pytest.raises(TransformError, match="Hint:"):
            make()


def test_repr_makes_it_again() -> None:
    for original in (v1.RandomResizedCrop(3), v2.RandomResizedCrop((3, 4), antialias=False), v2.RandomZoomOut([1, 2, 3])):
        op = read(original)
        assert eval(repr(op)) == op
