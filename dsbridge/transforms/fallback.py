"""The user's own object as a step: run as it is, with the global generators seeded for the sample around it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.frameworks import torch_tensors
from dsbridge.frameworks.detect import loaded
from dsbridge.frameworks.rng import seed_all, untouched
from dsbridge.transforms.ops.values import Boxes, Pixels
from dsbridge.transforms.randomness import Draws
from dsbridge.transforms.stage import Sample, describe
from dsbridge.transforms.targets import to_tv_tensors


@dataclass(frozen=True, slots=True)
class HwcArray:
    """A numpy array that a user's function made of an image, which torchvision would take for [H, W, C]."""

    array: Any


@dataclass(frozen=True, slots=True)
class Original:
    """Runs ``fn`` on what torchvision would hand it: a PIL image, a tensor [C, H, W], or what the function before returned.

    ``targets``: whether it takes boxes and masks along (torchvision's v2 does). The global generators are seeded from the
    sample's key and put back afterwards; one thread at a time, because they are global.
    """

    fn: Any
    targets: bool = False

    def call(self, sample: Sample, draws: Draws, position: int) -> None:
        """Replace the sample's image (and targets) by what the function returns."""
        image = to_theirs(sample.image)
        with _alone(), untouched():
            seed_all(draws.number(position))
            if self.targets and (sample.boxes or sample.masks):
                result, boxes, masks = self.fn([image, *to_tv_tensors(sample.boxes, sample.masks)])
                sample.boxes = [boxes_of(value) for value in boxes]
                sample.masks = [torch_tensors.to_numpy(value) for value in masks]
            else:
                result = self.fn(image)
            sample.image = from_theirs(result)


@dataclass(frozen=True, slots=True)
class Albumentation:
    """Runs an albumentations transform on the image as [H, W, C], its own generator seeded from the sample's key."""

    fn: Any

    def call(self, sample: Sample, draws: Draws, position: int) -> None:
        image = sample.image
        hwc = image.array if isinstance(image, (HwcArray, Pixels)) else np.asarray(image)
        if isinstance(image, np.ndarray):
            hwc = np.ascontiguousarray(image.transpose(1, 2, 0))
        with _alone():
            if hasattr(self.fn, "set_random_seed"):
                self.fn.set_random_seed(draws.number(position) & 0xFFFFFFFF)
            result = self.fn(image=hwc.copy())["image"]
        sample.image = from_theirs(result)


def boxes_of(value: Any) -> Boxes:
    """torchvision's BoundingBoxes as ours."""
    return Boxes(torch_tensors.to_numpy(value), value.format.value, tuple(value.canvas_size))


def to_theirs(image: Any, *, copy: bool = True) -> Any:
    """An image of ours as torchvision has it: PIL, or a tensor [C, H, W], of its own memory unless ``copy=False``."""
    if isinstance(image, HwcArray):
        return image.array
    if isinstance(image, Pixels):
        return image.pil()
    if isinstance(image, tuple):
        return tuple(to_theirs(one, copy=copy) for one in image)
    if not isinstance(image, np.ndarray):
        return image
    torch = loaded("torch")
    if torch is None:
        raise TransformError("a user's function that takes tensors needs torch, which is not imported")
    return torch.from_numpy(np.array(image) if copy else np.ascontiguousarray(image))


def from_theirs(value: Any) -> Any:
    """What a torchvision transform or a user's function returned, as an image of ours.

    Raises ``TransformError`` for what is no image.

    >>> from_theirs(None)
    Traceback (most recent call last):
    ...
    dsbridge.errors.TransformError: returned NoneType, which is no image. Hint: return a PIL image, a tensor or an array
    """
    if hasattr(value, "getbands"):
        return value
    if torch_tensors.is_tensor(value):
        return torch_tensors.to_numpy(value.as_subclass(loaded("torch").Tensor))  # type: ignore[union-attr]
    if isinstance(value, np.ndarray):
        return HwcArray(value)
    if isinstance(value, (tuple, list)) and value:
        return tuple(map(from_theirs, value))
    raise TransformError(f"returned {describe(value)}, which is no image. Hint: return a PIL image, a tensor or an array")


_lock_of: dict[int, threading.RLock] = {}


def _alone() -> Any:
    """One lock a process: a forked one must not inherit a lock that another thread held."""
    return _lock_of.setdefault(os.getpid(), threading.RLock())
