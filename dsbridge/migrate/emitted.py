"""From a setup to the text of its files."""

from __future__ import annotations

import importlib
import io
import json
import pickle
import sys
import traceback
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

import dsbridge
from dsbridge.errors import DsbridgeError, Unsupported
from dsbridge.migrate.averages import averages_source, planned_averages
from dsbridge.migrate.child.where import is_users
from dsbridge.migrate.data_source import Arrays, data_source, whole_source
from dsbridge.migrate.forward import Program
from dsbridge.migrate.missing import Missing, raising
from dsbridge.migrate.optimizer import optimizer_source
from dsbridge.migrate.recording import whole_data
from dsbridge.migrate.replay import How, Materials, replay
from dsbridge.migrate.schedule import schedule_source
from dsbridge.migrate.setup import TrainingSetup, main_module
from dsbridge.migrate.source import Source
from dsbridge.migrate.state import planned_state
from dsbridge.migrate.train_source import Parts, train_source
from dsbridge.model.convert import draft
from dsbridge.model.migrated import MigratedModel, convert
from dsbridge.report import Report


@dataclass(slots=True)
class Emitted:
    """``files``: texts by name; ``binary``: other files; ``arrays``: of arrays.npz; ``migrated``: the step's forward as a cell,
    None if it has none; ``imports``: (name, folder) of the script's modules that data.py must import first."""

    files: dict[str, str] = field(default_factory=dict)
    binary: dict[str, bytes] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    migrated: MigratedModel | None = None
    imports: list[tuple[str, str]] = field(default_factory=list)


def emitted(setup: TrainingSetup, report: Report) -> Emitted:
    """All files; what cannot be moved is in the report and stops the files where it belongs."""
    made = Emitted()
    live = _live(setup)
    title = _title(setup)
    if live is not None:
        made.migrated = _model(setup, live, report)
    loader = _loader(setup, live, report, made)
    parts = _parts(setup, live, made, report, title)
    missing = parts.missing = Missing.of(report)
    made.files["model.py"] = made.migrated.source if made.migrated else _no_model(title, missing)
    program = live.program if live is not None else None
    made.files["data.py"], made.arrays = _data(setup, program, loader, missing, made.imports, report)
    made.files["train.py"] = train_source(parts)
    made.files["state.json"] = json.dumps({"epoch": setup.epoch, "step": setup.step}) + "\n"
    if loader is not None and setup.recording is not None:
        made.binary["loader.pkl"] = setup.recording.loader  # type: ignore[assignment]
        made.binary["generators.pkl"] = pickle.dumps(_generators(setup))
    return made


def _live(setup: TrainingSetup) -> Materials | None:
    start = setup.recorded().start
    return setup.materials() if isinstance(start, bytes) and start else None


def _title(setup: TrainingSetup) -> str:
    if setup.script is None:
        return f"Trains {type(setup.model).__name__}."
    given = " ".join([setup.script.name, *setup.args])
    return f"Trains {type(setup.model).__name__} as {given} does." if setup.model is not None else f"From {given}."


def _model(setup: TrainingSetup, live: Materials, report: Report) -> MigratedModel | None:
    recording = setup.recorded()
    inputs = tuple(one.clone() for one in recording.steps[0].micros[0].inputs)
    wide = [name for name, parameter in live.step.named_parameters() if parameter.dtype is torch.float64]
    if wide:
        text = f"{len(wide)} parameters are float64 ({wide[0]}): the cells and optimizers that are written are float32"
        report.add("model-unsupported", "error", _first_line(live), text, "train in torch's default, float32")
        return None
    try:
        made = _converted(live.step, inputs, report)
    except Unsupported as refused:
        what = f"{refused.path}: " if refused.path else ""
        report.add(
            "model-unsupported", "error", refused.where or refused.path or "model", f"{what}{refused.op}: {refused.reason}"
        )
        return None
    except Exception as exc:  # the script's own code
        places = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(exc.__traceback__) if is_users(one.filename)]
        text = f"it fails when it is run again: {type(exc).__name__}: {exc}"
        report.add("model-unsupported", "error", places[-1] if places else "model", text)
        return None
    report.extend(finding for finding in made.report if finding.severity != "info")
    return made


def _converted(step: Any, inputs: tuple[Any, ...], report: Report) -> MigratedModel:
    """The step as a cell; of a model that returns something else in eval mode, as it is in train mode."""
    try:
        return convert(step, inputs)
    except Unsupported:
        raise
    except Exception as exc:
        made = MigratedModel(step, inputs, {}, draft(step, inputs, {}, evaluates=False))
        text = f"in eval mode it does something else ({type(exc).__name__}: {exc}): the cells are for training only"
        report.add("trains-only", "warning", "model", text)
        return made


def _first_line(live: Materials) -> str:
    """File and line where the step begins."""
    return f"{live.program.file}:{live.program.line}"


