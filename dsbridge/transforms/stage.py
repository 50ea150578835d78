"""Running operations on one sample: parameters drawn once, applied to image, boxes and masks alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Boxes, Pixels, frame_of
from dsbridge.transforms.randomness import Draws


@dataclass(frozen=True, slots=True)
class Step:
    """One operation at its place. ``position`` is unique in the pipeline and keys its random numbers.

    ``children``: of a container (RandomApply, RandomChoice, RandomOrder), whose ``choose`` says which of them run.
    """

    op: Any
    position: int
    label: str
    children: tuple[Step, ...] = ()


@dataclass(slots=True)
class Sample:
    """One sample on its way. ``image``: a PIL image, an array [C, H, W], or what a user's function made of it."""

    image: Any
    boxes: list[Boxes] = field(default_factory=list)
    masks: list[Array] = field(default_factory=list)


Trace = Callable[[Step, Any, Any, Any], None]
"""Called after each operation with (step, params, image before, image after)."""


def run(steps: Sequence[Step], sample: Sample, draws: Draws, trace: Trace | None = None) -> Sample:
    """Run the steps on a sample, in place; returns it."""
    for step in steps:
        op = step.op
        if hasattr(op, "choose"):
            chosen = op.choose(draws.at(step.position), len(step.children))
            run([step.children[index] for index in chosen], sample, draws, trace)
            continue
        before = sample.image
        try:
            params = _run_op(op, sample, draws, step.position)
        except TransformError as exc:
            raise TransformError(f"{step.label}: {exc}") from exc
        except Exception as exc:
            raise TransformError(f"{step.label} failed: {type(exc).__name__}: {exc}") from exc
        if trace is not None:
            trace(step, params, before, sample.image)
    return sample


def _run_op(op: Any, sample: Sample, draws: Draws, position: int) -> Any:
    if hasattr(op, "call"):  # the user's own object: it draws from the global generators, which are seeded for it
        op.call(sample, draws, position)
        return ()
    params: Any = ()
    if hasattr(op, "draw"):
        params = op.draw(draws.at(position), frame_of(sample.image))
        if params is None:
            return None
    apply(op, sample, params)
    return params


def apply(op: Any, sample: Sample, params: tuple[Any, ...]) -> None:
    """Apply an operation with these parameters to everything in the sample."""
    image = sample.image
    if isinstance(image, Pixels):
        image, method = _on_pixels(op, image)
    else:
        method = getattr(op, _method_for(image), None)
    if method is None:
        raise TransformError(f"{type(op).__name__} cannot take {describe(image)}")
    if sample.boxes:
        sample.boxes = [op.boxes(boxes, *params) for boxes in sample.boxes] if hasattr(op, "boxes") else sample.boxes
    if sample.masks:
        sample.masks = [op.mask(mask, *params) for mask in sample.masks] if hasattr(op, "mask") else sample.masks
    sample.image = method(image, *params)


def _on_pixels(op: Any, image: Pixels) -> tuple[Any, Any]:
    """What to give to which method where a PIL image has not been made yet: it is made only if there is no other way."""
    for name in ("pixels", "hwc"):
        if hasattr(op, name):
            return image.array, getattr(op, name)
    if getattr(op, "ALIKE", False):
        array = image.array if image.array.ndim == 3 else image.array[..., None]
        return array.transpose(2, 0, 1), lambda planes, *params: Pixels(op.chw(planes, *params).transpose(1, 2, 0))
    return image.pil(), getattr(op, "pil", None)


def _method_for(image: Any) -> str:
    if isinstance(image, np.ndarray):
        return "chw"
    return "pil" if hasattr(image, "getbands") else "hwc"


def describe(value: Any) -> str:
    """A value's type, with dtype and shape where it has them.

    >>> describe(np.zeros((3, 4), np.uint8)), describe(None)
    ('an array of uint8[3, 4]', 'NoneType')
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        kind = "an array" if isinstance(value, np.ndarray) else f"a {type(value).__qualname__}"
        return f"{kind} of {value.dtype}{list(value.shape)}"
    return f"a PIL image of mode {value.mode}" if hasattr(value, "getbands") else type(value).__qualname__
