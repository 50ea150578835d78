"""Conversions: bit-equal to torchvision's on every PIL mode, every dtype, and numpy images; wrong input is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from harness import MODES, array, check_equal, chw, pil, plain, same
from PIL import Image
from torchvision_shim import tv_tensors, v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.convert import Identity, PILToTensor, ToImage, ToPILImage, ToTensor
from dsbridge.transforms.ops.dtypes import BITS, FLOATS, ConvertImageDtype, ToDtype
from dsbridge.transforms.ops.temporal import UniformTemporalSubsample
from dsbridge.transforms.ops.values import State

BOTH = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
PIL_MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
DTYPES = [*BITS, *FLOATS, "bool"]


@pytest.fixture(autouse=True)
def _deprecations():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # v2.ToTensor warns of itself
        yield


def read(original):
    return find(qualified(original)).read(original)


def of_mode(number: int, mode: str) -> Image.Image:
    """Image ``number`` in any PIL mode."""
    if mode in ("I;16", "I", "F"):
        wide = array(number, 1)[..., 0].astype(np.int32) * 257 - (0 if mode == "I;16" else 300)
        return Image.fromarray(wide.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    if mode == "LAB":
        return Image.frombytes("LAB", pil(number).size, pil(number).tobytes())
    steps = {"La": ["RGBA", "LA", "La"], "RGBa": ["RGBA", "RGBa"], "PA": ["P", "PA"]}.get(mode, [mode])
    image = pil(number, "RGBA" if steps[0] == "RGBA" else "RGB")
    for step in steps:
        image = image.convert(step)
    return image


@BOTH
@pytest.mark.parametrize("mode", PIL_MODES)
@pytest.mark.parametrize("name", ["ToTensor", "PILToTensor", "ToImage"])
def test_pil_to_array(library, name: str, mode: str) -> None:
    """Equal on every PIL mode, those of 1, 16 and 32 bits, too."""
    if name == "ToImage" and library is v1:
        return
    original = getattr(library, name)()
    op = read(original)
    for number in range(32 if mode in ("RGB", "L") else 5):
        image = of_mode(number, mode)
        assert same(op.pil(image), plain(original(image))), f"{name} on {mode} {number}"


@BOTH
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int16", "int32", "bool"])
def test_numpy_images(library, dtype: str) -> None:
    """ToTensor, ToImage and ToPILImage take a dataset's own numpy images [H, W] and [H, W, C]."""
    for number in range(32):
        image = (
            (array(number, 1 + number % 4) / 200).astype(dtype)
            if dtype[0] == "f"
            else array(number, 1 + number % 4).astype(dtype)
        )
        for values in (image, image[..., 0]):
            before = values.copy()
            assert same(ToTensor().hwc(values), plain(library.ToTensor()(values)))
            assert same(np.ascontiguousarray(ToImage().hwc(values)), plain(v2.ToImage()(values)))
            assert np.array_equal(values, before)
            if dtype in ("uint8", "float32"):
                ours, theirs = ToPILImage().hwc(values), library.ToPILImage()(values)
                assert ours.mode == theirs.mode and same(plain(ours), plain(theirs))


@pytest.mark.parametrize("make", [v2.ToImage, v2.ToPureTensor, v2.Identity])
def test_unchanged(make) -> None:
    """What v2 passes through, and images that are tensors already."""
    check_equal(make, ("pil", "uint8", "float") if make is not v2.ToImage else ("uint8", "float"))


