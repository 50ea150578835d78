"""Which parameters' state moves where, and through which operations: from a plan to pairs of two optimizers' parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.checkpoint.param_groups import Array, StatePairs, TorchState
from dsbridge.checkpoint.rows import Operation
from dsbridge.errors import CheckpointError
from dsbridge.report import Report


@dataclass(frozen=True, slots=True)
class Link:
    """Parameters whose state moves together: from torch's names to MindSpore's ``Parameter.name``."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    operations: tuple[Operation, ...] = ()


def links(plan: StatePairs | None, names: Iterable[str]) -> list[Link]:
    """The links of a plan: its rows that are fine, else its pairs (and operations); without a plan each name stays.

    >>> links(None, ["w"])
    [Link(sources=('w',), targets=('w',), operations=())]
    """
    if plan is None:
        return [Link((name,), (name,)) for name in names]
    if hasattr(plan, "rows"):
        return [Link(row.sources, row.targets, row.operations) for row in plan.rows if row.fine and row.sources and row.targets]
    operations = getattr(plan, "operations", {})
    return [Link((name,), (target,), tuple(operations.get(name, ()))) for name, target in plan.pairs.items()]


def places_of(optimizer: Any) -> dict[str, int]:
    """Where each parameter of a MindSpore optimizer is, by ``Parameter.name``; ``CheckpointError`` for a name used twice.

    >>> from types import SimpleNamespace
    >>> places_of(SimpleNamespace(parameters=[SimpleNamespace(name="w")]))
    {'w': 0}
    """
    places: dict[str, int] = {}
    for index, parameter in enumerate(optimizer.parameters):
        if places.setdefault(parameter.name, index) != index:
            raise CheckpointError(
                f"two parameters of the MindSpore optimizer are called {parameter.name!r}",
                hint="network.update_parameters_name()",
            )
    return places


def pair_up(torch: TorchState, places: Mapping[str, int], found: Sequence[Link], report: Report) -> list[Link]:
    """The links between parameters of both optimizers; what is left over on either side is reported ("unmatched", "missing").

    >>> report = Report("pairs")
    >>> torch = TorchState("SGD", ({},), {"w": 0}, {})
    >>> pair_up(torch, {"w": 0, "b": 1}, links(None, ["w"]), report)[0].targets
    ('w',)
    >>> [finding.where for finding in report]
    ['b']
    """
    moves: list[Link] = []
    sources: set[str] = set()
    filled: set[str] = set()
    for link in found:
        held = [name for name in link.sources if name in torch.group_of]
        if not held:
            continue  # a buffer, or a weight that torch does not train
        sources.update(link.sources)
        if len(held) < len(link.sources) or any(target not in places for target in link.targets):
            if any(torch.state.get(name) for name in held):
                report.add(
                    "not-trained",
                    "error",
                    held[0],
                    f"has state, but not all of {[*link.sources, *link.targets]} are in an optimizer",
                )
            elif any(target in places for target in link.targets):
                report.add("not-trained", "error", held[0], f"torch trains only {held} of {list(link.sources)}")
            else:
                report.add("frozen", "info", held[0], f"no state, and {list(link.targets)} is not in the MindSpore optimizer")
            continue
        filled.update(link.targets)
        moves.append(link)
    for name in torch.group_of:
        if name not in sources:
            severity, what = ("error", "its state has") if torch.state.get(name) else ("info", "without state, it has")
            report.add("unmatched", severity, name, f"{what} no MindSpore parameter", "name it in the plan's pairs")
    for name in places:
        if name not in filled:
            hint = "leave it out of the MindSpore optimizer, or name its source in the plan's pairs"
            report.add("missing", "error", name, "the MindSpore optimizer trains it, the torch optimizer does not", hint)
    return moves


def lay_out(operations: Iterable[Operation], arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Run a weight's operations on its state. Casts are left out: state has the dtype of its holder.

    Raises ``CheckpointError`` for an operation that does more than move elements: moments cannot follow it.

    >>> lay_out((), [np.ones(2)])
    (array([1., 1.]),)
    """
    out, labels = tuple(arrays), _labels(arrays)
    for operation in operations:
        if type(operation).__name__ == "Cast":
            continue
        out, moved = operation.apply(out), operation.apply(labels)
        flat = np.sort(np.concatenate([part.reshape(-1) for part in moved])) if moved else np.empty(0)
        if not np.array_equal(flat, np.arange(sum(part.size for part in labels))):
            raise CheckpointError(
                f"optimizer state cannot follow {operation!r}: it does more than move elements",
                hint="fold the weight in torch before the training that is continued",
            )
        labels = moved
    return out


def backwards(operations: Sequence[Operation], shapes: tuple[tuple[int, ...], ...], name: str) -> list[Operation]:
    """The operations that undo a chain; ``shapes``: of the sources. Raises ``CheckpointError`` where one cannot be undone.

    >>> backwards((), ((2, 3),), "w")
    []
    """
    back = []
    for operation in operations:
        inverse = operation.inverse(shapes)
        if inverse is None:
            raise CheckpointError(f"the state of {name!r} cannot go back through {operation!r}, which has no inverse")
        back.append(inverse)
        shapes = operation.shapes(shapes)
    return back[::-1]


def _labels(arrays: Sequence[Array]) -> tuple[Array, ...]:
    starts = np.cumsum([0, *(array.size for array in arrays)])
    return tuple(np.arange(start, start + a.size).reshape(a.shape) for start, a in zip(starts, arrays, strict=False))
