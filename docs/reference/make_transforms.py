"""Writes docs/reference/transforms.md: each torchvision transform, how it runs here, measured against the original.

Run it: python docs/reference/make_transforms.py (two minutes; needs torchvision). A test runs a part of it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "transforms")]

import torch  # noqa: E402
from harness import array, chw  # noqa: E402
from native_twins import TWINS  # noqa: E402
from torchvision_shim import presets, v1, v2  # noqa: E402

from dsbridge import TransformError  # noqa: E402
from dsbridge.transforms import translate  # noqa: E402

IMAGES = 32
KINDS = ("pil", "uint8", "float")
Make = Callable[[Any], Any]

CASES: dict[str, Make] = {
    "AugMix": lambda t: t.AugMix(),
    "AutoAugment": lambda t: t.AutoAugment(),
    "CenterCrop": lambda t: t.CenterCrop((40, 31)),
    "ClampBoundingBoxes": lambda t: t.ClampBoundingBoxes(),
    "ClampKeyPoints": lambda t: t.ClampKeyPoints(),
    "ColorJitter": lambda t: t.ColorJitter(0.4, 0.4, 0.4, 0.2),
    "ConvertBoundingBoxFormat": lambda t: t.ConvertBoundingBoxFormat("XYWH"),
    "ConvertImageDtype": lambda t: t.ConvertImageDtype(torch.float32),
    "ElasticTransform": lambda t: t.ElasticTransform(),
    "FiveCrop": lambda t: t.FiveCrop(6),
    "GaussianBlur": lambda t: t.GaussianBlur(5),
    "GaussianNoise": lambda t: t.GaussianNoise(),
    "Grayscale": lambda t: t.Grayscale(3),
    "Identity": lambda t: t.Identity(),
    "ImageClassification": lambda t: t.ImageClassification(crop_size=24, resize_size=29),
    "JPEG": lambda t: t.JPEG(50),
    "Lambda": lambda t: t.Lambda(lambda image: image),
    "LinearTransformation": lambda t: t.LinearTransformation(torch.eye(189), torch.zeros(189)),
    "Normalize": lambda t: t.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "ObjectDetection": lambda t: t.ObjectDetection(),
    "PILToTensor": lambda t: t.PILToTensor(),
    "Pad": lambda t: t.Pad((1, 2, 3, 4), padding_mode="reflect"),
    "RGB": lambda t: t.RGB(),
    "RandAugment": lambda t: t.RandAugment(),
    "RandomAdjustSharpness": lambda t: t.RandomAdjustSharpness(1.7),
    "RandomAffine": lambda t: t.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10, t.InterpolationMode.BILINEAR),
    "RandomApply": lambda t: t.RandomApply([t.RandomHorizontalFlip(1.0)]),
    "RandomAutocontrast": lambda t: t.RandomAutocontrast(),
    "RandomChannelPermutation": lambda t: t.RandomChannelPermutation(),
    "RandomChoice": lambda t: t.RandomChoice([t.RandomHorizontalFlip(1.0), t.RandomVerticalFlip(1.0)]),
    "RandomCrop": lambda t: t.RandomCrop(32, padding=4, pad_if_needed=True),
    "RandomEqualize": lambda t: t.RandomEqualize(),
    "RandomErasing": lambda t: t.RandomErasing(),
    "RandomGrayscale": lambda t: t.RandomGrayscale(0.5),
    "RandomHorizontalFlip": lambda t: t.RandomHorizontalFlip(),
    "RandomInvert": lambda t: t.RandomInvert(),
    "RandomIoUCrop": lambda t: t.RandomIoUCrop(),
    "RandomOrder": lambda t: t.RandomOrder([t.RandomHorizontalFlip(), t.RandomCrop(6)]),
    "RandomPerspective": lambda t: t.RandomPerspective(),
    "RandomPhotometricDistort": lambda t: t.RandomPhotometricDistort(),
    "RandomPosterize": lambda t: t.RandomPosterize(3),
    "RandomResize": lambda t: t.RandomResize(20, 50),
    "RandomResizedCrop": lambda t: t.RandomResizedCrop(32),
    "RandomRotation": lambda t: t.RandomRotation(30, t.InterpolationMode.BILINEAR, expand=True),
    "RandomShortestSize": lambda t: t.RandomShortestSize([20, 30, 40]),
    "RandomSolarize": lambda t: t.RandomSolarize(1),
    "RandomVerticalFlip": lambda t: t.RandomVerticalFlip(),
    "RandomZoomOut": lambda t: t.RandomZoomOut(),
    "Resize": lambda t: t.Resize(32),
    "SanitizeBoundingBoxes": lambda t: t.SanitizeBoundingBoxes(),
    "SanitizeKeyPoints": lambda t: t.SanitizeKeyPoints(),
    "ScaleJitter": lambda t: t.ScaleJitter((40, 40)),
    "SemanticSegmentation": lambda t: t.SemanticSegmentation(resize_size=27),
    "SetClampingMode": lambda t: t.SetClampingMode("soft"),
    "TenCrop": lambda t: t.TenCrop(6),
    "ToDtype": lambda t: t.ToDtype(torch.float32, scale=True),
    "ToImage": lambda t: t.ToImage(),
    "ToPILImage": lambda t: t.ToPILImage(),
    "ToPureTensor": lambda t: t.ToPureTensor(),
    "ToTensor": lambda t: t.ToTensor(),
    "TrivialAugmentWide": lambda t: t.TrivialAugmentWide(),
    "UniformTemporalSubsample": lambda t: t.UniformTemporalSubsample(2),
}
LIBRARIES = {"v1": v1, "v2": v2, "preset": presets}
RESIZES_TO = {"LinearTransformation": (7, 9)}  # the size its matrix is for
BATCH_LEVEL = ("CutMix", "MixUp")
NOT_ON_IMAGES = ("ClampKeyPoints", "RandomIoUCrop", "SanitizeBoundingBoxes", "SanitizeKeyPoints", "SetClampingMode")
CANNOT_RUN = {"JPEG": "torchvision's encoder is not in the CPU wheel"}


def image(number: int, kind: str, size: tuple[int, int] | None) -> Any:
    """Image ``number`` as ``translate`` takes it."""
    found = chw(number, "float") if kind == "float" else array(number)
    if size is None:
        return found
    return found[:, : size[0], : size[1]] if kind == "float" else found[: size[0], : size[1]]


def row(name: str, library: Any, kind: str, images: int = IMAGES) -> tuple[str, str, str, str]:
    """(backend, exactness, measured, reason) of a class on images of one kind; backend "-" where the original refuses them."""
    original = CASES[name](library)
    t = translate(original, input=kind)
    found = next((row for row in t.report.rows if row.backend == "python"), t.report.rows[0])
    reason = found.reason if found.backend == "python" else ""
    if name in NOT_ON_IMAGES or name in CANNOT_RUN:
        return found.backend, found.exactness, "-", CANNOT_RUN.get(name, reason)
    try:
        original(pil_or_tensor(image(0, kind, RESIZES_TO.get(name)), kind))
    except Exception as exc:
        return "-", "", "", f"torchvision refuses it: {type(exc).__name__}"
    try:
        numbers = [number for number in range(images) if name != "ElasticTransform" or min(array(number).shape[:2]) > 30]
        report = t.verify(image(number, kind, RESIZES_TO.get(name)) for number in numbers)
    except TransformError:
        if found.backend != "python":
            raise
        return "-", "", "", "torchvision refuses it for some parameters"
    one = report.measured[0]  # of the whole; a preset is several operations
    return found.backend, found.exactness, "other shape" if one.difference is None else f"{one.difference:g}", reason


def pil_or_tensor(value: Any, kind: str) -> Any:
    """What torchvision would be given."""
    from PIL import Image

    if kind == "pil":
        return Image.fromarray(value)
    return torch.from_numpy(value if kind == "float" else value.transpose(2, 0, 1).copy())


HEAD = """# torchvision's transforms, one by one

