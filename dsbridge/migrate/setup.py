"""``TrainingSetup``: what trains, how its steps go, and what was recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsbridge.migrate.explain import explain
from dsbridge.migrate.hand_rates import understand_rates
from dsbridge.migrate.pattern import EPOCH, STEP, Pattern, pattern
from dsbridge.migrate.recording import Recording
from dsbridge.migrate.replay import Materials, materials
from dsbridge.migrate.restarts import understand_restarts
from dsbridge.report import Report, Reported

NOTES = {
    "not-saved": "info",
    "compile-left-out": "info",
    "custom-operation": "info",
    "guard-left-out": "info",
    "fewer-steps": "warning",
    "script-failed": "warning",
}


class TrainingSetup(Reported):
    """A torch training: model, loss, optimizer, schedule, loader, clipping, accumulation.

    ``model``: the torch module; ``loss``: a module or function of (output, target), None for a model that returns its loss;
    ``optimizer``: torch's, over the model's parameters; ``scheduler``: of torch.optim.lr_scheduler, stepped
    ``scheduler_every`` "step" or "epoch"; ``loader``: of batches (input, target), (inputs ..., target) or dicts of the model's
    arguments; ``epoch``, ``step``: how far it has trained; ``clip_grad_norm``, ``clip_grad_value``: limits; ``accumulate``:
    batches a step; ``averages``: a torch.optim.swa_utils.AveragedModel of the
    model, updated after each step.

    Nothing is run before the setup is planned; the objects are left as they are.

    >>> import torch
    >>> net = torch.nn.Linear(3, 1)
    >>> TrainingSetup(model=net, loss=torch.nn.MSELoss(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1), loader=[])
    TrainingSetup(Linear, SGD, no schedule)
    """

    def __init__(
        self,
        *,
        model: Any,
        loss: Any,
        optimizer: Any,
        scheduler: Any = None,
        loader: Any,
        epoch: int = 0,
        step: int = 0,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        accumulate: int = 1,
        scheduler_every: str = EPOCH,
        averages: Any = None,
    ) -> None:
        if scheduler_every not in (STEP, EPOCH):
            raise ValueError(f"scheduler_every must be {STEP!r} or {EPOCH!r}, got {scheduler_every!r}")
        if accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {accumulate}")
        self.model, self.loss, self.optimizer, self.scheduler, self.loader = model, loss, optimizer, scheduler, loader
        self.epoch, self.step = epoch, step
        self.clip_grad_norm, self.clip_grad_value, self.accumulate = clip_grad_norm, clip_grad_value, accumulate
        self.scheduler_every, self.averages = scheduler_every, averages
        self.report = Report("setup")
        self.recording: Recording | None = None
        self.pattern = Pattern(accumulate=accumulate)
        self.script: Path | None = None
        self.args: list[str] = []

    def recorded(self, steps: int = 24) -> Recording:
        """What was recorded; live objects are trained on copies for ``steps`` steps first."""
        if self.recording is None:
            from dsbridge.migrate.live import record

            self.recording, self.pattern = record(self, steps)
            understood(self.recording, self.pattern, self.report)
        return self.recording

    def materials(self) -> Materials:
        """Fresh copies of what trains, as before the first step."""
        return materials(self.recorded())

    def __repr__(self) -> str:
        schedule = type(self.scheduler).__name__ if self.scheduler is not None else "no schedule"
        return f"TrainingSetup({type(self.model).__name__}, {type(self.optimizer).__name__}, {schedule})"

    def __str__(self) -> str:
        lines = [repr(self)]
        if self.recording is not None:
            micros = [micro.loss for step in self.recording.steps for micro in step.micros]
            lines.append(f"{len(self.recording.steps)} steps recorded, losses {micros[0]:.6g} ... {micros[-1]:.6g}")
        made = self.pattern
        parts = [f"{made.accumulate} batches a step" if made.accumulate > 1 else "one batch a step"]
        parts += [f"gradient {kind} clipped at {limit:g}" for kind, limit in made.clips]
        parts += [f"the schedule steps after each {made.scheduler_every}"] if made.scheduler_every else []
        parts += ["averages of the weights are taken after each step"] if made.averages else []
        return "\n".join([*lines, "; ".join(parts), str(self.report)])

    def to_dict(self) -> dict[str, Any]:
        """The setup as plain data."""
        steps = self.recording.steps if self.recording is not None else []
        return {
            "model": type(self.model).__name__,
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__ if self.scheduler is not None else None,
            "scheduler_every": self.pattern.scheduler_every,
            "accumulate": self.pattern.accumulate,
            "clips": [list(one) for one in self.pattern.clips],
            "averages": self.pattern.averages,
            "steps": len(steps),
            "losses": [step.loss for step in steps],
            "report": self.report.to_dict(),
        }


def understood(recording: Recording, found: Pattern, report: Report) -> None:
    """Everything that must be said of a recording, as findings."""
    for code, where, text in (*recording.findings, *found.said):
        report.add(code, NOTES.get(code, "error"), _at(where), text)
    for where in recording.decided:
        report.add(
            "decides-by-value", "error", _at(where), "the script looks at a value and decides by it within a training step"
        )
    if isinstance(recording.start, str):
        report.add("not-picklable", "error", "setup", f"model, optimizer or schedule cannot be pickled: {recording.start}")
        return
    if recording.end is None or not recording.start:
        report.add("no-step", "error", "setup", "no optimizer stepped on gradients of a loss that was seen")
        return
    if any(code in report for code in ("steps-differ", "numbers-change", "unseen-operation", "loss-of-nothing")):
        return  # what was seen of one step says nothing of the others
    try:
        explain(recording, found, report)
    except Exception as exc:
        report.add(
            "forward-unexplained", "error", "step 1", f"what was recorded does not run again: {type(exc).__name__}: {exc}"
        )


def _at(where: tuple[str, int]) -> str:
    return f"{where[0]}:{where[1]}" if where[0] else "setup"


def from_recording(
    recording: Recording, script: Path | None, args: Sequence[str], found: Pattern | None = None
) -> TrainingSetup:
    """The setup of a script; or, with the pattern of its steps, of live objects that were recorded."""
    if found is None:
        found = pattern(recording)
        understand_rates(recording, found)
        understand_restarts(recording, found)
    report = Report("setup")
    live = _live(recording, report)
    understood(recording, found, report)
    made = TrainingSetup(
        model=main_module(live.step) if live else None,
        loss=live.step if live else None,
        optimizer=live.optimizer if live else None,
        scheduler=live.schedulers.get(found.scheduler) if live else None,
        loader=None,
        accumulate=found.accumulate,
        averages=live.averages.averaged if live and live.averages and found.averages else None,
    )
    for kind, limit in found.clips:
        setattr(made, f"clip_grad_{kind}", limit)
    made.scheduler_every = found.scheduler_every or EPOCH
    made.recording, made.pattern, made.script, made.args, made.report = recording, found, script, list(args), report
    return made


def _live(recording: Recording, report: Report) -> Materials | None:
    """What trains, live; None, and a finding, where it cannot be had."""
    if not recording.start or isinstance(recording.start, str):
        return None
    try:
        return materials(recording)
    except Exception as exc:
        report.add("not-picklable", "error", "setup", f"what was recorded cannot be unpickled: {type(exc).__name__}: {exc}")
        recording.start = f"{type(exc).__name__}: {exc}"
        return None


def main_module(step: Any) -> Any:
    """Of the modules that a step calls, the one with the most parameters."""
    held = [(sum(p.numel() for p in module.parameters()), -number, module) for number, module in enumerate(step.children())]
    return max(held, key=lambda one: one[:2])[2] if held else None
