"""MindSpore's own operations that are bit-equal to torchvision's: for pipelines that need no Python at all.

Measured on MindSpore 2.10: its C++ Normalize divides, so that (0, 255) is ToTensor's scaling, which its own ToTensor is not
(it multiplies, as torchvision's v2 ToDtype does). Beside a Python stage they gain nothing: the row is in Python already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dsbridge.transforms.stage import Step


@dataclass(frozen=True, slots=True)
class Native:
    """One operation of mindspore.dataset.vision, by name and arguments.

    >>> print(Native("HWC2CHW"))
    vision.HWC2CHW()
    """

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def make(self) -> Any:
        """A fresh object: MindSpore's operations keep state, and one belongs to one pipeline."""
        return getattr(import_module("mindspore.dataset.vision"), self.name)(**dict(self.arguments))

    def __str__(self) -> str:
        return f"vision.{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments)})"


def native_operations(steps: Sequence[Step], kind: str) -> tuple[Native, ...]:
    """MindSpore's operations for the whole pipeline; empty if it has one that has no bit-equal twin.

    >>> from dsbridge.transforms.ops import Normalize
    >>> [str(one) for one in native_operations([Step(Normalize((0.5,), (0.5,)), 1, "")], "float")]
    ['vision.Normalize(mean=[0.5], std=[0.5], is_hwc=False)']
    """
    names = tuple(type(step.op).__name__ for step in steps)
    ops = [step.op for step in steps]
    for kinds, pattern, make in _PATTERNS:
        if kind in kinds and names == pattern:
            return make(ops)
    return ()


def _normalize(op: Any, **more: Any) -> tuple[Native, ...]:
    mean, std = list(op.mean), list(op.std)
    in_range = all(0 <= value <= 255 for value in mean) and all(0 < value <= 255 for value in std)
    if not in_range or len(mean) != len(std):
        return ()
    return (Native("Normalize", (("mean", mean), ("std", std), *more.items())),)


def _divided(ops: Sequence[Any]) -> tuple[Native, ...]:
    channels = len(ops[1].mean)
    normalized = _normalize(ops[1])
    scale = Native("Normalize", (("mean", [0.0] * channels), ("std", [255.0] * channels)))
    return (scale, *normalized, Native("HWC2CHW")) if normalized and channels == 3 else ()


def _multiplied(ops: Sequence[Any]) -> tuple[Native, ...]:
    if ops[1].dtype != "float32" or not ops[1].scale:
        return ()
    normalized = tuple(native for op in ops[2:] for native in _normalize(op, is_hwc=False))
    return (Native("ToTensor"), *normalized) if len(normalized) == len(ops) - 2 else ()


_PATTERNS: tuple[tuple[tuple[str, ...], tuple[str, ...], Callable[[Sequence[Any]], tuple[Native, ...]]], ...] = (
    (("pil",), ("ToTensor", "Normalize"), _divided),
    (("pil",), ("ToImage", "ToDtype"), _multiplied),
    (("pil",), ("PILToTensor", "ToDtype"), _multiplied),
    (("pil",), ("ToImage", "ToDtype", "Normalize"), _multiplied),
    (("pil",), ("PILToTensor", "ToDtype", "Normalize"), _multiplied),
    (("float",), ("Normalize",), lambda ops: _normalize(ops[0], is_hwc=False)),
)
