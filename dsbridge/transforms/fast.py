"""Policy "native": operations whose kernel is MindSpore's own C++ one, which is faster and gives other pixels."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from dsbridge.transforms.ops.resize import resized_size
from dsbridge.transforms.ops.values import Array, Frame, Pixels, State


def resize_opencv(pixels: Array, height: int, width: int) -> Pixels:
    """Pixels [H, W, C] resized by MindSpore's C++ kernel: bilinear between four neighbours, without antialiasing.

    A deterministic operation: running it outside of ds.map is safe. Source: OpenCV's INTER_LINEAR.
    """
    return Pixels(_resizer(height, width)(np.ascontiguousarray(pixels)))


@functools.lru_cache(maxsize=64)
def _resizer(height: int, width: int) -> Any:
    # one for all threads: run eagerly on arrays, it keeps nothing, and making one takes 50 us
    vision = import_module("mindspore.dataset.vision")
    return vision.Resize((height, width), vision.Inter.BILINEAR)


@dataclass(frozen=True, slots=True)
class FastRandomResizedCrop:
    """``inner``'s crop, resized by MindSpore's C++ kernel."""

    EXACT: ClassVar[tuple[str, ...]] = ()
    EXACTNESS: ClassVar[str] = "distribution"
    REASON: ClassVar[str] = "the same crops, resized by MindSpore's C++ kernel, which does not antialias"

    inner: Any

    def draw(self, rng: np.random.Generator, frame: Frame) -> Any:
        return self.inner.draw(rng, frame)

    def pixels(self, array: Array, top: int, left: int, height: int, width: int) -> Pixels:
        return resize_opencv(array[top : top + height, left : left + width], *self.inner.size)

    def pil(self, image: Any, *params: int) -> Pixels:
        return self.pixels(np.asarray(image), *params)


@dataclass(frozen=True, slots=True)
class FastResize:
    """``inner``'s size, by MindSpore's C++ kernel."""

    EXACT: ClassVar[tuple[str, ...]] = ()
    EXACTNESS: ClassVar[str] = "distribution"
    REASON: ClassVar[str] = "the same size, by MindSpore's C++ kernel, which does not antialias"

    inner: Any

    def pixels(self, array: Array) -> Pixels:
        size = self.inner.size
        target = size if isinstance(size, tuple) else resized_size(array.shape[0], array.shape[1], size, self.inner.max_size)
        return resize_opencv(array, *target)

    def pil(self, image: Any) -> Pixels:
        return self.pixels(np.asarray(image))


_FAST: dict[str, Any] = {"RandomResizedCrop": FastRandomResizedCrop, "Resize": FastResize}


def fast(op: Any, state: State) -> Any:
    """The operation with MindSpore's kernel instead of ours; None where there is none, or it is on the blacklist."""
    kind = _FAST.get(type(op).__name__)
    if kind is None or state.kind != "pil" or op.interpolation != "bilinear":
        return None
    return kind(op)
