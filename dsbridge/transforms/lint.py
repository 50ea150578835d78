"""``lint``: known traps in a pipeline of MindSpore's own operations, found without running it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.frameworks.detect import is_instance, loaded
from dsbridge.report import Finding, Report
from dsbridge.transforms.lint_random import ACROSS
from dsbridge.transforms.lint_rules import EITHER, NATIVE, PYTHON, RULES, Place, rescaled

_DATASETS = "mindspore.dataset.engine.datasets"
_OPERATIONS = ("mindspore.dataset.vision.transforms", "mindspore.dataset.transforms.transforms")
_NO_SEED = 5489  # what MindSpore has for none; setting it is setting none (measured)
_TO_ARRAY = ("ToNumpy", "RandomErasing", "LinearTransformation", "HsvToRgb", "RgbToHsv", "MixUp")


def lint(pipeline: Any) -> Report:
    """Find the known traps in a MindSpore dataset, a list of operations, or one operation; runs and changes nothing.

    A dataset is read with all it is made of: the operations, columns and workers of each ``map``, ``batch``'s function.
    A list is taken as the list of one ``map``, whose workers are not known. Traps that need a seed
    (``mindspore.set_seed``, ``mindspore.dataset.config.set_seed``) are judged by whether one is set now.

    Raises ``TransformError`` for what is none of these.

    >>> import mindspore.dataset.vision as vision
    >>> report = lint([vision.RandomHorizontalFlip(), vision.RandomVerticalFlip()])
    >>> [(finding.code, finding.severity, finding.where) for finding in report]
    [('shared-seed', 'error', 'operation 1 RandomHorizontalFlip; operation 2 RandomVerticalFlip')]
    >>> len(lint([vision.Decode(), vision.ToPIL(), vision.Resize(256)]))
    0
    """
    mds = loaded("mindspore.dataset")
    seeded = mds is not None and mds.config.get_seed() != _NO_SEED
    walk = _Walk(seeded)
    if is_instance(pipeline, f"{_DATASETS}.Dataset"):
        walk.dataset(pipeline)
    else:
        walk.run(_listed(pipeline), _Flow(), Place(None, "", "", seeded=seeded), "operation ")
    alone = (finding for place in walk.places for rule in RULES for finding in rule(place))
    across = (finding for rule in ACROSS for finding in rule(walk.places))
    return Report("lint", [*walk.findings, *alone, *across])


def _listed(pipeline: Any) -> list[Any]:
    ops = list(pipeline) if isinstance(pipeline, (list, tuple)) else [pipeline]
    for number, op in enumerate(ops, 1):
        if isinstance(op, type) or not callable(op):
            hint = f"write {op.__name__}() with its settings" if isinstance(op, type) else "pass what Dataset.map takes"
            raise TransformError(
                f"lint wants a mindspore.dataset Dataset or operations, got {op!r} as number {number}. Hint: {hint}"
            )
    return ops


@dataclass(slots=True)
class _Flow:
    """What is known between two operations: the mode for the next, PIL images (None: unknown), how values are scaled."""

    mode: str = NATIVE
    pil: bool | None = False
    scale: str = "raw"


class _Walk:
    """Collects the places of a pipeline, in the order in which samples meet them."""

    def __init__(self, seeded: bool) -> None:
        self.seeded, self.maps = seeded, 0
        self.places: list[Place] = []
        self.findings: list[Finding] = []
        self._seen: dict[int, dict[str, str]] = {}

    def dataset(self, node: Any) -> dict[str, str]:
        """Walk what a dataset is made of, then itself; returns how each known column is scaled ("": the first)."""
        if id(node) in self._seen:
            return self._seen[id(node)]
        scales: dict[str, str] = {}
        for child in node.children:
            scales |= self.dataset(child)
        where = type(node).__name__
        if is_instance(node, f"{_DATASETS}.MapDataset"):
            self.maps += 1
            where = f"map {self.maps}"
            scales = self._map(node, where, scales)
        elif is_instance(node, f"{_DATASETS}.BatchDataset") and node.per_batch_map is not None:
            where = "batch"
            self._inside(node.per_batch_map, Place(None, "", "batch, per_batch_map", seeded=self.seeded))
            scales = dict.fromkeys([*scales, *node.output_columns, *node.input_columns], "unknown")
        elif is_instance(node, f"{_DATASETS}.RenameDataset"):
            names = dict(zip(node.input_column_names, node.output_column_names, strict=True))
            scales = {names.get(column, column): scale for column, scale in scales.items()}
        self._workers(node, where)
        self._seen[id(node)] = scales
        return scales

    def _map(self, node: Any, where: str, scales: dict[str, str]) -> dict[str, str]:
        columns = node.input_columns or [""]
        mds = loaded("mindspore.dataset")
        workers = node.num_parallel_workers or (mds.config.get_num_parallel_workers() if mds else 0)
        python = any(_mode_set(op) == PYTHON or not _name(op) for op in _flat(node.operations))
        frame = Place(None, "", "", map=self.maps, workers=workers, columns=len(columns), seeded=self.seeded)
        frame = replace(frame, processes=bool(node.python_multiprocessing) and python)
        flow = _Flow(scale=scales.get(columns[0], "raw"))
        self.run(node.operations, flow, frame, f"{where}, operation ")
        return scales | dict.fromkeys(node.output_columns or columns, flow.scale)

    def _workers(self, node: Any, where: str) -> None:
        cores, workers = os.cpu_count() or 1, node.num_parallel_workers
        if workers is not None and workers > cores:
            message = f"num_parallel_workers={workers} with {cores} cores: MindSpore refuses more workers than cores"
            self.findings.append(Finding("workers", "error", where, message, "take min(workers, os.cpu_count())"))

    def run(self, ops: Sequence[Any], flow: _Flow, frame: Place, path: str, caller: str = "map") -> None:
        """Note operations that follow each other; ``flow`` is carried on.

        ``caller``: who runs them, the "map" or a container in NATIVE or PYTHON mode, as they settle the mode differently.
        """
        for number, op in enumerate(ops, 1):
            op = op.transform if is_instance(op, "mindspore.dataset.transforms.py_transforms_util.FuncWrapper") else op
            name = _name(op)
            where = f"{path}{number} {name or getattr(op, '__name__', type(op).__name__)}"
            if name == "Compose":
                self.run(op.transforms, flow, frame, f"{where} > ", caller)
                continue
            if not name:
                self._inside(op, replace(frame, where=where))
                flow.mode = NATIVE
                flow.pil, flow.scale = (False, flow.scale) if op is np.array or op is np.asarray else (None, "unknown")
                continue
            mode, eager = _SETTLE[caller](op, flow, frame)
            previous = flow.mode if caller == "map" else mode
            place = replace(frame, op=op, name=name, where=where, mode=mode, previous=previous, eager=eager, scale=flow.scale)
            self.places.append(place)
            self._children(place, flow)
            flow.mode = mode
            flow.pil = _is_pil_after(op, name, mode, flow.pil)
            flow.scale = rescaled(op, name, flow.scale)

    def _children(self, place: Place, flow: _Flow) -> None:
        for gates, children in _branches(place.op, place.name):
            inner = replace(flow)
            frame = replace(place, gates=place.gates + gates, nested=True)
            self.run(
                children, inner, frame, f"{place.where} > ", NATIVE if place.mode == NATIVE and not place.eager else PYTHON
            )
            if inner.scale != flow.scale:
                flow.scale = "unknown"

    def _inside(self, function: Any, frame: Place) -> None:
        """Note the operations that a Python function holds: it calls them one by one."""
        for op in _held(function):
            name = _name(op)
            self.places.append(replace(frame, op=op, name=name, where=f"{frame.where} > {name}", mode=EITHER, eager=True))


def _name(op: Any) -> str:
    """The name of the operation's class in MindSpore; "" for what is not MindSpore's."""
    return next((cls.__name__ for cls in type(op).__mro__ if cls.__module__ in _OPERATIONS), "")


def _flat(ops: Sequence[Any]) -> Iterator[Any]:
    for op in ops:
        yield from _flat(op.transforms) if _name(op) == "Compose" else [op]


def _mode_set(op: Any) -> str | None:
    implementation = getattr(op, "implementation", None)
    return None if implementation is None else PYTHON if implementation.name == "PY" else NATIVE


def _in_map(op: Any, flow: _Flow, frame: Place) -> tuple[str, bool]:
    mode = _mode_set(op) or flow.mode
    return mode, frame.processes and mode == NATIVE


def _in_native(op: Any, flow: _Flow, frame: Place) -> tuple[str, bool]:
    return NATIVE if hasattr(op, "parse") else PYTHON, False


def _in_python(op: Any, flow: _Flow, frame: Place) -> tuple[str, bool]:
    if _mode_set(op) == PYTHON or (flow.pil and hasattr(op, "_execute_py")):
        return PYTHON, False
    return EITHER if flow.pil is None and hasattr(op, "_execute_py") else NATIVE, True


_SETTLE: dict[str, Callable[[Any, _Flow, Place], tuple[str, bool]]] = {
    "map": _in_map,
    NATIVE: _in_native,
    PYTHON: _in_python,
}


def _is_pil_after(op: Any, name: str, mode: str, before: bool | None) -> bool | None:
    if name == "ToPIL" or (name == "Decode" and op.to_pil):
        return True
    return False if mode == NATIVE or name in _TO_ARRAY else before


def _branches(op: Any, name: str) -> Iterator[tuple[tuple[Any, ...], Sequence[Any]]]:
    """The operations in a container, as (what decides whether they run, those that run together)."""
    if name == "RandomApply":
        yield (() if op.prob == 1 else ((name, op.prob),)), op.transforms
    elif name == "RandomOrder":
        yield from (((), [child]) for child in op.transforms)
    elif name in ("RandomChoice", "UniformAugment"):
        alone = name == "RandomChoice" and len(op.transforms) == 1  # then it runs for every row
        yield from ((() if alone else ((id(op), index),), [child]) for index, child in enumerate(op.transforms))
    elif name == "BoundingBoxAugment":
        yield ((id(op),),), [op.transform]
    elif name == "RandomSelectSubpolicy":
        for index, sequence in enumerate(op.policy):
            for position, (child, prob) in enumerate(sequence):
                yield ((id(op), index, None if prob == 1 else position),), [child]


def _held(value: Any, depth: int = 3) -> Iterator[Any]:
    """MindSpore's operations within reach of a Python function: what it is bound to, encloses, or names."""
    if depth and _name(value):
        yield value
    elif depth:
        for part in _parts(value):
            yield from _held(part, depth - 1)


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return list(getattr(value.__self__, "__dict__", {}).values())
    if isinstance(value, FunctionType):
        named = [value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__]
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]  # an empty one has none
        return [*cells, *(one for one in named if _name(one) or isinstance(one, (list, tuple)))]
    return list(vars(value).values()) if callable(value) and hasattr(value, "__dict__") and not isinstance(value, type) else ()
