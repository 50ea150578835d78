"""Original against translation on the user's own samples, with equal parameters: each operation, then the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.fallback import Original, from_theirs, to_theirs
from dsbridge.transforms.images import from_image
from dsbridge.transforms.lower import Lowered
from dsbridge.transforms.ops.values import Array
from dsbridge.transforms.program import Program, as_key
from dsbridge.transforms.randomness import Draws
from dsbridge.transforms.stage import Sample, Step, run
from dsbridge.transforms.table import Measured, TransformReport
from dsbridge.transforms.targets import Unpacked
from dsbridge.transforms.tree import Node

Reference = Callable[[Any], Any]


def verify(
    nodes: Sequence[Node], lowered: Lowered, program: Program, samples: Iterable[Any], report: TransformReport
) -> TransformReport:
    """The report with what was measured; see ``Translation.verify``."""
    comparison = Comparison(nodes, lowered, program)
    for number, value in enumerate(samples):
        comparison.sample(value, Draws(program.seed, as_key(number)))
    measured = comparison.measured()
    if not measured:
        raise TransformError("verify got no samples. Hint: pass a few images, e.g. [dataset[i][0] for i in range(8)]")
    return report.with_measured(measured)


class Comparison:
    """Originals, made to use our parameters, against our operations: sample by sample, each operation and the whole."""

    def __init__(self, nodes: Sequence[Node], lowered: Lowered, program: Program) -> None:
        self._by_position = _by_position(nodes)
        self._steps, self._program = lowered.steps, program
        self._found: dict[int, list[float | None]] = {}
        self._notes: dict[int, str] = {}

    def sample(self, value: Any, draws: Draws) -> Any:
        """Compare on one sample; returns what the originals make of its image."""
        theirs = image = self._image(value)
        for step, params, before, after in _traced(self._steps, image, draws):
            reference = _reference(self._by_position[step.position], step, params, draws)
            if reference is None:
                self._notes.setdefault(step.position, "no way is known to make the original use given parameters")
                reference = Original(_ours(step, params))
            self._note(step.position, after, _apply(reference, before, draws, step))
            theirs = _apply(reference, theirs, draws, step)
        self._note(0, run(self._program.steps, Sample(image), draws).image, theirs)
        return theirs

    def one_by_one(self, value: Any, draws: Draws) -> Any:
        """What our operations make of a sample's image when none are joined to one."""
        return run(self._steps, Sample(self._image(value)), draws).image

    def _image(self, value: Any) -> Any:
        return Unpacked(value, self._program.kind).sample.image

    def measured(self) -> list[Measured]:
        """What was found so far, by position; 0 is the whole."""
        return [Measured(at, len(all_), _worst(all_), self._notes.get(at, "")) for at, all_ in sorted(self._found.items())]

    def _note(self, position: int, ours: Any, theirs: Any) -> None:
        self._found.setdefault(position, []).append(_difference(ours, theirs))


def _by_position(nodes: Sequence[Node]) -> dict[int, Node]:
    return dict(enumerate((node for root in nodes for node in root.walk()), start=1))


def _traced(steps: Sequence[Step], image: Any, draws: Draws) -> Iterator[tuple[Step, Any, Any, Any]]:
    trace: list[tuple[Step, Any, Any, Any]] = []
    run(steps, Sample(image), draws, lambda *event: trace.append(event))
    yield from trace


def _reference(node: Node, step: Step, params: Any, draws: Draws) -> Any:
    """The original, made to use these parameters; None where nobody knows how."""
    if node.op is None or isinstance(step.op, Original):
        return step.op
    if node.foreign is None:  # an operation of ours is its own original
        return Original(_ours(step, params))
    if params == () and not hasattr(step.op, "draw"):
        return Original(node.original)
    if node.foreign.pin is None:
        return None
    return Original(node.foreign.pin(node.original, params))


def _ours(step: Step, params: Any) -> Reference:
    def again(image: Any) -> Any:
        from dsbridge.transforms.stage import apply

        sample = Sample(image.numpy() if hasattr(image, "numpy") else image)
        if params is not None:
            apply(step.op, sample, params)
        return to_theirs(sample.image)

    return again


def _apply(reference: Any, image: Any, draws: Draws, step: Step) -> Any:
    sample = Sample(image)
    reference.call(sample, draws, step.position)
    return sample.image


def _difference(ours: Any, theirs: Any) -> float | None:
    """The largest difference between two images; None where dtype, shape or number differ."""
    if isinstance(ours, tuple) or isinstance(theirs, tuple):
        if not (isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs)):
            return None
        return _worst([_difference(a, b) for a, b in zip(ours, theirs, strict=True)])
    return largest_difference(from_image(ours), from_image(from_theirs(theirs) if hasattr(theirs, "numpy") else theirs))


def largest_difference(a: Array, b: Array) -> float | None:
    """The largest difference between two arrays; None where dtype or shape differ. Infinite where only one is a NaN,
    or where what differs is no number.

    >>> largest_difference(np.zeros(2, np.uint8), np.array([0, 3], np.uint8))
    3.0
    """
    if a.dtype != b.dtype or a.shape != b.shape:
        return None
    if a.tobytes() == b.tobytes():
        return 0.0
    if a.dtype.kind not in "biuf":
        return np.inf
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _worst(differences: Sequence[float | None]) -> float | None:
    known = [one for one in differences if one is not None]
    return None if len(known) < len(differences) else max(known, default=0.0)
