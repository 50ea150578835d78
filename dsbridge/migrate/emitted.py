"""From a setup to the text of its files."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import traceback
from dataclasses import dataclass, field
from typing import Any

import torch

import dsbridge
from dsbridge.errors import Unsupported
from dsbridge.migrate.child.where import is_users
from dsbridge.migrate.data_source import Arrays, data_source, whole_source
from dsbridge.migrate.forward import Program
from dsbridge.migrate.missing import Missing, raising
from dsbridge.migrate.parts import parts_of
from dsbridge.migrate.recording import whole_data
from dsbridge.migrate.replay import Materials
from dsbridge.migrate.setup import TrainingSetup
from dsbridge.migrate.train_source import train_source
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
    parts = parts_of(setup, live, made.migrated, made.binary, report, title)
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


def _no_model(title: str, missing: Missing) -> str:
    lines = missing.by_place.get("step") or missing.by_place.get("main") or ["model-unsupported: no forward was seen"]
    stops = "\n".join(line for text in lines for line in raising(text, "        "))
    return (
        f'"""{title}\n\nWritten by dsbridge {dsbridge.__version__}.\n"""\n\nfrom mindspore import nn\n\n\n'
        f"class TrainStep(nn.Cell):\n    def __init__(self):\n{stops}\n"
    )
