"""The proof of a written training: replayed on the recorded batches, in both modes, beside torch in float32 and float64.

A training may carry rounding far (torch's own does: 1e-3 in the loss with AdamW and BatchNorm), so what counts as equal is held
against float64 runs whose weights begin a rounding away, and steps are taken apart from torch's own state as well.
"""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsbridge.errors import DsbridgeError
from dsbridge.migrate.apart import Apart, apart
from dsbridge.migrate.child import run_data
from dsbridge.migrate.job import Job, Start
from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.processes import environment
from dsbridge.migrate.recording import Recording
from dsbridge.migrate.replay import How, Run, replay
from dsbridge.migrate.state import planned_state
from dsbridge.model.judge import Measured, relative
from dsbridge.model.migrated import MigratedModel
from dsbridge.model.weights import Weights
from dsbridge.report import Report

RUN = Path(__file__).parent / "child" / "run_training.py"
STAGES = ("data", "forward", "gradient", "clipping", "schedule", "optimizer")
MODES = ((False, "PyNative"), (True, "graph"))
SHAKES, ROUNDING = 2, 6e-8  # float64 runs from weights a rounding away
TIMEOUT_S = 900


class SetupReport(Report):
    """What ``plan.verify`` measured.

    ``stage``: the first that differs, of data, forward, gradient, clipping, schedule, optimizer; empty if none does.

    >>> report = SetupReport()
    >>> report.judge("gradient", "graph, step 1 alone", 0.3, 1e-6)
    >>> report.stage, report.ok
    ('gradient', False)
    """

    def __init__(self) -> None:
        super().__init__("verify")
        self.measured: list[Measured] = []
        self.losses: dict[str, list[float]] = {}
        self.steps = 0

    @property
    def stage(self) -> str:
        """The first stage with an error."""
        found = {one.code.partition("-")[0] for one in self if one.severity == "error"}
        return next((stage for stage in STAGES if stage in found), "")

    def judge(self, stage: str, where: str, error: float, yardstick: float) -> None:
        """Note a figure; one that is too large is a finding of its stage."""
        measured = Measured(f"{where}, {stage}", error, yardstick)
        self.measured.append(measured)
        if not measured.fine:
            self.add(f"{stage}-differs", "error", where, str(measured))

    def __str__(self) -> str:
        stage = f"differs first in: {self.stage}\n" if self.stage else ""
        return "\n".join([*map(str, self.measured), stage + super().__str__()])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        rows = [{"what": m.what, "error": m.error, "torch_float32": m.yardstick, "ok": m.fine} for m in self.measured]
        return {**super().to_dict(), "stage": self.stage, "steps": self.steps, "measured": rows, "losses": self.losses}


@dataclass(slots=True)
class Reference:
    """Torch's side: float64, float32, float64 from weights a rounding away; steps taken apart."""

    exact: Run
    single: Run
    shaken: list[Run]
    points: dict[int, Apart] = field(default_factory=dict)


