"""dsbridge's own transforms: frozen dataclasses without torch, each proven bit-equal to torchvision's, one family a file."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "affine": ("RandomAffine",),
    "box_tools": ("ClampBoundingBoxes", "ConvertBoundingBoxFormat"),
    "colour_jitter": ("ColorJitter", "RandomChannelPermutation", "RandomPhotometricDistort"),
    "containers": ("RandomApply", "RandomChoice", "RandomOrder", "Sequence"),
    "convert": ("Identity", "PILToTensor", "ToImage", "ToPILImage", "ToTensor"),
    "crop": ("CenterCrop", "FiveCrop", "RandomCrop", "TenCrop"),
    "dtypes": ("ConvertImageDtype", "ToDtype"),
    "erase": ("RandomErasing",),
    "flip": ("RandomHorizontalFlip", "RandomVerticalFlip"),
    "grayscale": ("RGB", "Grayscale", "RandomGrayscale"),
    "linear": ("LinearTransformation",),
    "mix": ("CutMix", "MixUp"),
    "noise": ("GaussianNoise",),
    "normalize": ("Normalize", "ToTensorNormalize"),
    "pad": ("Pad",),
    "perspective": ("RandomPerspective",),
    "photometric": (
        "RandomAdjustSharpness",
        "RandomAutocontrast",
        "RandomEqualize",
        "RandomInvert",
        "RandomPosterize",
        "RandomSolarize",
    ),
    "policies": ("AutoAugment", "RandAugment", "TrivialAugmentWide"),
    "resize": ("Resize",),
    "rotate": ("RandomRotation",),
    "scale": ("RandomResize", "RandomShortestSize", "ScaleJitter"),
    "temporal": ("UniformTemporalSubsample",),
    "values": ("Boxes",),
    "zoom": ("RandomResizedCrop", "RandomZoomOut"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'dsbridge.transforms.ops' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