@BOTH
@pytest.mark.parametrize(
    ("mode", "channels", "dtype"),
    [(None, c, d) for c in (1, 2, 3, 4) for d in ("uint8", "float32", "float64", "float16")]
    + [(m, 3, d) for m in ("RGB", "YCbCr", "HSV") for d in ("uint8", "float32")]
    + [(m, 4, "uint8") for m in ("RGBA", "CMYK", "RGBX")]
    + [("LA", 2, "float32"), ("L", 1, "float64"), ("F", 1, "float32")]
    + [(m, 1, d) for m, d in (("I", "int32"), ("I;16", "int16"), (None, "int32"), (None, "int16"))],
)
def test_to_pil(library, mode: str | None, channels: int, dtype: str) -> None:
    original = library.ToPILImage(mode)
    op = read(original)
    assert op == ToPILImage(mode)
    for number in range(8):
        values = array(number, channels).transpose(2, 0, 1)
        values = (values / 255).astype(dtype) if dtype[0] == "f" else values.astype(dtype) * (-3 if dtype == "int32" else 1)
        for image in (values, values[0]) if channels == 1 else (values,):
            ours, theirs = op.chw(image), original(torch.from_numpy(image.copy()))
            assert ours.mode == theirs.mode and same(plain(ours), plain(theirs))


def test_to_pil_on_the_harness_images() -> None:
    check_equal(v1.ToPILImage, ("uint8", "float"))
    check_equal(v2.ToPILImage, ("uint8", "float"))


@BOTH
@pytest.mark.parametrize(
    ("mode", "image"),
    [
        ("L", np.zeros((3, 4, 5), np.uint8)),
        ("RGB", np.zeros((4, 4, 5), np.uint8)),
        ("F", np.zeros((3, 4, 5), np.float32)),
        ("I", np.zeros((1, 4, 5), np.uint8)),
        (None, np.zeros((5, 4, 5), np.uint8)),
        (None, np.zeros((3, 4, 5), np.int32)),
        (None, np.zeros((1, 4, 5), np.int64)),
        (None, np.zeros((2, 3, 4, 5), np.uint8)),
    ],
)
def test_to_pil_refuses_what_torchvision_refuses(library, mode, image) -> None:
    with pytest.raises((ValueError, TypeError)):
        library.ToPILImage(mode)(torch.from_numpy(image))
    with pytest.raises(TransformError, match="Hint"):
        ToPILImage(mode).chw(image)


def of_dtype(number: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(number)
    if dtype == "bool":
        return rng.random((3, 31, 17)) < 0.5
    if dtype in BITS:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, (3, 31, 17), dtype, endpoint=True)
    return rng.random((3, 31, 17)).astype(dtype)


@pytest.mark.parametrize("source", DTYPES)
def test_every_pair_of_dtypes(source: str) -> None:
    """v1 and v2, scaled and not: equal wherever torchvision does not fail, but for what has no sense (to bool)."""
    compared = 0
    for target in DTYPES:
        dtype = getattr(torch, target)
        for original in (
            v1.ConvertImageDtype(dtype),
            v2.ConvertImageDtype(dtype),
            v2.ToDtype(dtype),
            v2.ToDtype(dtype, scale=True),
        ):
            for number in range(4):
                image = of_dtype(number, source)
                try:
                    theirs = plain(original(torch.from_numpy(image.copy())))
                    ours = read(original).chw(image)
                except (RuntimeError, TypeError, TransformError, Refused):
                    continue
                assert same(ours, theirs), f"{original} from {source}"
                compared += 1
    assert compared >= 4 * {"bool": 14, "float16": 25}.get(source, 30)


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "uint8", "int16"])
def test_dtypes_on_the_harness_images(name: str) -> None:
    dtype = getattr(torch, name)
    check_equal(lambda: v1.ConvertImageDtype(dtype), ("uint8", "float") if name != "int16" else ("uint8",))
    check_equal(lambda: v2.ToDtype(dtype, scale=True), ("pil", "uint8", "float"))
    check_equal(lambda: v2.ToDtype(dtype), ("pil", "uint8", "float"))


def test_v1_divides_and_v2_multiplies() -> None:
    """126 of the 256 values differ between the two, so they are two operations."""
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    divided, multiplied = ConvertImageDtype().chw(values), ToDtype(scale=True).chw(values)
    assert (divided != multiplied).sum() == 126
    assert same(divided, plain(v1.ConvertImageDtype(torch.float32)(torch.from_numpy(values))))
    assert same(multiplied, plain(v2.ToDtype(torch.float32, scale=True)(torch.from_numpy(values))))


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "uint16"])
def test_floats_out_of_range(name: str, scale: bool) -> None:
    """Values that a normalized image has wrap as torch's do."""
    image = (np.random.default_rng(0).random((3, 99, 99)) * 8 - 4).astype(np.float32)
    theirs = v2.ToDtype(getattr(torch, name), scale=scale)(torch.from_numpy(image))
    assert same(ToDtype(name, scale).chw(image), plain(theirs))


