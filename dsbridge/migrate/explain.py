"""Whether a script was understood: trained again in torch, the setup must give the script's losses and weights."""

from __future__ import annotations

import ast
import linecache
import math
from typing import Any

import numpy as np

from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.recording import FOLLOWED, Recording
from dsbridge.migrate.replay import How, Run, replay
from dsbridge.report import Report

SAME = 2e-6  # relative: torch's own kernels are not the same bit for bit in each process


def explain(recording: Recording, pattern: Pattern, report: Report) -> None:
    """Add what is not explained. Where rates are not, they are set to what was recorded, to see whether the rest is."""
    run, which = _closest(recording, pattern)
    said = [micro.loss for step in recording.steps for micro in step.micros]
    if _rates(recording, run, report):
        run = replay(recording, pattern, How(random=which, recorded=True))
    wrong = next((n for n, (a, b) in enumerate(zip(said, run.losses, strict=True)) if not _same(a, b)), None)
    first = len(recording.steps[0].micros)
    if wrong is not None:
        stage = "forward" if wrong < first else "update"
        why = {
            "forward": "the operations that were seen between batch and loss do not give the script's loss",
            "update": "trained again from the same weights, losses are others: the script does something that was not seen",
        }[stage]
        step = _step_of(recording, wrong)
        report.add(
            f"{stage}-unexplained", "error", f"step {step}", f"{why} ({run.losses[wrong]:.7g}, the script's {said[wrong]:.7g})"
        )
        return
    _weights(recording, run, report)


def _closest(recording: Recording, pattern: Pattern) -> tuple[Run, int]:
    """With torch's generator as it was at the first module's call, or, if that does not explain the losses, at the batch."""
    said = [micro.loss for step in recording.steps for micro in step.micros]
    runs = []
    for which in (1, 0):
        run = replay(recording, pattern, How(random=which))
        if all(_same(a, b) for a, b in zip(said, run.losses, strict=True)):
            return run, which
        runs.append((run, which))
    return runs[0]


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= SAME * max(abs(a), abs(b)) or (math.isnan(a) and math.isnan(b))


def _step_of(recording: Recording, micro: int) -> int:
    for number, step in enumerate(recording.steps):
        micro -= len(step.micros)
        if micro < 0:
            return number + 1
    return len(recording.steps)


def _rates(recording: Recording, run: Run, report: Report) -> bool:
    """Options of groups that the schedule does not explain: the script sets them by hand."""
    for number, (step, ours) in enumerate(zip(recording.steps, run.options, strict=True)):
        for group, (theirs, mine) in enumerate(zip(step.options, ours, strict=True)):
            for key in FOLLOWED:
                if key in theirs and not _equal(theirs[key], mine.get(key)):
                    text = f"{key} of group {group} is {theirs[key]} in step {number + 1}, by the schedule {mine.get(key)}"
                    text += ": it is set by hand"
                    where = _set_at(recording, key) or f"step {number + 1}"
                    if "rates-unexplained" not in report:
                        report.add("rates-unexplained", "error", where, text, "use a scheduler of torch.optim.lr_scheduler")
                    return True
    return False


def _set_at(recording: Recording, key: str) -> str:
    """Where the script assigns to an option of a group; empty where no line is found."""
    for file in dict.fromkeys(event.where[0] for event in recording.events if event.where[0]):
        try:
            tree = ast.parse("".join(linecache.getlines(file)))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
            for target in targets:
                if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant) and target.slice.value == key:
                    return f"{file}:{node.lineno}"  # type: ignore[attr-defined]
    return ""


def _equal(a: Any, b: Any) -> bool:
    return bool(np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-9, atol=0))


def _weights(recording: Recording, run: Run, report: Report) -> None:
    """Weights and buffers after the last step."""
    for name, tensor in recording.end["weights"].items():
        got = run.weights.get(name)
        theirs = tensor.double().numpy() if tensor.dtype.is_floating_point else tensor.numpy()
        if got is None or name.endswith("num_batches_tracked"):
            continue
        off = float(np.linalg.norm(got - theirs)) / (float(np.linalg.norm(theirs)) or 1.0)
        if not off <= 10 * SAME and not np.array_equal(got, theirs):
            text = f"after {len(recording.steps)} steps {name} is {off:.2g} off the script's: it writes to weights itself"
            report.add("weights-unexplained", "error", name, text)
            return
