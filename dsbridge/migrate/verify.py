"""The proof of a written training: replayed on the recorded batches, in both modes, beside torch in float32 and float64.

A training may carry rounding far (torch's own does: 1e-3 in the loss with AdamW and BatchNorm), so what counts as equal is held
against float64 runs whose weights begin a rounding away, and steps are taken apart from torch's own state as well. If the whole
is off and nothing else is, every step is taken apart: what is right step by step is said to carry rounding, with the figure.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsbridge.migrate.apart import Apart, apart
from dsbridge.migrate.averages import planned_averages
from dsbridge.migrate.child import run_data
from dsbridge.migrate.job import Start
from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.points import distance, judge_point, starts, untrained
from dsbridge.migrate.recording import Recording, whole_data
from dsbridge.migrate.replay import Arrays, How, Run, materials, replay
from dsbridge.migrate.runs import child, in_both_modes, job_of
from dsbridge.migrate.setup_report import SetupReport
from dsbridge.migrate.stepwise import every_step
from dsbridge.model.judge import Measured
from dsbridge.model.migrated import MigratedModel
from dsbridge.model.weights import Weights

SHAKES, ROUNDING = 2, 6e-8  # float64 runs from weights a rounding away
CARRIED = (
    "every step is right where it begins with torch's own weights and state, and begins where the last one ended: "
    "this training carries MindSpore's rounding further than torch's"
)


@dataclass(slots=True)
class Reference:
    """Torch's side: float64, float32, float64 from weights a rounding away; steps taken apart."""

    exact: Run
    single: Run
    shaken: list[Run]
    points: dict[int, Apart] = field(default_factory=dict)


