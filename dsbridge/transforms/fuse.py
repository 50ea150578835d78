"""Joining steps that one pass over the pixels can do, bit-equal to them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsbridge.transforms.ops.normalize import ToTensorNormalize
from dsbridge.transforms.stage import Step

_PATTERNS = (  # names in turn, and how they scale
    (("ToTensor", "Normalize"), "divide"),
    (("ToImage", "ToDtype", "Normalize"), "multiply"),
    (("PILToTensor", "ToDtype", "Normalize"), "multiply"),
    (("ToImage", "ConvertImageDtype", "Normalize"), "convert"),
    (("PILToTensor", "ConvertImageDtype", "Normalize"), "convert"),
)


def fused(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps with conversion and Normalize made one, where both are kernels.

    >>> from dsbridge.transforms.ops import Normalize, ToTensor
    >>> [type(step.op).__name__ for step in fused([Step(ToTensor(), 1, ""), Step(Normalize((0.5,), (0.5,)), 2, "")])]
    ['ToTensorNormalize']
    """
    found: list[Step] = []
    at = 0
    while at < len(steps):
        width, step = _joined(steps, at)
        found.append(step)
        at += width
        if hasattr(step.op, "call"):  # what a user's object returns is only known when it runs
            return (*found, *steps[at:])
    return tuple(found)


def _joined(steps: Sequence[Step], at: int) -> tuple[int, Step]:
    for names, scale in _PATTERNS:
        part = steps[at : at + len(names)]
        if tuple(type(step.op).__name__ for step in part) == names and _scales(part[1].op):
            last = part[-1]
            op = ToTensorNormalize(last.op.mean, last.op.std, scale)
            return len(names), Step(op, last.position, " with ".join(step.label for step in part))
    return 1, steps[at]


def _scales(op: Any) -> bool:
    return not hasattr(op, "dtype") or (op.dtype == "float32" and getattr(op, "scale", True))
