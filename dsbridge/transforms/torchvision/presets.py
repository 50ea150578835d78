"""torchvision's presets, ``weights.transforms()``: each is some of its v1 transforms in turn, which are read as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.frameworks.detect import loaded, require_torch
from dsbridge.transforms.ops.containers import Sequence
from dsbridge.transforms.ops.convert import ToImage
from dsbridge.transforms.torchvision.names import V1

PRESETS = "torchvision.transforms._presets"
Contents = tuple[Sequence, list[Any]]


def _resized(original: Any) -> list[Any]:
    if original.resize_size is None:
        return []
    resize = _v1().Resize(original.resize_size, interpolation=original.interpolation, antialias=original.antialias)
    return [resize]


def _floats() -> list[Any]:
    """Tensors stay as they are, PIL images become tensors: that is our ToImage, and none of v1's transforms."""
    return [ToImage(), _v1().ConvertImageDtype(require_torch("a preset of torchvision").float32)]


def _normalized(original: Any) -> list[Any]:
    return [*_floats(), _v1().Normalize(original.mean, original.std)]


def _v1() -> Any:
    return loaded(V1)  # there, as the preset's own module imports its package


def _classification(original: Any) -> Contents:
    return Sequence(), [*_resized(original), _v1().CenterCrop(original.crop_size), *_normalized(original)]


def _segmentation(original: Any) -> Contents:
    return Sequence(), [*_resized(original), *_normalized(original)]


def _detection(original: Any) -> Contents:
    return Sequence(), _floats()


CONTENTS: dict[str, Callable[[Any], Contents]] = {
    f"{PRESETS}.ImageClassification": _classification,
    f"{PRESETS}.SemanticSegmentation": _segmentation,
    f"{PRESETS}.ObjectDetection": _detection,
}
"""Qualified class name -> instance -> (all in turn, its transforms)."""
