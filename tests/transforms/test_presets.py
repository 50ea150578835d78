"""torchvision's presets, what ``weights.transforms()`` gives: read into their operations, equal to themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import chw, difference, image_of, pil, same
from torchvision_shim import presets, v1

from dsbridge import TransformError
from dsbridge.transforms import translate

MODE = v1.InterpolationMode
MAKERS = {
    "classification": lambda: presets.ImageClassification(crop_size=24, resize_size=29),
    "bicubic, larger crop": lambda: presets.ImageClassification(crop_size=40, resize_size=33, interpolation=MODE.BICUBIC),
    "nearest": lambda: presets.ImageClassification(crop_size=17, resize_size=20, interpolation=MODE.NEAREST),
    "segmentation": lambda: presets.SemanticSegmentation(resize_size=27, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
    "segmentation as it is": lambda: presets.SemanticSegmentation(resize_size=None),
    "detection": lambda: presets.ObjectDetection(),
}


@pytest.mark.parametrize("kind", ["pil", "uint8", "float"])
@pytest.mark.parametrize("name", MAKERS)
def test_equal(name: str, kind: str) -> None:
    """Bit by bit, on 32 images of odd sizes."""
    preset, modes = MAKERS[name](), ["RGB", "L", "RGBA"] if name == "detection" else ["RGB"]
    t = translate(preset, input=kind)
    for number in range(32):
        image = image_of(number, kind, modes[number % len(modes)])
        theirs = preset(image if kind == "pil" else torch.from_numpy(image.copy())).numpy()
        column = image if kind == "float" else np.asarray(image) if kind == "pil" else image.transpose(1, 2, 0)
        ours = t(column)
        assert same(ours, theirs), f"image {number}: {difference(ours, theirs)}"


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_other_modes(mode: str) -> None:
    """Integers of PIL images are divided by their dtype's largest, unlike ToTensor's."""
    for preset in (presets.SemanticSegmentation(resize_size=None, mean=[0.5], std=[0.25]), presets.ObjectDetection()):
        image = pil(0, "L").convert("I").convert(mode)
        if mode == "I;16":
            assert np.asarray(image).dtype == np.uint16
        assert same(translate(preset)(image), preset(image).numpy())


def test_rows_are_its_operations() -> None:
    rows = translate(v1.Compose([v1.RandomHorizontalFlip(), MAKERS["classification"]()])).report.rows
    names = [row.source.partition("(")[0] for row in rows]
    assert names == ["RandomHorizontalFlip", "Resize", "CenterCrop", "ToImage", "ConvertImageDtype", "Normalize"]
    assert {row.backend for row in rows} == {"kernel"} and [row.position for row in rows] == [1, 2, 3, 4, 5, 6]


def test_conversion_and_normalize_are_one_step() -> None:
    steps = translate(MAKERS["classification"]()).program.steps
    assert [type(step.op).__name__ for step in steps] == ["Resize", "CenterCrop", "ToTensorNormalize"]


def test_verify_and_what_is_refused() -> None:
    report = translate(MAKERS["classification"]()).verify([np.asarray(pil(number)) for number in range(4)])
    assert report.ok and report.measured[0].difference == 0
    with pytest.raises(TransformError, match="operation 3 Normalize.*3 means for 4 channels"):
        translate(MAKERS["segmentation as it is"]())(np.asarray(pil(0, "RGBA")))
    videos = presets.VideoClassification(crop_size=(8, 8), resize_size=(9,))
    assert translate(videos).report.rows[0].reason == "it takes videos [T, C, H, W]"
    assert translate(presets.OpticalFlow()).report.rows[0].reason == "it takes two images"


def test_a_changed_preset_is_opaque() -> None:
    class Mine(presets.ImageClassification):
        def forward(self, img):
            return super().forward(img) + 1

    assert "a subclass of ImageClassification" in translate(Mine(crop_size=8)).report.rows[0].reason
    patched = MAKERS["detection"]()
    patched.forward = lambda img: img
    assert translate(patched).report.rows[0].reason == "its method forward was replaced on the instance"


def test_the_script_is_equal(tmp_path: Path) -> None:
    """Without torch."""
    preset = MAKERS["classification"]()
    (tmp_path / "script.py").write_text(translate(preset).to_python())
    np.save(tmp_path / "image.npy", np.asarray(pil(0)))
    run = (
        "import sys; sys.modules['torch'] = sys.modules['dsbridge'] = None\n"
        "import numpy as np, script\nnp.save('out.npy', script.transform(np.load('image.npy')))"
    )
    done = subprocess.run([sys.executable, "-c", run], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert same(np.load(tmp_path / "out.npy"), preset(pil(0)).numpy())


def test_the_users_array_stays_as_it_was() -> None:
    image = chw(1, "float")
    before = image.copy()
    translate(MAKERS["segmentation as it is"](), input="float")(image)
    assert same(image, before)
