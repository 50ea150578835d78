"""The proof: the emitted source against torch in float64, forward and every gradient, in graph and PyNative mode.

Weights and statistics are perturbed first, as fresh ones hide mix-ups; torch's own float32 error is the yardstick. Each run of
the cell is a process of its own, and fetches everything before it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dsbridge.model import oracle
from dsbridge.model.calls import passed
from dsbridge.model.convert import Draft
from dsbridge.model.divergence import first_difference
from dsbridge.model.jobs import Job, in_both_modes
from dsbridge.model.judge import Measured, ParityReport, judge_frozen, judge_gradients, judge_outputs, outputs_of, relative
from dsbridge.model.sizes import other_sizes
from dsbridge.model.steady import SEEDS, Example, Steady, steady
from dsbridge.model.weights import Weights, state_of

REPEAT, FEW = 32, 3  # runs to judge dropout by, and to see that there is none
TRIES = 3  # weights to compare gradients at, where torch's own is nowhere steady
SPREAD = 1.5  # by which factor the spread of their outputs may differ


@dataclass(slots=True)
class Subject:
    """What is to be proven: the model, what it became, and a live cell. ``dynamic``: at other sizes, too."""

    model: torch.nn.Module
    made: Draft
    network: Any
    dynamic: bool = True


@dataclass(slots=True)
class _Run:
    """One mode's weights, beside what they are run on."""

    subject: Subject
    model: torch.nn.Module
    weights: Weights
    arrays: Mapping[str, Any]
    example: Example

    @property
    def name(self) -> str:
        return "train" if self.example.training else "eval"

    def on(self, inputs: tuple[Any, Any] | None) -> Example:
        """Other inputs (by position, by name), or the example's own."""
        return self.example if inputs is None else Example(inputs[0], inputs[1], self.example.training)

    def job(self, along: Sequence[Any] = (), inputs: Any = None, **more: Any) -> Job:
        example, made = self.on(inputs), self.subject.made
        given = passed(self.model.forward, made.arguments, example.inputs, example.kwargs)
        return Job(made.source, made.root, self.arrays, given, example.training, along, **more)

    def torch(self, dtype: torch.dtype, inputs: Any = None, **more: Any) -> oracle.Side:
        return self.on(inputs).run(self.model, dtype, **more)


def verify(subject: Subject, inputs: Sequence[Any], kwargs: Mapping[str, Any], *, seed: int = 0) -> ParityReport:
    """Compare in eval and train mode, graph and PyNative. ``inputs`` are torch tensors, by position; ``kwargs`` by name."""
    report = ParityReport()
    weights = Weights(subject.model, subject.network, subject.made.unused, subject.made.rules)
    for training in (False, True):
        run, quieted = _compared(report, subject, weights, Example(inputs, kwargs, training), seed)
        if training:
            _dropout(report, run, quieted)
        else:
            _bisect(report, run)
            _sizes(report, run)
    return report


def _compared(report: ParityReport, subject: Subject, weights: Weights, example: Example, seed: int) -> tuple[_Run, bool]:
    """The run that was compared, and whether the cell has something random.

    Ties that one framework passes and the other does not are others at other weights; a wrong gradient is wrong at all. So
    where only gradients differ, and torch's own is not steady, more are tried.
    """
    for number in range(TRIES):
        found = steady(subject.model, example, weights, seed + number * SEEDS)
        run = _Run(subject, found.model, weights, weights.arrays(state_of(found.model, subject.made.unused)), example)
        tried = ParityReport()
        quieted = _compare(tried, run, found)
        wrong = {one.code for one in tried if one.severity == "error"}
        if not (found.near_ties and wrong == {"gradients-differ"}):
            break
    if number:
        text = f"rounding moves torch's own gradient by {found.moved:.1g}: compared at {number + 1} sets of weights"
        tried.add("gradients-unsteady", "info", run.name, text)
    report.measured += tried.measured
    report.extend(tried)
    return run, quieted


def _compare(report: ParityReport, run: _Run, found: Steady) -> bool:
    """Outputs, gradients, statistics. Returns whether the cell has something random, which was switched off for it."""
    quieted = False
    exact, single = found.exact, found.single
    frozen = run.weights.frozen(run.subject.model)
    _sensitive(report, run, exact)
    for word, (got,) in in_both_modes([run.job(exact.along)]):
        where = f"{run.name}, {word}"
        if isinstance(got, str):
            report.add("run-fails", "error", where, got)
            continue
        quieted |= bool(got["quieted"])
        judge_outputs(report, where, exact.outputs, single.outputs, outputs_of(got))
        if run.example.training:
            _statistics(report, where, run, exact, single, got)
        gradients = {key[5:]: value for key, value in got.items() if key.startswith("grad:")}
        judge_frozen(report, where, frozen, gradients)
        trained = {path: array for path, array in gradients.items() if path not in frozen}
        judge_gradients(report, where, found.expected, found.yardsticks, trained)
    return quieted


