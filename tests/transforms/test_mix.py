"""MixUp and CutMix: bit-equal to torchvision's given equal parameters, and drawn from the same laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import chw, draws_of, plain, same
from laws import same_continuous
from torchvision_shim import v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.mix import CutMix, MixUp
from dsbridge.transforms.ops.values import Frame, frame_of
from dsbridge.transforms.randomness import Draws, Key

BOTH = pytest.mark.parametrize("name", ["MixUp", "CutMix"])


def batch_of(number: int, dtype) -> np.ndarray:
    """A batch of 1 to 7 images of one odd size."""
    image = chw(number, "float" if np.dtype(dtype).kind == "f" else "uint8")
    return np.stack([np.roll(image, k * 7, -1) for k in range(1 + number % 7)]).astype(dtype)


@BOTH
@pytest.mark.parametrize("labels", ["numbers", "numbers32", "one-hot", "probabilities", "halves"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_equal(name: str, labels: str, dtype: str) -> None:
    if name == "MixUp" and dtype == "uint8":
        return
    rng = np.random.default_rng(1)
    for number in range(32 if dtype == "float32" else 8):
        images = batch_of(number, dtype)
        size = len(images)
        values, classes = {
            "numbers": (rng.integers(0, 10, size), 10),
            "numbers32": (rng.integers(0, 10, size).astype(np.int32), 10),
            "one-hot": (np.eye(10, dtype=np.int64)[rng.integers(0, 10, size)], None),
            "probabilities": (rng.random((size, 10)), 10),
            "halves": (rng.random((size, 10)).astype(np.float16), None),
        }[labels]
        original = getattr(v2, name)(alpha=0.7, num_classes=classes)
        foreign = find(qualified(original))
        op = foreign.read(original)
        params = op.draw(Draws(0, Key(0, number)).at(3), frame_of(images))
        untouched = images.copy(), values.copy()
        ours = op.batch(images, values, *params)
        as_torch = values.astype(np.int64) if labels == "numbers32" else values  # torch's one_hot takes int64 alone
        theirs = foreign.pin(original, params)(torch.from_numpy(images.copy()), torch.from_numpy(as_torch.copy()))
        assert same(list(ours), plain(theirs)), (number, params)
        assert same(images, untouched[0]) and same(values, untouched[1])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_law_of_mixup(alpha: float) -> None:
    torch.manual_seed(3)
    original = v2.MixUp(alpha=alpha, num_classes=2)
    ours = [p[0] for p in draws_of(MixUp(alpha), Frame(5, 5, 3))]
    same_continuous(ours, [original.make_params([])["lam"] for _ in range(4000)])


@pytest.mark.parametrize("frame", [Frame(61, 83, 3), Frame(9, 200, 1)])
def test_law_of_cutmix(frame: Frame) -> None:
    torch.manual_seed(4)
    original = v2.CutMix(alpha=0.8, num_classes=2)
    image = torch.zeros(2, frame.channels, frame.height, frame.width)
    theirs = [original.make_params([image]) for _ in range(4000)]
    ours = draws_of(CutMix(0.8), frame)
    for column in range(4):
        same_continuous([p[0][column] for p in ours], [t["box"][column] for t in theirs])
    same_continuous([p[1] for p in ours], [t["lam_adjusted"] for t in theirs])
    for (x1, y1, x2, y2), lam in ours[:100]:
        assert 0 <= x1 <= x2 <= frame.width and 0 <= y1 <= y2 <= frame.height
        assert lam == 1.0 - (x2 - x1) * (y2 - y1) / (frame.width * frame.height)


@BOTH
def test_reading(name: str) -> None:
    op = {"MixUp": MixUp, "CutMix": CutMix}[name]
    original = getattr(v2, name)(alpha=2, num_classes=7)
    assert find(qualified(original)).read(original) == op(2.0, 7) == eval(repr(op(2.0, 7)))
    own = getattr(v2, name)(num_classes=7, labels_getter=lambda batch: batch[1])
    with pytest.raises(Refused):
        find(qualified(own)).read(own)


@pytest.mark.parametrize(("op", "params"), [(MixUp(1.0, 3), (0.5,)), (CutMix(1.0, 3), ((0, 0, 1, 1), 0.5))])
def test_wrong_input(op, params) -> None:
    images, labels = np.zeros((2, 3, 4, 5), np.float32), np.array([0, 1])
    wrong = [(images[0], labels), (images, labels[:1]), (images, np.array([0, 3])), (images, np.array([-1, 0]))]
    for pair in [*wrong, (images, np.array([0.0, 1.0])), (images, np.zeros((2, 4))), (images, np.zeros((2, 3, 1)))]:
        with pytest.raises(TransformError, match="Hint"):
            op.batch(*pair, *params)
    with pytest.raises(TransformError, match="num_classes=None"):
        type(op)().batch(images, labels, *params)
    with pytest.raises(TransformError, match="MixUp wants floats"):
        MixUp(1.0, 3).batch(images.astype(np.uint8), labels, 0.5)
    with pytest.raises(TransformError, match="alpha is positive"):
        type(op)(0.0)
    with pytest.raises(TransformError, match="at least 1"):
        type(op)(1.0, 0)