def verify(folder: Path, recording: Recording, pattern: Pattern, migrated: MigratedModel, steps: int) -> SetupReport:
    """Run the files of a folder on the first ``steps`` recorded steps."""
    report, weights = SetupReport(), migrated.weights
    steps = min(steps, len(recording.steps))
    recording, pattern = _cut(recording, pattern, steps)
    report.steps = steps
    whole = whole_data(recording, materials(recording).program.paths) is not None
    if whole or (isinstance(recording.loader, bytes) and recording.training_loader):
        _data(report, folder, recording, pattern, whole)
    reference = references(recording, pattern, sorted({0, steps // 2, steps - 1}))
    begins = starts(report, recording, reference.points, weights)
    results = in_both_modes(folder, replace(job_of(recording, pattern, begins), halfway=steps // 2))
    report.losses["torch float64"] = reference.exact.losses
    report.losses["torch float32"] = reference.single.losses
    far: list[Measured] = []
    for word, result in results.items():
        if "error" in result:
            report.add(f"{result['stage']}-fails", "error", word, result["error"])
            continue
        report.losses[word] = result["losses"]
        if 0 in begins:
            _begun(report, word, begins[0], result["begun_state"])
        for number in begins:
            got = result["points"].get(number)
            judge_point(report, recording, word, number, reference.points[number], got, weights)
        _rates(report, word, recording, result["rates"])
        far += _whole(report, word, reference, result, weights)
    if far and report.ok:
        every_step(report, folder, recording, pattern, weights, set(begins))
    for measured in far:
        if report.ok:
            report.add("rounding-carried", "warning", "verify", f"{measured}; {CARRIED}")
        else:
            report.add("optimizer-differs", "error", "verify", str(measured))
    return report


def references(recording: Recording, pattern: Pattern, points: Sequence[int]) -> Reference:
    """Train in torch."""
    exact = replay(recording, pattern, How(torch.float64))
    single = replay(recording, pattern, How(points=tuple(points)))
    shaken = [replay(recording, pattern, How(torch.float64, shake=(ROUNDING, seed))) for seed in range(SHAKES)]
    return Reference(exact, single, shaken, {number: apart(recording, single.points[number], number) for number in points})


def _cut(recording: Recording, pattern: Pattern, steps: int) -> tuple[Recording, Pattern]:
    """The first steps only."""
    kept = recording.steps[:steps]
    left = sum(len(step.micros) for step in kept)
    epochs = []
    for count in pattern.epochs:
        if left > 0:
            epochs.append(min(count, left))
        left -= count
    ended = (
        (left < 0) is False and pattern.ended if len(epochs) == len(pattern.epochs) else left <= 0 and _exact(pattern, epochs)
    )
    return replace(recording, steps=kept), replace(
        pattern, epochs=epochs, ended=ended, schedules=[one for one in pattern.schedules if one[0] <= steps]
    )


def _exact(pattern: Pattern, epochs: list[int]) -> bool:
    return epochs == pattern.epochs[: len(epochs)]


def _data(report: SetupReport, folder: Path, recording: Recording, pattern: Pattern, whole: bool) -> None:
    """Batches of the written data.py against the recorded ones, bit by bit."""
    wanted = [[one.numpy() for one in micro.inputs] for step in recording.steps for micro in step.micros]
    epochs = [epoch.generators for epoch in recording.epochs if epoch.loader == recording.training_loader]
    epochs = [{}] if whole else epochs
    with tempfile.TemporaryDirectory(prefix="dsbridge-migrate-") as scratch:
        files = Path(scratch) / "job.pkl", Path(scratch) / "result.pkl"
        files[0].write_bytes(pickle.dumps((pattern.epochs, epochs[: len(pattern.epochs)])))
        got = child(Path(run_data.__file__), folder, *files)
    if isinstance(got, str):
        report.add("data-fails", "error", "data.py", got)
        return
    if len(got) != len(wanted):
        report.add("data-differs", "error", "data.py", f"{len(got)} batches, the script's were {len(wanted)}")
        return
    for number, (theirs, ours) in enumerate(zip(wanted, got, strict=True)):
        for place, (a, b) in enumerate(zip(theirs, ours, strict=True)):
            if a.shape != b.shape or a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                report.add("data-differs", "error", f"batch {number}, input {place}", _difference(a, b))
                return
    report.measured.append(Measured(f"{len(wanted)} batches of data.py, data", 0.0, 0.0))


def _difference(a: Any, b: Any) -> str:
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{b.dtype} {list(b.shape)}, the script's is {a.dtype} {list(a.shape)}"
    return (
        f"values are others than the script's (the largest difference is {np.abs(a.astype(float) - b.astype(float)).max():.3g})"
    )


def _begun(report: SetupReport, word: str, start: Start, got: Arrays) -> None:
    """Steps that are right one by one are a right training only if the first one begins with torch's state."""
    other = [key for key, array in start.optimizer.items() if not np.array_equal(np.asarray(array, got[key].dtype), got[key])]
    if other:
        text = f"the optimizer begins with another state than torch's: {', '.join(other[:3])}"
        report.add("optimizer-differs", "error", f"{word}, step 1", text)


def _rates(report: SetupReport, word: str, recording: Recording, rates: list[list[float]]) -> None:
    """Learning rates of each step, as float32."""
    for number, (step, got) in enumerate(zip(recording.steps, rates, strict=False)):
        theirs = [float(np.float32(options["lr"])) for options in step.options]
        if not np.allclose(sorted(theirs), sorted(got), rtol=2e-7, atol=0):
            text = f"learning rates are {got}, the script's {theirs}"
            report.add("schedule-differs", "error", f"{word}, step {number + 1}", text)
            return
    report.measured.append(Measured(f"{word}, learning rates of {len(rates)} steps, schedule", 0.0, 0.0))


def _whole(report: SetupReport, word: str, reference: Reference, got: dict[str, Any], weights: Weights) -> list[Measured]:
    """Losses and final weights of the whole training, and of one that was interrupted. Returns what is too far off."""
    exact, others = np.array(reference.exact.losses), [reference.single, *reference.shaken]
    ours = np.array(got["losses"])
    if ours.shape != exact.shape:
        report.add("schedule-differs", "error", word, f"{len(ours)} batches were trained on, of {len(exact)}")
        return []
    scale = np.maximum(np.abs(exact), float(np.abs(exact).mean()))
    yard = max(float((np.abs(np.array(one.losses) - exact) / scale).max()) for one in others)
    losses = Measured(f"{word}, losses of {len(ours)} batches", float((np.abs(ours - exact) / scale).max()), yard)
    expected = weights.by_path(reference.exact.weights)
    yard = max(distance(expected, weights.by_path(one.weights)) for one in others)
    final = Measured(f"{word}, final weights", distance(expected, got["weights"]), yard)
    made = [losses, final]
    if "resumed" in got:
        where = f"{word}, final weights, resumed halfway"
        if final.fine:
            made.append(Measured(where, distance(expected, got["resumed"]), yard))
        else:
            whole = {path: array for path, array in got["weights"].items() if array.dtype.kind == "f"}
            report.judge("optimizer", f"{where}, beside the whole training's", distance(whole, got["resumed"]), 0.0)
    if reference.exact.averages:
        made.append(_averages(word, reference, got["averages"], weights))
    report.measured += made
    return [one for one in made if not one.fine]


def _averages(where: str, reference: Reference, got: dict[str, Any], weights: Weights) -> Measured:
    left = untrained(next(iter(reference.points.values())))
    exact, *others = (
        {key: array for key, array in planned_averages(run.averages, 0, left, weights.plan).items() if key != "averaged"}
        for run in (reference.exact, reference.single, *reference.shaken)
    )
    if exact.keys() - got.keys():
        return Measured(f"{where}, final averages, which are not kept", float("inf"), 0.0)
    return Measured(f"{where}, final averages", distance(exact, got), max(distance(exact, one) for one in others))