def _statistics(report: ParityReport, where: str, run: _Run, exact: oracle.Side, single: oracle.Side, got: Any) -> None:
    """What one run in train mode left in the buffers: running means and variances."""
    state = state_of(run.model, run.subject.made.unused)
    after, yardstick = (
        run.weights.arrays({name: side.buffers.get(name, tensor) for name, tensor in state.items()}) for side in (exact, single)
    )
    moved = [path for path, array in after.items() if f"grad:{path}" not in got and f"state:{path}" in got and array.size]
    for path in moved:
        measured = Measured(
            f"{where}, {path}", relative(after[path], got[f"state:{path}"]), relative(after[path], yardstick[path])
        )
        if not measured.fine:
            report.add("statistics-differ", "error", where, str(measured))


def _bisect(report: ParityReport, run: _Run) -> None:
    """Where outputs differ in eval mode, the first module whose output does."""
    if any(finding.code == "outputs-differ" for finding in report):
        found = first_difference(run.model, run.subject.made, run.arrays, run.example.inputs, run.example.kwargs)
        if found:
            report.add("diverges", "error", *found)


def _sizes(report: ParityReport, run: _Run) -> None:
    """One sample more, and other lengths where torch's model takes them: what is frozen to the example's sizes shows."""
    if not run.subject.dynamic:
        report.add("sizes-frozen", "info", "inputs", "converted with dynamic=False: for inputs of these sizes only")
        return
    tried = []
    for size in other_sizes(run.example.inputs, run.example.kwargs):
        try:
            exact, single = (run.torch(dtype, size.inputs) for dtype in (torch.float64, torch.float32))
        except Exception as exc:
            if size.batch:
                report.add("one-batch-size", "info", "inputs", f"torch's model does not run on one sample more: {exc}")
            continue
        tried.append((size, exact, single))
    if not tried:
        return
    for word, results in in_both_modes([run.job(inputs=size.inputs) for size, *_ in tried]):
        for (size, exact, single), got in zip(tried, results, strict=True):
            _judge_size(report, f"eval, {word}, {size.what}", size.batch, exact, single, got)


def _judge_size(report: ParityReport, where: str, batch: bool, exact: oracle.Side, single: oracle.Side, got: Any) -> None:
    judged = ParityReport()
    if isinstance(got, str):
        judged.add("run-fails", "error", where, got)
    else:
        judge_outputs(judged, where, exact.outputs, single.outputs, outputs_of(got))
    if batch:
        report.measured += judged.measured
        report.extend(judged)
    elif judged.ok:
        report.measured += judged.measured
    else:
        text = "; ".join(finding.message for finding in judged)
        report.add(
            "one-size",
            "warning",
            where,
            f"torch's model takes this size, the cell does not: {text}",
            "convert it on inputs of that size",
        )


def _dropout(report: ParityReport, run: _Run, quieted: bool) -> None:
    """Random in train mode, as much as torch: the spread of outputs over many runs, in both modes."""
    first = run.torch(torch.float32, dropout=True)
    if not first.random and not quieted:
        return  # the very cell that was compared, and it gave what torch gives
    repeat = REPEAT if first.random else FEW
    runs = [first.outputs, *(run.torch(torch.float32, dropout=True, seed=n).outputs for n in range(1, repeat))]
    expected, noise = _spreads(runs), [1e-4 * float(np.linalg.norm(output)) for output in first.outputs]
    for word, (got,) in in_both_modes([run.job(dropout=True, repeat=repeat)]):
        if isinstance(got, str):
            report.add("run-fails", "error", f"train, {word}, with dropout", got)
            continue
        for number, (spread, small) in enumerate(zip(expected, noise, strict=True)):
            (ours,) = _spreads([[got[f"again:{number}:{n}"]] for n in range(repeat)])
            if (spread > small or ours > small) and not spread / SPREAD <= ours <= spread * SPREAD:
                report.add(
                    "dropout-differs", "error", f"train, {word}, output {number}",
                    f"outputs spread by {ours:.3g} over {repeat} runs, torch's by {spread:.3g}",
                )  # fmt: skip


def _spreads(runs: Sequence[Sequence[Any]]) -> list[float]:
    """For each output the norm of its standard deviations over the runs."""
    return [float(np.linalg.norm(np.std(one, axis=0))) for one in zip(*runs, strict=True)]


def _sensitive(report: ParityReport, run: _Run, exact: oracle.Side) -> None:
    """Outputs that answer to nothing prove nothing."""

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype.is_floating_point:
            return value + 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
        return value.flip(0).roll(1, -1) if isinstance(value, torch.Tensor) and value.ndim else value

    example = run.example
    inputs = [moved(one) for one in example.inputs], {key: moved(one) for key, one in example.kwargs.items()}
    for number, (a, b) in enumerate(zip(exact.outputs, run.torch(torch.float64, inputs).outputs, strict=True)):
        if relative(a, b) < 1e-6:
            report.add("insensitive", "error", f"output {number}", "does not depend on the inputs: its parity proves nothing")
