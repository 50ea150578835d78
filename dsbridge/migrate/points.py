"""Steps taken apart: each from torch's own state, and what of it differs: forward, gradient, clipping, the optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsbridge.errors import DsbridgeError
from dsbridge.migrate.apart import Apart, beside
from dsbridge.migrate.averages import planned_averages
from dsbridge.migrate.job import Start
from dsbridge.migrate.recording import Recording
from dsbridge.migrate.replay import Arrays
from dsbridge.migrate.setup_report import SetupReport
from dsbridge.migrate.state import planned_state
from dsbridge.model.judge import Measured, relative
from dsbridge.model.weights import Weights

TIE = (
    "something is within rounding of a kink, as an input of 0 is to a ReLU, and MindSpore is on its other side; "
    "the step is held against torch's from weights a rounding away, which is there, too"
)


def starts(report: SetupReport, recording: Recording, points: dict[int, Apart], weights: Weights) -> dict[int, Start]:
    """Where each step begins in MindSpore; one that has no place for torch's state is a finding."""
    found = {}
    for number, point in points.items():
        try:
            before, after = (
                planned_state(optimizer, point.names, weights.plan) for optimizer in (point.optimizer, point.later[0])
            )
            means = _averages(point, weights)
        except DsbridgeError as refused:
            report.add("optimizer-differs", "error", f"step {number + 1} alone", str(refused))
            continue
        micros = [[one.numpy() for one in micro.inputs] for micro in recording.steps[number].micros]
        found[number] = Start(weights.by_path(point.before), micros, {**before, **means[0]}, sorted({**after, **means[1]}))
    return found


def _averages(point: Apart, weights: Weights) -> tuple[Arrays, Arrays]:
    """Averages of weights before and after a step, as the written optimizer has them; nothing where none are kept."""
    exact = point.exact
    if not exact.averages[1]:
        return {}, {}
    before, after = (
        planned_averages(arrays, exact.averaged + number, untrained(point), weights.plan)
        for number, arrays in enumerate(exact.averages)
    )
    return before, after


def untrained(point: Apart) -> set[str]:
    """Parameters that get no gradient in a step."""
    return set(point.names.values()) - set(point.exact.gradients)


def judge_point(
    report: SetupReport, recording: Recording, word: str, number: int, point: Apart, got: Any, weights: Weights
) -> None:
    """One step from torch's own state: loss, gradients, the step that weights take, what the optimizer has gathered."""
    where = f"{word}, step {number + 1} alone"
    if got is None or "error" in got:
        stage, text = (got["stage"], got["error"]) if got else ("forward", "this step was not reached")
        report.add(f"{stage}-fails", "error", where, text)
        return
    loss = Measured(f"{where}, forward", relative(np.float64(point.exact.loss), got["loss"]), point.off("loss"))
    report.take("forward", where, loss)

    def gradient(theirs: Arrays) -> Measured:
        return Measured(f"{where}, gradient", _gradient_off(theirs, got["gradients"], weights), point.off("gradients"))

    off = gradient(point.exact.gradients)
    other = beside(recording, number, point, lambda theirs: gradient(theirs).fine) if loss.fine and not off.fine else None
    if other is not None:
        report.add("gradient-unsteady", "info", where, f"{off}; {TIE}")
        point, off = other, gradient(other.exact.gradients)
    report.take("gradient", where, off)
    gathered = _gathered(where, point, got["state"], weights)
    _judge_step(report, where, point, got["after"], weights, not gathered or not all(one.fine for one in gathered))
    for one in gathered:
        report.take("optimizer", where, one)
    before, after = _averages(point, weights)
    if after:
        report.judge("optimizer", f"{where}, averages", _moved(before, after, got["state"]), point.off("averages"))


def _gradient_off(theirs: Arrays, got: Arrays, weights: Weights) -> float:
    by_name = {weights.paths.get(name, name): name for name in weights.pairs.values()}
    exact = {by_name.get(path, path): array for path, array in weights.by_path(theirs).items()}
    return distance({name: array for name, array in exact.items() if name in got}, got)


def _gathered(where: str, point: Apart, got: dict[str, Any], weights: Weights) -> list[Measured]:
    """How far each kind of state is off after the step."""
    states = [planned_state(optimizer, point.names, weights.plan) for optimizer in point.later]
    found = []
    for attribute in sorted({key.partition(".")[0] for key in states[0]}):
        expected = ({key: array for key, array in one.items() if key.partition(".")[0] == attribute} for one in states)
        error = min(distance(one, got) for one in expected)
        found.append(Measured(f"{where}, {attribute}, optimizer", error, point.off_state()))
    return found


def distance(expected: dict[str, Any], got: dict[str, Any]) -> float:
    """The L2 norm of all differences together, relative to what is expected."""
    off = sum(float(np.linalg.norm(np.asarray(got[key], np.float64) - array)) ** 2 for key, array in expected.items())
    size = sum(float(np.linalg.norm(array)) ** 2 for array in expected.values())
    return float(np.sqrt(off / size)) if size else float(np.sqrt(off))


def _judge_step(
    report: SetupReport, where: str, point: Apart, got: dict[str, Any], weights: Weights, other_gradient: bool
) -> None:
    """``other_gradient``: whether the optimizer gathered something else as well, as it does of a gradient clipped otherwise."""
    after = {what: weights.by_path(arrays) for what, arrays in point.after.items()}
    begun = weights.by_path(point.before)
    error = _moved(begun, after["exact"], got)
    measured = Measured(f"{where}, optimizer", error, point.off("after"))
    clipping = "unclipped" in after and (
        _moved(begun, after["unclipped"], got) < 0.1 * error or (other_gradient and _between(after, got))
    )
    report.take("clipping" if clipping else "optimizer", where, measured, "the step that weights take: ")


def _moved(begun: dict[str, Any], expected: dict[str, Any], got: dict[str, Any]) -> float:
    """How far the step that was taken is from the one expected, relative to it."""
    steps = {key: array.astype(np.float64) - begun[key] for key, array in expected.items() if key in got}
    taken = {key: np.asarray(got[key], np.float64) - begun[key] for key in steps}
    return distance(steps, taken)


def _between(after: dict[str, Arrays], got: dict[str, Any]) -> bool:
    """Whether a step is off in the direction of the one without clipping: by a limit that is another."""
    exact, unclipped, taken = (
        np.concatenate([np.asarray(one[key], np.float64).ravel() for key in after["exact"] if key in got])
        for one in (after["exact"], after["unclipped"], got)
    )
    off, way = taken - exact, unclipped - exact
    size = float(np.dot(way, way))
    return bool(size and relative(off, way * (float(np.dot(off, way)) / size)) < 1e-3)