def test_dtypes_per_class() -> None:
    """A dict is read where images and plain tensors get one dtype and nothing else changes."""
    image, tensor, mask = tv_tensors.Image, torch.Tensor, tv_tensors.Mask
    both = {image: torch.float32, tensor: torch.float32}
    assert read(v2.ToDtype({**both, "others": None}, scale=True)) == ToDtype("float32", True)
    for dtypes in (
        {"others": torch.float32},
        {image: torch.float32, "others": None},
        {**both, mask: torch.int64, "others": None},
    ):
        with pytest.raises(Refused):
            read(v2.ToDtype(dtypes))
    for dtype in (torch.bfloat16, torch.complex64):
        with pytest.raises(Refused, match="numpy has nothing"):
            read(v2.ToDtype(dtype))


@pytest.mark.parametrize(("channels", "kind"), [(3, "uint8"), (1, "float")])
def test_frames(channels: int, kind: str) -> None:
    """Every length up to 40 with every number of frames up to 40, and one long video."""
    assert read(v2.UniformTemporalSubsample(7)) == UniformTemporalSubsample(7)
    for length in [*range(1, 40), 1000]:
        video = np.stack([chw(5, kind, channels)[:, :2, :2] + type(chw(5, kind).flat[0])(t % 200) for t in range(length)])
        for count in [*range(40), 317]:
            theirs = v2.UniformTemporalSubsample(count)(torch.from_numpy(video))
            assert same(UniformTemporalSubsample(count).chw(video), plain(theirs)), (length, count)
    batch = np.arange(2 * 9 * 12).reshape(2, 9, 3, 2, 2).astype(np.uint8)
    assert same(UniformTemporalSubsample(4).chw(batch), plain(v2.UniformTemporalSubsample(4)(torch.from_numpy(batch))))


def test_wrong_input() -> None:
    with pytest.raises(TransformError, match="2 or 3 dimensions"):
        ToTensor().hwc(np.zeros((2, 3, 4, 5)))
    with pytest.raises(TransformError, match="byte order"):
        PILToTensor().pil(of_mode(1, "I;16").convert("I;16B"))
    with pytest.raises(TransformError, match="dtype 'float8'"):
        ToDtype("float8")
    with pytest.raises(TransformError, match="cannot hold all values of int32"):
        ToDtype("int32", scale=True).chw(np.zeros((3, 4, 5), np.float32))
    with pytest.raises(TransformError, match="no range"):
        ToDtype("bool", scale=True).chw(np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(TransformError, match="dtype complex64"):
        ToDtype().chw(np.zeros((3, 4, 5), np.complex64))
    with pytest.raises(TransformError, match="has no frames"):
        UniformTemporalSubsample(2).chw(np.zeros((3, 4, 5)))
    with pytest.raises(TransformError, match="number of frames"):
        UniformTemporalSubsample(-1)


def test_states() -> None:
    assert ToTensor().after(State("pil", 3)) == State("float", 3) == ToDtype().after(State("uint8", 3))
    assert PILToTensor().after(State("pil", 1)) == State("uint8", 1) == ToImage().after(State("pil", 1))
    assert ToImage().after(State("float", 1)) == State("float", 1)
    assert ToDtype("uint8").after(State("pil", 1)).kind == "pil" == ToPILImage().after(State("float", 3)).kind
    assert ConvertImageDtype("int16").after(State("uint8", 1)).kind is None
    assert repr(ToDtype("float32", True)) == "ToDtype(dtype='float32', scale=True)"
    assert eval(repr(ToPILImage("HSV"))) == ToPILImage("HSV") and Identity() == Identity()
    assert set(MODES) <= set(PIL_MODES)
