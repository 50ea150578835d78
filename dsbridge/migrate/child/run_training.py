"""Runs a written training on recorded batches, in a process of its own: ``run_training.py FOLDER JOB RESULT``.

JOB is a pickle of ``dsbridge.migrate.job.Job``; RESULT one of a dict: what was made, or an error and the stage it came to. What
is random in the model is switched off.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pickle
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from dsbridge.migrate.job import Job, Start
from dsbridge.migrate.runtime.state import gathered, load_optimizer


def loaded(name: str, path: Path) -> Any:
    """Import a file under a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# without its package, which imports torch: half of what this process would take
run_cell = loaded("run_cell", Path(__file__).parents[2] / "model" / "child" / "run_cell.py")


class Between:
    """A training step that notes what changed after it, before the next one began: nothing should."""

    def __init__(self, train_step: Any, held: dict[str, Any]) -> None:
        self.train_step, self.held = train_step, held
        self.left: dict[str, Any] = {}
        self.calls, self.changed = 0, ""

    def __call__(self, *batch: Any) -> Any:
        """Train on a batch."""
        return self._watched(self.train_step, batch)

    def add(self, *batch: Any) -> Any:
        """Add up gradients of a batch."""
        return self._watched(self.train_step.add, batch)

    def update(self) -> Any:
        """Train on what was added up."""
        return self._watched(self.train_step.update, ())

    def _watched(self, do: Any, batch: Any) -> Any:
        now = self._now()
        other = [name for name, array in self.left.items() if not np.array_equal(now[name], array, equal_nan=True)]
        if other and not self.changed:
            self.changed = f"before call {self.calls + 1} of the training step: {', '.join(other[:3])}"
        result = do(*batch)
        self.calls += 1
        self.left = self._now()
        return result

    def _now(self) -> dict[str, Any]:
        return {name: parameter.asnumpy().copy() for name, parameter in self.held.items()}


class Idle:
    """In the place of a schedule."""

    def step(self, *_: Any) -> None:
        """Nothing."""


def run(folder: Path, job: Job) -> dict[str, Any]:
    """The whole training, steps taken apart on the way, and the second half again from a checkpoint."""
    quiet_model(folder / "model.py")
    train = importlib.import_module("train")
    _no_loader(train)
    made = _train(train, train.build(job.graph), job, job.epochs)
    if made["saved"]:
        live = train.build(job.graph)
        with tempfile.TemporaryDirectory() as saved:
            for name, content in made["saved"].items():
                Path(saved, name).write_bytes(content)
            train.resume(Path(saved), *live[:3], None)
        again = _train(train, live, Job(job.graph, [], job.ended, []), job.after(job.halfway))
        made["resumed"], made["resumed_losses"] = again["weights"], again["losses"]
    return made


def _no_loader(train: Any) -> None:
    """Batches come from the job."""
    train.data.state_of = lambda loader: None
    train.data.load_state = lambda loader, state: None


def _train(train: Any, live: Any, job: Job, epochs: list[list[Any]]) -> dict[str, Any]:
    network, optimizer, scheduler, train_step = live
    made: dict[str, Any] = {"losses": [], "rates": [], "points": {}, "saved": {}, "between": "", "begun": {}}
    steps, stepped = 0, True
    gradients_of = ms.value_and_grad(network, None, optimizer.parameters)
    gradients_of = ms.jit(gradients_of) if job.graph else gradients_of
    watched = Between(train_step, _kept(network, optimizer)) if job.between else train_step
    made["begun"] = _weights(network) if job.between else {}
    made["begun_state"] = {key: _gathered(optimizer, key) for key in job.starts[0].optimizer} if 0 in job.starts else {}
    for number, micros in enumerate(epochs):
        ends = number + 1 < len(epochs) or job.ended
        losses = train.epoch_of(_tensors(micros), len(micros) if ends else None, watched, scheduler)
        for _ in micros:
            if stepped:
                made["rates"].append(_rates(optimizer))
                if steps in job.starts:
                    made["points"][steps] = _apart(train, live, gradients_of, job.starts[steps])
            loss, stepped = next(losses)
            made["losses"].append(float(loss.asnumpy()))
            steps += bool(stepped)
            if stepped and steps == job.halfway:
                made["saved"] = _saved(train, live)
        if ends:
            next(losses, None)  # what comes at the end of an epoch
            stepped = True
    made["weights"] = _weights(network)
    means = zip(getattr(optimizer, "averaged_names", ()), getattr(optimizer, "averages", ()), strict=True)
    made["averages"] = {f"averages.{name}": mean.asnumpy().copy() for name, mean in means}
    made["between"] = watched.changed if job.between else ""
    return made


