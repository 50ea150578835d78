"""Normalize, and ToTensor with Normalize at once: bit-equal to torchvision's for every value and dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, chw, pil, plain, same
from PIL import Image
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.normalize import Normalize, ToTensorNormalize, to_tensor_normalize
from dsbridge.transforms.ops.values import State

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])


def read(original):
    return find(qualified(original)).read(original)


@BOTH
@pytest.mark.parametrize(
    ("mean", "std", "mode"),
    [(MEAN, STD, "RGB"), ([0.1307], [0.3081], "L"), ([0.5], [0.5], "RGBA"), ([-1e3, 0, 3e5], [9, -2, 1e-3], "RGB")],
)
@pytest.mark.parametrize("inplace", [False, True])
def test_equal(library, mean, std, mode: str, inplace: bool) -> None:
    check_equal(lambda: library.Normalize(mean, std, inplace=inplace), ("float",), (mode,))


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtypes_stay(library, dtype: str) -> None:
    for number in range(8):
        image = chw(number, "float").astype(dtype)
        assert same(Normalize(MEAN, STD).chw(image), plain(library.Normalize(MEAN, STD)(torch.from_numpy(image))))


def test_one_channel_takes_all_means() -> None:
    """As v2's broadcasting has it (v1 fails)."""
    image = chw(0, "float", 1)
    assert same(Normalize(MEAN, STD).chw(image), plain(v2.Normalize(MEAN, STD)(torch.from_numpy(image))))


def test_what_settings_may_be() -> None:
    """Tensors, arrays and numbers as well as sequences."""
    assert read(v1.Normalize(torch.tensor([0.5, 0.25]), np.array([1.0, 2.0]))) == Normalize((0.5, 0.25), (1.0, 2.0))
    assert read(v1.Normalize(0.5, 2)) == Normalize((0.5,), (2.0,))
    image = chw(3, "float")
    assert same(read(v1.Normalize(0.5, 2)).chw(image), plain(v1.Normalize(0.5, 2)(torch.from_numpy(image))))
    with pytest.raises(Refused):
        read(v1.Normalize(torch.zeros(3, 1, 1), torch.ones(3, 1, 1)))
    assert eval(repr(Normalize(MEAN, STD))) == Normalize(MEAN, STD)


def every_value() -> np.ndarray:
    return np.stack([np.arange(256), np.arange(256)[::-1], (np.arange(256) * 7) % 256]).astype(np.uint8).reshape(3, 16, 16)


ORIGINALS = {
    "divide": lambda mean, std: v1.Compose([v1.ToTensor(), v1.Normalize(mean, std)]),
    "multiply": lambda mean, std: v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]),
}


@pytest.mark.parametrize("scale", list(ORIGINALS))
def test_fused_for_every_value(scale: str) -> None:
    """PIL image or array, all 256 values in all channels, five sets of means and deviations."""
    values = every_value()
    image = Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))
    sets = [
        (MEAN, STD),
        ((0.5,) * 3, (0.5,) * 3),
        ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
        ((0.0,) * 3, (1.0,) * 3),
    ]
    for mean, std in [*sets, ((0.1,), (0.3,))]:
        theirs = plain(ORIGINALS[scale](mean, std)(image))
        op = ToTensorNormalize(mean, std, scale)
        assert same(op.pil(image), theirs) and same(op.chw(values), theirs), (mean, std)


@pytest.mark.parametrize("scale", list(ORIGINALS))
def test_fused_on_images(scale: str) -> None:
    for number in range(32):
        mode, mean, std = [
            ("RGB", MEAN, STD),
            ("L", (0.1307,), (0.3081,)),
            ("RGBA", (0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0)),
        ][number % 3]
        image = pil(number, mode)
        assert same(to_tensor_normalize(image, mean, std, scale), plain(ORIGINALS[scale](mean, std)(image)))


@pytest.mark.parametrize("scale", list(ORIGINALS))
@pytest.mark.parametrize("mode", ["1", "P", "F", "LA", "CMYK", "HSV"])
def test_fused_on_other_modes(scale: str, mode: str) -> None:
    """What is no uint8 image goes through the two operations in turn."""
    image = pil(3).convert("L").convert(mode) if mode in ("F", "LA") else pil(3).convert(mode)
    mean, std = ((0.1,) * len(image.getbands()), (0.3,) * len(image.getbands()))
    assert same(to_tensor_normalize(image, mean, std, scale), plain(ORIGINALS[scale](mean, std)(image)))


def test_fused_state() -> None:
    assert ToTensorNormalize(MEAN, STD).after(State("pil", 3)) == State("float", 3)


@BOTH
def test_wrong_input(library) -> None:
    for image in (np.zeros((3, 4, 5), np.uint8), np.zeros((4, 5), np.float32), np.zeros((2, 4, 5), np.float32)):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            library.Normalize(MEAN, STD)(torch.from_numpy(image))
        with pytest.raises(TransformError, match="Hint"):
            Normalize(MEAN, STD).chw(image)
    with pytest.raises(TransformError, match="zero"):
        read(library.Normalize([0.5], [0.0]))
    with pytest.raises(TransformError, match="is zero in float32"):
        Normalize((0.5,), (1e-60,)).chw(np.zeros((1, 2, 2), np.float32))
    with pytest.raises(TransformError, match="has a zero"):
        ToTensorNormalize((0.5,), (1e-60,))
    with pytest.raises(TransformError, match="3 means and 2"):
        Normalize(MEAN, (1.0, 1.0))
    with pytest.raises(TransformError, match="scale 'mul'"):
        ToTensorNormalize(MEAN, STD, "mul")
