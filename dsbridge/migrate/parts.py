"""What train.py is made of, from a setup: findings where something of it cannot be written."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dsbridge.errors import DsbridgeError, Unsupported
from dsbridge.migrate.averages import averages_source, planned_averages
from dsbridge.migrate.missing import raising
from dsbridge.migrate.optimizer import optimizer_source
from dsbridge.migrate.recording import whole_data
from dsbridge.migrate.replay import How, Materials, replay
from dsbridge.migrate.schedule import schedule_source
from dsbridge.migrate.setup import TrainingSetup, main_module
from dsbridge.migrate.source import Source
from dsbridge.migrate.state import planned_state
from dsbridge.migrate.train_source import Parts
from dsbridge.model.migrated import MigratedModel
from dsbridge.report import Report


def parts_of(
    setup: TrainingSetup, live: Materials | None, migrated: MigratedModel | None, binary: dict[str, bytes], report: Report,
    title: str,
) -> Parts:  # fmt: skip
    """Optimizer, schedule, averages, and how a step goes. ``binary`` gets optimizer.npz, if the optimizer has a state."""
    nothing = Source(lines=("def make_optimizer(network):", '    raise NotImplementedError("no optimizer was seen")'))
    optimizer, schedule, averages = nothing, None, None
    if live is not None and migrated is not None:
        unused = _unused(setup, live)
        names = {}
        for name, parameter in live.step.named_parameters():
            if name in migrated.name_map:
                names[id(parameter)] = migrated.name_map[name], parameter.ndim
            if name in unused:
                parameter.requires_grad_(False)
        scheduler = live.schedulers.get(setup.pattern.scheduler)
        optimizer = _source(report, "optimizer-unsupported", type(live.optimizer).__name__, "make_optimizer(network)",
                            lambda: optimizer_source(live.optimizer, names), _made_at(setup))  # fmt: skip
        averages = _averages(setup, live, migrated, report)
        if "optimizer-unsupported" not in report:
            _gathered(live, migrated, binary, report, _made_at(setup))
        if scheduler is not None:
            schedule = _source(report, "schedule-unsupported", type(scheduler).__name__, "make_scheduler(optimizer)",
                               lambda: schedule_source(scheduler, live.optimizer))  # fmt: skip
            if any(metrics for _, _, metrics in setup.pattern.schedules):
                where, kind = f"{setup.pattern.metric_at[0]}:{setup.pattern.metric_at[1]}", type(scheduler).__name__
                what = "a metric" if kind == "ReduceLROnPlateau" else "an epoch"
                text = f"{kind}.step takes {what} that the script computes outside of its training step"
                report.add("metric-missing", "error", where, text, "compute it in train.py and pass it on")
    module = main_module(live.step) if live is not None else setup.model
    return Parts(
        title=title,
        model=type(module).__name__,
        arguments=live.program.inputs if live is not None else ["batch"],
        pattern=setup.pattern,
        optimizer=optimizer,
        schedule=schedule,
        averages=averages,
        epochs=_epochs(setup, live),
        evaluated=_evaluated(live) if live is not None else [],
        frozen=_frozen(live, migrated) if live is not None and migrated is not None else [],
        begun="optimizer.npz" in binary,
    )


def _epochs(setup: TrainingSetup, live: Materials | None) -> int:
    if live is not None and whole_data(setup.recorded(), live.program.paths):
        return 1
    return setup.recorded().wanted_epochs or max(1, len(setup.pattern.epochs))


def _averages(setup: TrainingSetup, live: Materials, migrated: MigratedModel, report: Report) -> Source | None:
    """The averages of the weights, where there are any; of a kind that is not known they are an error."""
    if live.averages is None or not setup.pattern.averages:
        return None
    ndims = {parameter.name: parameter.ndim for parameter in migrated.cell.get_parameters()}
    parameters = {name for name, _ in live.step.named_parameters()}
    kept = live.averages.arrays(live.averaged)
    statistics = [migrated.name_map[name] for name in kept if name not in parameters and name in migrated.name_map]
    others = {name: ndim for name, ndim in ndims.items() if name not in statistics}
    try:
        return averages_source(live.averages.averaged, {name: ndims[name] for name in statistics}, others)
    except Unsupported as refused:
        where = next((f"{file}:{line}" for _, path, (file, line) in setup.recorded().averages if path), "averages")
        report.add("averages-left-out", "error", where, str(refused))
        return None


def _gathered(live: Materials, migrated: MigratedModel, binary: dict[str, bytes], report: Report, where: str) -> None:
    """optimizer.npz: what the optimizer had gathered before the first step, if anything."""
    try:
        state = planned_state(live.optimizer, live.names, migrated.weights.plan)
    except Unsupported as refused:
        report.add("optimizer-unsupported", "error", where or type(live.optimizer).__name__, str(refused))
        return
    if live.averages and live.averages.count:
        left = {name for name, p in live.step.named_parameters() if not p.requires_grad}
        arrays = live.averages.arrays(live.averaged)
        state |= planned_averages(arrays, live.averages.count, left, migrated.weights.plan)
    if state:
        held = io.BytesIO()
        np.savez(held, **state)
        binary["optimizer.npz"] = held.getvalue()


def _made_at(setup: TrainingSetup) -> str:
    recording = setup.recorded()
    file, line = recording.made_at.get(recording.optimizer, ("", 0))
    return f"{file}:{line}" if file else ""


def _source(report: Report, code: str, what: str, signature: str, make: Any, where: str = "") -> Source:
    try:
        made: Source = make()
    except DsbridgeError as refused:
        report.add(code, "error", where or getattr(refused, "where", "") or what, str(refused))
        return Source(lines=(f"def {signature}:", *raising(f"{code}: {refused}", "    ")))
    report.extend(made.notes)
    return made


def _unused(setup: TrainingSetup, live: Materials) -> set[str]:
    """Parameters that get no gradient: torch leaves them alone, whatever their group says."""
    recording = setup.recorded()
    if not setup.report.ok:  # what was not understood may not run again
        return set()
    point = replay(replace(recording, steps=recording.steps[:1]), setup.pattern, How(points=(0,))).points[0]
    return {name for name, p in live.step.named_parameters() if name not in point.gradients}


def _evaluated(live: Materials) -> list[str]:
    """The outermost modules that are in eval mode while it trains."""
    found: list[str] = []
    for path, module in live.step.named_modules():
        inside = any(path.startswith(f"{one}.") for one in found)
        if path and not inside and not module.training and _matters(module):
            found.append(path)
    return [_spelled(path) for path in found]


def _matters(module: torch.nn.Module) -> bool:
    """A loss in eval mode is the same."""
    return any(True for _ in module.parameters()) or any(type(m).__name__.startswith("Dropout") for m in module.modules())


def _spelled(path: str) -> str:
    first, *rest = path.split(".")
    return first + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in rest)


def _frozen(live: Materials, migrated: MigratedModel) -> list[str]:
    """What model.py trains and the script does not: parameters that get no gradient."""
    named = dict(live.step.named_parameters())
    trained = {parameter.name for parameter in migrated.cell.trainable_params()}
    return [
        migrated.name_map[name]
        for name, parameter in named.items()
        if not parameter.requires_grad and name in migrated.name_map and migrated.name_map[name] in trained
    ]
