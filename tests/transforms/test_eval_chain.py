"""The golden chain: JPEG and PNG files of every mode through Resize, CenterCrop, ToTensor, Normalize in ds.map: 0.0 off."""

from __future__ import annotations

import io

import mindspore.dataset as mds
import mindspore.dataset.vision as vision
import numpy as np
import pytest
from harness import array
from helpers import rows
from PIL import Image
from torchvision_shim import v1

import dsbridge as dsb
from dsbridge.transforms import translate

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
KINDS = [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "RGB")]
CASES = [(v1.InterpolationMode.BILINEAR, 1), (v1.InterpolationMode.BILINEAR, 2), (v1.InterpolationMode.BICUBIC, 2)]


def encoded() -> list[bytes]:
    """48 files: six formats and modes, eight odd sizes each (200 to 700 pixels)."""
    found = []
    for number in range(48):
        name, mode = KINDS[number % len(KINDS)]
        size = (211 + 37 * (number // 6), 655 - 41 * (number // 6))
        image = Image.fromarray(array(number)).resize(size, Image.Resampling.BICUBIC).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, name, **({"quality": 90} if name == "JPEG" else {}))
        found.append(buffer.getvalue())
    return found


FILES = encoded()


class Files:
    """File ``index`` decoded; converted to RGB unless it has that mode."""

    def __len__(self) -> int:
        return len(FILES)

    def __getitem__(self, index: int):
        image = Image.open(io.BytesIO(FILES[index]))
        return (image if image.mode == "RGB" else image.convert("RGB"),)


def chain(interpolation) -> v1.Compose:
    return v1.Compose([v1.Resize(256, interpolation), v1.CenterCrop(224), v1.ToTensor(), v1.Normalize(MEAN, STD)])


@pytest.mark.parametrize(("interpolation", "workers"), CASES, ids=str)
def test_difference_is_zero(interpolation, workers: int) -> None:
    """On 48 files, bit for bit."""
    original = chain(interpolation)
    dataset = dsb.to_mindspore(Files(), column_names=["image"])
    found = rows(translate(original).apply(dataset, num_parallel_workers=workers))
    assert len(found) == 48
    for index, (image,) in enumerate(found):
        expected = original(Files()[index][0]).numpy()
        assert image.tobytes() == expected.tobytes(), (index, np.abs(image - expected).max())


def test_decoded_by_mindspore_too() -> None:
    """vision.Decode gives Pillow's pixels, so that its output can be given to the translation."""
    files = [(np.frombuffer(data, np.uint8),) for data, kind in zip(FILES, KINDS * 8, strict=True) if kind == ("JPEG", "RGB")]
    dataset = dsb.to_mindspore(files, column_names=["image"]).map([vision.Decode()], ["image"])
    original = chain(v1.InterpolationMode.BILINEAR)
    found = rows(translate(original).apply(dataset))
    for (image,), (data,) in zip(found, files, strict=True):
        assert image.tobytes() == original(Image.open(io.BytesIO(data.tobytes()))).numpy().tobytes()


def test_the_usual_hand_port_is_another_chain() -> None:
    """Decode, Resize, CenterCrop, ToTensor, Normalize in MindSpore's own: measured beside it, in normalised units."""
    files = [np.frombuffer(data, np.uint8) for data, kind in zip(FILES, KINDS * 8, strict=True) if kind == ("JPEG", "RGB")]
    operations = [
        vision.Decode(),
        vision.Resize(256),
        vision.CenterCrop(224),
        vision.ToTensor(),
        vision.Normalize(MEAN, STD, False),
    ]
    data = mds.GeneratorDataset([(file,) for file in files], ["image"], shuffle=False)
    original = chain(v1.InterpolationMode.BILINEAR)
    worst = 0.0
    for (image,), file in zip(rows(data.map(operations, ["image"])), files, strict=True):
        worst = max(worst, float(np.abs(image - original(Image.open(io.BytesIO(file.tobytes()))).numpy()).max()))
    print(f"usual hand port: up to {worst:.2f} off")
    assert worst > 0.05
