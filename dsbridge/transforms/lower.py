"""Choosing how each operation runs: by proven exactness, under a policy."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.transforms.fallback import Albumentation, Original
from dsbridge.transforms.fast import fast
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.containers import RandomApply, RandomOrder, Sequence
from dsbridge.transforms.ops.values import KINDS, State
from dsbridge.transforms.stage import Step
from dsbridge.transforms.tree import Node
from dsbridge.transforms.twins import Native, native_operations

POLICIES = ("exact", "near", "native")
EXACTNESS = ("exact", "near", "distribution")
"""From best to worst. ``near``: within a stated tolerance. ``distribution``: random in the same way, other pixels."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one operation of the user's pipeline runs.

    ``backend``: "kernel" (our own), "native" (MindSpore's), "python" (the user's object). ``tolerance``: the largest
    difference, in grey levels of uint8 or in the tensor's own unit; None where there is no bound.
    """

    position: int
    source: str
    backend: str
    exactness: str
    tolerance: float | None
    reason: str
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Lowered:
    """A pipeline ready to run: its steps, a row for each operation, and MindSpore's operations where they suffice."""

    steps: tuple[Step, ...]
    rows: tuple[Row, ...]
    native: tuple[Native, ...] = ()


def lower(nodes: Iterable[Node], state: State, policy: str) -> Lowered:
    """Choose a step for each node.

    >>> from dsbridge.transforms.ops.flip import RandomVerticalFlip
    >>> from dsbridge.transforms.tree import read
    >>> [row.backend for row in lower(read(RandomVerticalFlip()), State("pil", 3), "exact").rows]
    ['kernel']
    """
    if policy not in POLICIES:
        raise TransformError(f"no policy {policy!r}. Hint: it is one of {', '.join(POLICIES)}")
    rows: list[Row] = []
    steps, _ = _lower(nodes, state, policy, count(1), rows, 0)
    native = native_operations(steps, state.kind or "")
    if native:
        rows = [replace(row, backend="native", reason="in ds.map: MindSpore's own are bit-equal") for row in rows]
    return Lowered(steps, tuple(rows), native)


def _lower(
    nodes: Iterable[Node], state: State, policy: str, numbers: Any, rows: list[Row], depth: int
) -> tuple[tuple[Step, ...], State]:
    steps = []
    for node in nodes:
        position = next(numbers)
        label = f"operation {position} {node.label}"
        if hasattr(node.op, "choose"):
            rows.append(Row(position, node.label, "kernel", "exact", 0, "chooses by our own generator", depth))
            children, after = _branches(node, state, policy, numbers, rows, depth + 1)
            steps.append(Step(node.op, position, label, children))
            state = after
            continue
        op, row = _choose(node, state, policy, position, depth)
        rows.append(row)
        steps.append(Step(op, position, label))
        state = _end(node, state)
    return tuple(steps), state


def _branches(
    node: Node, state: State, policy: str, numbers: Any, rows: list[Row], depth: int
) -> tuple[tuple[Step, ...], State]:
    """Children that may or may not run: each must be able to take what any way through the others leaves."""
    in_turn = isinstance(node.op, (Sequence, RandomApply))
    start = state
    if isinstance(node.op, RandomOrder) and any(_end(child, state) != state for child in node.children):
        start = State(None)
    steps: list[Step] = []
    for child in node.children:
        found, end = _lower((child,), start, policy, numbers, rows, depth)
        steps += found
        start = end if in_turn else start
    return tuple(steps), _end(node, state)


def _end(node: Node, state: State) -> State:
    """What is known of the image behind a node."""
    if not hasattr(node.op, "choose"):
        if node.op is None:
            return State(None)
        return node.op.after(state) if hasattr(node.op, "after") else state
    if isinstance(node.op, (Sequence, RandomApply)):
        end = functools.reduce(lambda seen, child: _end(child, seen), node.children, state)
        ends = [end] if isinstance(node.op, Sequence) else [state, end]
    else:
        ends = [_end(child, state) for child in node.children] or [state]
        ends += [state] if isinstance(node.op, RandomOrder) else []
    return ends[0] if all(end == ends[0] for end in ends) else State(None)


def _choose(node: Node, state: State, policy: str, position: int, depth: int) -> tuple[Any, Row]:
    op, kind = node.op, state.kind

    def row(backend: str, exactness: str, tolerance: float | None, reason: str) -> Row:
        return Row(position, node.label, backend, exactness, tolerance, reason, depth)

    if op is None:
        return _original(node), row("python", "exact", 0, node.reason)
    if hasattr(op, "batch"):
        raise TransformError(
            f"operation {position} {node.label} mixes the samples of a batch, so that it cannot stand among operations on one. "
            "Hint: translate it alone and use its per_batch_map in ds.batch"
        )
    if policy == "native" and kind is not None:
        quick = fast(op, state)
        if quick is not None:
            return quick, row("native", quick.EXACTNESS, None, quick.REASON)
    kinds = KINDS if kind is None else (kind,)
    if all(one in op.EXACT for one in kinds):
        return op, row("kernel", "exact", 0, "")
    near = getattr(op, "NEAR", {})
    if policy != "exact" and all(one in op.EXACT or one in near for one in kinds):
        return op, row("kernel", "near", max(near.get(one, 0) for one in kinds), f"within a tolerance on {kind} images")
    if node.foreign is None:
        raise TransformError(
            f"operation {position} {node.label} cannot take {kind or 'unknown'} images, only {', '.join(op.EXACT)}"
        )
    unknown = "what it gets is only known when it runs" if kind is None else f"no kernel is proven equal on {kind} images"
    return _original(node), row("python", "exact", 0, unknown)


def _original(node: Node) -> Any:
    name = qualified(node.original)
    if name.startswith("albumentations."):
        return Albumentation(node.original)
    return Original(node.original, targets=name.startswith("torchvision.transforms.v2."))
