"""What a script does to weights and gradients itself, beside backward and the optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from dsbridge.migrate.child.tape import Entry, Made, Tape
from dsbridge.migrate.child.where import Place


def written(tape: Tape, parameters: Iterable[torch.nn.Parameter]) -> list[tuple[str, Place, str]]:
    """Findings about operations that write to weights or gradients, or keep something made of weights beside them."""
    held = list(parameters)
    weights = {p.data_ptr() for p in held}
    gradients = {p.grad.data_ptr() for p in held if p.grad is not None}
    found: dict[tuple[str, Place, str], None] = {}
    for entry in tape.entries:
        target = _target(entry, tape)
        if not entry.writes or target is None:
            continue
        if target in gradients:
            text = "gradients are changed by hand before the optimizer's step"
            found["gradients-changed", entry.place, text] = None
        elif target in weights:
            found["weights-written", entry.place, "weights are written to by hand, beside the optimizer"] = None
        elif any(tensor.data_ptr() in weights for tensor in entry.reads if tensor.numel()):
            text = "something made of the weights is kept beside them, an average perhaps; it is left out"
            found["weights-read", entry.place, text] = None
    return list(found)


def _target(entry: Entry, tape: Tape) -> int | None:
    """The memory that an operation writes to."""
    first: Any = entry.args[0] if entry.args else None
    if isinstance(first, Made):
        first = tape.entries[first.entry].result
    return first.data_ptr() if isinstance(first, torch.Tensor) else None