def _kept(network: Any, optimizer: Any) -> dict[str, Any]:
    """All that steps leave to the next but rates and momenta, which a schedule changes."""
    held = {**{p.name: p for p in network.get_parameters()}, **gathered(optimizer)}
    scheduled = {id(one) for one in (*(group["lr"] for group in optimizer.param_groups), *getattr(optimizer, "momenta", ()))}
    return {name: parameter for name, parameter in held.items() if id(parameter) not in scheduled}


def _saved(train: Any, live: Any) -> dict[str, bytes]:
    network, optimizer, scheduler, _ = live
    with tempfile.TemporaryDirectory() as folder:
        train.save(Path(folder), network, optimizer, scheduler, None, 0, 0)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _rates(optimizer: Any) -> list[float]:
    return [float(np.asarray(_number(group["lr"]))) for group in optimizer.param_groups]


def _apart(train: Any, live: Any, gradients_of: Any, start: Start) -> dict[str, Any]:
    """One step from torch's own state: loss, gradients, weights after. All is as before, afterwards."""
    network, optimizer, _, train_step = live
    held = {**{p.name: p for p in network.get_parameters()}, **gathered(optimizer)}
    before = {name: parameter.asnumpy().copy() for name, parameter in held.items()}
    made: dict[str, Any] = {"stage": "optimizer"}
    try:
        _assign(network, start.weights)
        load_optimizer(optimizer, start.optimizer)
        made["stage"] = "forward"
        sums = [np.zeros(p.shape, np.float64) for p in optimizer.parameters]
        made["loss"] = 0.0
        statistics = {path: p.asnumpy().copy() for path, p in run_cell.parameters(network)}
        for batch in _tensors(start.micros):
            loss, gradients = gradients_of(*batch)
            made["loss"] += float(loss.asnumpy())
            sums = [one + gradient.asnumpy().astype(np.float64) for one, gradient in zip(sums, gradients, strict=True)]
        made["gradients"] = {p.name: one for p, one in zip(optimizer.parameters, sums, strict=True)}
        _assign(network, statistics)
        for _ in train.epoch_of(_tensors(start.micros), len(start.micros), train_step, Idle()):
            pass
        made["after"], made["stage"] = _weights(network), "optimizer"
        made["state"] = {key: _gathered(optimizer, key) for key in start.later}
    except Exception as exc:
        made["error"] = f"{type(exc).__name__}: {exc}"
    for name, parameter in held.items():
        ops.assign(parameter, ms.Tensor(before[name]))
    return made


def _gathered(optimizer: Any, key: str) -> Any:
    """The array that ``load_optimizer`` would write under a name."""
    attribute, _, name = key.partition(".")
    held = getattr(optimizer, attribute)
    if name:
        names = getattr(optimizer, "averaged_names", [parameter.name for parameter in optimizer.parameters])
        held = held[names.index(name)]
    return held.asnumpy().copy()


def _tensors(micros: list[list[Any]]) -> Any:
    for micro in micros:
        yield tuple(ms.Tensor(np.asarray(one, order="C")) for one in micro)


def _number(rate: Any) -> Any:
    return rate.asnumpy() if hasattr(rate, "asnumpy") else rate


def _weights(network: Any) -> dict[str, Any]:
    return {path: parameter.asnumpy().copy() for path, parameter in run_cell.parameters(network)}


def _assign(network: Any, arrays: dict[str, Any]) -> None:
    for path, parameter in run_cell.parameters(network):
        if path in arrays:
            ops.assign(parameter, ms.Tensor(np.asarray(arrays[path], order="C")).astype(parameter.dtype))


def quiet_model(path: Path) -> None:
    """Import model.py without anything random in it, under the name by which train.py imports it."""
    quiet, _ = run_cell.without_random(str(path))
    module = loaded("model", Path(quiet))
    original = module.TrainStep

    def made() -> Any:
        network = original()
        run_cell.no_depth(network)
        return network

    module.TrainStep = made


def main(folder: str, job_file: str, result_file: str) -> None:
    """Run the job; an error is its result."""
    sys.path.insert(0, folder)
    with contextlib.suppress(SystemError):  # numpy 2: the first operation of a process
        ops.add(ms.Tensor(np.ones(2, np.float32)), 1).asnumpy()
    with open(job_file, "rb") as file:
        job = pickle.load(file)
    try:
        result = run(Path(folder), job)
    except NotImplementedError as exc:
        result = {"stage": "forward", "error": f"it stops where something is missing: {exc}"}
    except Exception as exc:
        lines = [line for line in str(exc).splitlines() if line.strip(" -")]
        of_optimizer = any(frame.name in ("load_optimizer", "_gathered") for frame in traceback.extract_tb(exc.__traceback__))
        stage = "optimizer" if of_optimizer else "forward"
        result = {"stage": stage, "error": f"{type(exc).__name__}: {' '.join(lines[:3])[:500]}"}
    with open(result_file, "wb") as file:
        pickle.dump(result, file)


if __name__ == "__main__":
    sys.path.pop(0)
    main(*sys.argv[1:])