def _loader(setup: TrainingSetup, live: Materials | None, report: Report, made: Emitted) -> Any:
    """The script's loader, live; None where it cannot be had."""
    recording = setup.recorded()
    if live is not None and whole_data(recording, live.program.paths):
        return None
    if live is not None and None in live.program.paths:
        number = live.program.paths.index(None)
        text = f"{live.program.inputs[number]} does not come out of a loader: the script makes its batches itself"
        report.add("not-from-loader", "error", _first_line(live), text)
        return None
    if not isinstance(recording.loader, bytes):
        report.add("data-unsupported", "error", "loader", f"the loader cannot be pickled: {recording.loader}")
        return None
    try:
        return pickle.loads(recording.loader)
    except Exception as exc:
        try:
            return _prepared(recording.loader, recording.modules, made)
        except Exception:
            text = f"the pickled loader cannot be read: {type(exc).__name__}: {exc}"
            report.add("data-unsupported", "error", "loader", text)
            return None


def _prepared(pickled: bytes, modules: list[tuple[str, str]], made: Emitted) -> Any:
    """Unpickle what needs something that the script's own modules do when they are imported."""
    for name, folder in modules:
        if folder not in sys.path:
            sys.path.append(folder)
        importlib.import_module(name)
    loader = pickle.loads(pickled)
    made.imports = modules
    return loader


def _generators(setup: TrainingSetup) -> Any:
    recording = setup.recorded()
    return next(epoch.generators for epoch in recording.epochs if epoch.loader == recording.training_loader)


def _data(
    setup: TrainingSetup, program: Any, loader: Any, missing: Missing, imports: list[tuple[str, str]], report: Report
) -> tuple[str, Arrays]:
    source = setup.script.name if setup.script else type(setup.model).__name__
    inputs = whole_data(setup.recorded(), program.paths) if program else None
    if inputs is None:
        return data_source(f"The batches that {source} trains on.", program or Program(), loader, missing, imports)
    steps = max(setup.recorded().wanted_epochs, len(setup.recorded().steps)) * setup.pattern.accumulate
    report.add("whole-data", "info", "data.py", f"each step takes the same tensors; an epoch is {steps} times that")
    return whole_source(f"The data that {source} trains on.", program, inputs, steps)


def _parts(setup: TrainingSetup, live: Materials | None, made: Emitted, report: Report, title: str) -> Parts:
    nothing = Source(lines=("def make_optimizer(network):", '    raise NotImplementedError("no optimizer was seen")'))
    optimizer, schedule, averages = nothing, None, None
    if live is not None and made.migrated is not None:
        unused = _unused(setup, live)
        names = {}
        for name, parameter in live.step.named_parameters():
            if name in made.migrated.name_map:
                names[id(parameter)] = made.migrated.name_map[name], parameter.ndim
            if name in unused:
                parameter.requires_grad_(False)
        scheduler = live.schedulers.get(setup.pattern.scheduler)
        optimizer = _source(report, "optimizer-unsupported", type(live.optimizer).__name__, "make_optimizer(network)",
                            lambda: optimizer_source(live.optimizer, names), _made_at(setup))  # fmt: skip
        averages = _averages(setup, live, report)
        _gathered(live, made, report)
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
        frozen=_frozen(live, made.migrated) if live is not None and made.migrated is not None else [],
        begun="optimizer.npz" in made.binary,
    )


def _epochs(setup: TrainingSetup, live: Materials | None) -> int:
    if live is not None and whole_data(setup.recorded(), live.program.paths):
        return 1
    return setup.recorded().wanted_epochs or max(1, len(setup.pattern.epochs))


def _averages(setup: TrainingSetup, live: Materials, report: Report) -> Source | None:
    """The averages of the weights, where there are any; of a kind that is not known they are an error."""
    if live.averages is None or not setup.pattern.averages:
        return None
    try:
        return averages_source(live.averages.averaged)
    except Unsupported as refused:
        where = next((f"{file}:{line}" for _, path, (file, line) in setup.recorded().averages if path), "averages")
        report.add("averages-left-out", "error", where, str(refused))
        return None


def _gathered(live: Materials, made: Emitted, report: Report) -> None:
    """optimizer.npz: what the optimizer had gathered before the first step, if anything."""
    assert made.migrated is not None
    try:
        state = planned_state(live.optimizer, live.names, made.migrated.weights.plan)
    except Unsupported as refused:
        report.add("optimizer-unsupported", "error", type(live.optimizer).__name__, str(refused))
        return
    if live.averages and live.averages.count:
        trained = {live.names[id(p)] for g in live.optimizer.param_groups for p in g["params"] if p.requires_grad}
        arrays = live.averages.arrays(live.names)
        state |= planned_averages(arrays, live.averages.count, trained, made.migrated.weights.plan)
    if state:
        held = io.BytesIO()
        np.savez(held, **state)
        made.binary["optimizer.npz"] = held.getvalue()


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


def _no_model(title: str, missing: Missing) -> str:
    lines = missing.by_place.get("step") or missing.by_place.get("main") or ["model-unsupported: no forward was seen"]
    stops = "\n".join(line for text in lines for line in raising(text, "        "))
    return (
        f'"""{title}\n\nWritten by dsbridge {dsbridge.__version__}.\n"""\n\nfrom mindspore import nn\n\n\n'
        f"class TrainStep(nn.Cell):\n    def __init__(self):\n{stops}\n"
    )