def verify(folder: Path, recording: Recording, pattern: Pattern, migrated: MigratedModel, steps: int) -> SetupReport:
    """Run the files of a folder on the first ``steps`` recorded steps."""
    report = SetupReport()
    steps = min(steps, len(recording.steps))
    recording, pattern = _cut(recording, pattern, steps)
    report.steps = steps
    if isinstance(recording.loader, bytes) and recording.training_loader:
        _data(report, folder, recording, pattern)
    apart_at = sorted({0, steps // 2, steps - 1})
    reference = references(recording, pattern, apart_at)
    weights = migrated.weights
    job = _job(recording, pattern, reference, weights, _states(report, reference, weights))
    with ThreadPoolExecutor(len(MODES)) as threads:
        results = list(threads.map(lambda mode: run(folder, replace(job, graph=mode[0])), MODES))
    report.losses["torch float64"] = reference.exact.losses
    report.losses["torch float32"] = reference.single.losses
    for (_, word), result in zip(MODES, results, strict=True):
        if isinstance(result, str):
            report.add("forward-fails", "error", word, result)
            continue
        report.losses[word] = result["losses"]
        for number in job.starts:
            _point(report, word, number, reference.points[number], result["points"].get(number), weights)
        _rates(report, word, recording, result["rates"])
        _whole(report, word, reference, result, weights)
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


def _states(report: SetupReport, reference: Reference, weights: Weights) -> dict[int, dict[str, Any]]:
    """Torch's optimizer state before each step that is taken apart, as the written optimizer has it."""
    found = {number: _state(report, number, point, weights) for number, point in reference.points.items()}
    return {number: state for number, state in found.items() if state is not None}


def _state(report: SetupReport, number: int, point: Apart, weights: Weights) -> dict[str, Any] | None:
    try:
        return planned_state(point.optimizer, point.names, weights.plan)
    except DsbridgeError as refused:
        report.add("optimizer-differs", "error", f"step {number + 1} alone", str(refused))
        return None


def _job(
    recording: Recording, pattern: Pattern, reference: Reference, weights: Weights, states: dict[int, dict[str, Any]]
) -> Job:
    micros = [[one.numpy() for one in micro.inputs] for step in recording.steps for micro in step.micros]
    epochs, begin = [], 0
    for count in pattern.epochs:
        epochs.append(micros[begin : begin + count])
        begin += count
    starts = {}
    for number, state in states.items():
        held = weights.by_path(reference.points[number].before)
        batches = [[one.numpy() for one in micro.inputs] for micro in recording.steps[number].micros]
        starts[number] = Start(held, batches, state)
    per_step = [len(step.micros) for step in recording.steps]
    return Job(False, epochs, pattern.ended, per_step, starts, len(per_step) // 2)


def run(folder: Path, job: Job) -> Any:
    """The result of a job, or the text of an error. The folder is left as it is."""
    with tempfile.TemporaryDirectory(prefix="dsbridge-migrate-") as scratch:
        for name in ("model.py", "train.py", "data.py", "weights.safetensors", "optimizer.npz", "state.json"):
            if (folder / name).exists():
                shutil.copy(folder / name, scratch)
        files = Path(scratch) / "job.pkl", Path(scratch) / "result.pkl"
        files[0].write_bytes(pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL))
        return child(RUN, scratch, *files)


def child(program: Path, folder: Any, job: Path, result: Path) -> Any:
    """What a program of ours left in ``result``, or the text of an error."""
    command = [sys.executable, str(program), str(folder), str(job), str(result)]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment(GLOG_v="3"), check=False
        )
    except subprocess.TimeoutExpired:
        return f"no result within {TIMEOUT_S} s"
    if result.exists():
        return pickle.loads(result.read_bytes())
    last = [line for line in ended.stderr.splitlines() if line.strip()][-1:]
    return f"the process ended with exit code {ended.returncode}: {' '.join(last)[:500]}"


def _data(report: SetupReport, folder: Path, recording: Recording, pattern: Pattern) -> None:
    """Batches of the written data.py against the recorded ones, bit by bit."""
    wanted = [[one.numpy() for one in micro.inputs] for step in recording.steps for micro in step.micros]
    epochs = [epoch.generators for epoch in recording.epochs if epoch.loader == recording.training_loader]
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


def _point(report: SetupReport, word: str, number: int, point: Apart, got: Any, weights: Weights) -> None:
    """One step from torch's own state."""
    where = f"{word}, step {number + 1} alone"
    if got is None or "error" in got:
        stage, text = (got["stage"], got["error"]) if got else ("forward", "this step was not reached")
        report.add(f"{stage}-fails", "error", where, text)
        return
    report.judge("forward", where, relative(np.float64(point.exact.loss), got["loss"]), point.off("loss"))
    by_name = {path: name for name, path in _paths(weights)}
    exact = {by_name.get(path, path): array for path, array in weights.by_path(point.exact.gradients).items()}
    held = {name: array for name, array in exact.items() if name in got["gradients"]}
    report.judge("gradient", where, _apart(held, got["gradients"]), point.off("gradients"))
    after = {what: weights.by_path(arrays) for what, arrays in point.after.items()}
    begun = weights.by_path(point.before)
    error = _moved(begun, after["exact"], got["after"])
    measured = Measured(f"{where}, optimizer", error, point.off("after"))
    report.measured.append(measured)
    if not measured.fine:
        unclipped = "unclipped" in after and _moved(begun, after["unclipped"], got["after"]) < 0.1 * error
        clipping = unclipped or ("unclipped" in after and _scaled(begun, after["exact"], got["after"]))
        stage = "clipping" if clipping else "optimizer"
        report.add(f"{stage}-differs", "error", where, f"the step that weights take: {measured}")


def _paths(weights: Weights) -> list[tuple[str, str]]:
    """(Parameter.name, path) of the cell."""
    return [(name, weights.paths.get(name, name)) for name in weights.pairs.values()]


def _apart(expected: dict[str, Any], got: dict[str, Any]) -> float:
    off = sum(float(np.linalg.norm(np.asarray(got[key], np.float64) - array)) ** 2 for key, array in expected.items())
    size = sum(float(np.linalg.norm(array)) ** 2 for array in expected.values())
    return float(np.sqrt(off / size)) if size else float(np.sqrt(off))


def _moved(begun: dict[str, Any], expected: dict[str, Any], got: dict[str, Any]) -> float:
    """How far the step that was taken is from the one expected, relative to it."""
    steps = {key: array.astype(np.float64) - begun[key] for key, array in expected.items() if key in got}
    taken = {key: np.asarray(got[key], np.float64) - begun[key] for key in steps}
    return _apart(steps, taken)


def _scaled(begun: dict[str, Any], expected: dict[str, Any], got: dict[str, Any]) -> bool:
    """Whether the step is the right one but for one factor: a limit that is another."""
    a = np.concatenate([(array.astype(np.float64) - begun[key]).ravel() for key, array in expected.items() if key in got])
    b = np.concatenate([(np.asarray(got[key], np.float64) - begun[key]).ravel() for key in expected if key in got])
    size = float(np.dot(a, a))
    return bool(size and relative(b, a * (float(np.dot(a, b)) / size)) < 1e-3)


def _rates(report: SetupReport, word: str, recording: Recording, rates: list[list[float]]) -> None:
    """Learning rates of each step, as float32."""
    for number, (step, got) in enumerate(zip(recording.steps, rates, strict=False)):
        theirs = [float(np.float32(options["lr"])) for options in step.options]
        if not np.allclose(sorted(theirs), sorted(got), rtol=2e-7, atol=0):
            text = f"learning rates are {got}, the script's {theirs}"
            report.add("schedule-differs", "error", f"{word}, step {number + 1}", text)
            return
    report.measured.append(Measured(f"{word}, learning rates of {len(rates)} steps, schedule", 0.0, 0.0))


def _whole(report: SetupReport, word: str, reference: Reference, got: dict[str, Any], weights: Weights) -> None:
    """Losses and final weights of the whole training, and of one that was interrupted."""
    exact, others = np.array(reference.exact.losses), [reference.single, *reference.shaken]
    ours = np.array(got["losses"])
    if ours.shape != exact.shape:
        report.add("schedule-differs", "error", word, f"{len(ours)} batches were trained on, of {len(exact)}")
        return
    scale = np.maximum(np.abs(exact), float(np.abs(exact).mean()))
    yard = max(float((np.abs(np.array(one.losses) - exact) / scale).max()) for one in others)
    _judge_whole(report, f"{word}, losses of {len(ours)} batches", float((np.abs(ours - exact) / scale).max()), yard)
    expected = weights.by_path(reference.exact.weights)
    yard = max(_apart(expected, weights.by_path(one.weights)) for one in others)
    _judge_whole(report, f"{word}, final weights", _apart(expected, got["weights"]), yard)
    if "resumed" in got:
        _judge_whole(report, f"{word}, final weights, resumed halfway", _apart(expected, got["resumed"]), yard)


def _judge_whole(report: SetupReport, where: str, error: float, yardstick: float) -> None:
    """A difference that no single step shows is the optimizer's: its state."""
    measured = Measured(where, error, yardstick)
    report.measured.append(measured)
    if not measured.fine:
        report.add("optimizer-differs", "error", where, str(measured))