Made by `python docs/reference/make_transforms.py`: do not edit. Measured on {images} images of odd sizes, smooth with noise,
with equal parameters on both sides: the largest difference, 0 means every bit is the same (uint8: grey levels). More settings,
modes and kinds are in `tests/transforms/`.

* **backend**: *kernel*: dsbridge's own, drawn by its own generator; *python*: the original object runs, seeded for the sample;
  *native*: MindSpore's operation; *-*: torchvision itself refuses such images.
* A *preset* is what `weights.transforms()` of torchvision's models gives: the operations of v1 in turn.
* **pil, uint8, float**: what the original sees: PIL images, uint8 tensors, float tensors (`input=` of `translate`).
* The last column says what MindSpore has under that name, and why it is not used (grey levels, MindSpore 2.10).

| class | pil | uint8 | float | why the original runs | MindSpore's twin, and why not |
|---|---|---|---|---|---|
"""


def cell(name: str, kind: str, reasons: list[str]) -> str:
    """One cell, of v1 and v2 together where they agree; why the original runs is added to ``reasons``."""
    texts = []
    for label, library in LIBRARIES.items():
        if not hasattr(library, name):
            continue
        backend, exactness, measured, reason = row(name, library, kind)
        texts.append((label, f"{backend}, {exactness}, {measured}" if backend != "-" else "-"))
        if backend == "python" and reason not in reasons:
            reasons.append(reason)
    if len({text for _, text in texts}) == 1:
        return texts[0][1]
    return "; ".join(f"{label}: {text}" for label, text in texts)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = []
    for name in sorted([*CASES, *BATCH_LEVEL]):
        where = "" if hasattr(v1, name) else " (v2)" if hasattr(v2, name) else " (preset)"
        if name in BATCH_LEVEL:
            cells = ["on batches: kernel, exact, 0 (per_batch_map)", "", "", ""]
        else:
            reasons: list[str] = []
            cells = [cell(name, kind, reasons) for kind in KINDS]
            cells.append("; ".join(reasons))
        lines.append(f"| {name}{where} | {' | '.join(cells)} | {TWINS.get(name, 'none')} |")
        sys.stderr.write(f"{lines[-1]}\n")
    path = Path(__file__).parent / "transforms.md"
    path.write_text(HEAD.format(images=IMAGES) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
