"""A setup of live objects: trained on copies for a few steps, recorded as a script would be."""

from __future__ import annotations

import itertools
import pickle
import warnings
from typing import Any

import torch

from dsbridge.errors import MigrationError
from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import RngState
from dsbridge.migrate.child import parcels
from dsbridge.migrate.child.names import Variables, leaves_of
from dsbridge.migrate.child.slicing import Slice, cut
from dsbridge.migrate.child.tape import Recorder, Tape
from dsbridge.migrate.child.where import Place
from dsbridge.migrate.generators import restore, states_of
from dsbridge.migrate.pattern import EPOCH, STEP, Pattern
from dsbridge.migrate.recording import Epoch, Micro, Recording, Step, options_of
from dsbridge.migrate.replay import How, Materials, Run, materials, one_step, replay

LOADER = 1  # the loader's number in the recording


def record(setup: Any, steps: int) -> tuple[Recording, Pattern]:
    """Train copies for ``steps`` steps. Raises ``MigrationError`` for a loader whose batches do not fit the model."""
    if not torch_data.is_loader(setup.loader):
        raise MigrationError(
            f"loader must be a torch DataLoader, got {type(setup.loader).__name__}",
            hint="wrap the dataset in torch's DataLoader",
        )
    before = RngState.capture()
    try:
        return _record(setup, steps)
    finally:
        before.restore()


def _record(setup: Any, steps: int) -> tuple[Recording, Pattern]:
    recording = Recording(training_loader=LOADER, optimizer=1, wanted_epochs=setup.epoch + 1)
    recording.loader = parcels.by_value(setup.loader)
    pattern = Pattern(accumulate=setup.accumulate, scheduler_every=setup.scheduler_every if setup.scheduler else "")
    pattern.scheduler = id(setup.scheduler) if setup.scheduler is not None else 0
    pattern.clips = tuple(
        (kind, limit) for kind, limit in (("norm", setup.clip_grad_norm), ("value", setup.clip_grad_value)) if limit is not None
    )
    pattern.averages = setup.averages is not None
    loader = pickle.loads(recording.loader)
    recording.epochs.append(Epoch(LOADER, 0, states_of(loader)))
    first = next(iter(loader))
    restore(loader, recording.epochs.pop().generators)
    step = _program(setup, first)
    recording.start = parcels.by_value(
        {
            "program": step.program,
            "modules": step.modules,
            "tensors": step.tensors,
            "optimizer": setup.optimizer,
            "schedulers": {} if setup.scheduler is None else {id(setup.scheduler): setup.scheduler},
            "averages": None if setup.averages is None else ("model", setup.averages),
        }
    )
    _train(materials(recording), loader, recording, pattern, steps)
    ended = replay(recording, pattern, How(random=1))
    recording.end = {"weights": {name: torch.from_numpy(array) for name, array in ended.weights.items()}, "optimizer": {}}
    return recording, pattern


def _train(live: Materials, loader: Any, recording: Recording, pattern: Pattern, steps: int) -> None:
    """Record what a training loop of this pattern does."""
    micros: list[Micro] = []
    clips = [(kind, limit, {"all": True}) for kind, limit in pattern.clips]
    live.optimizer.zero_grad()
    for epoch in itertools.count():
        recording.epochs.append(Epoch(LOADER, len(recording.steps), states_of(loader)))
        pattern.epochs.append(0)
        pattern.ended = False
        for number, batch in enumerate(loader, 1):
            state = torch.get_rng_state()
            micros.append(Micro([one.detach().clone() for one in live.program.taken(batch)], 0.0, (state, state)))
            pattern.epochs[-1] += 1
            if number % pattern.accumulate == 0:
                step = Step(micros, options_of(live.optimizer), list(clips), 0.0)
                run = Run()
                one_step(live, step, len(recording.steps), How(random=1), run)
                for micro, loss in zip(micros, run.losses, strict=True):
                    micro.loss = loss
                recording.steps.append(step)
                micros = []
                _schedule(live, recording, pattern, STEP)
                if len(recording.steps) == steps:
                    return
        pattern.ended = True
        if not pattern.epochs[-1]:
            raise MigrationError("the loader gives no batches")
        _schedule(live, recording, pattern, EPOCH)
        if epoch + 1 >= steps:
            return


def _schedule(live: Materials, recording: Recording, pattern: Pattern, when: str) -> None:
    if pattern.scheduler and pattern.scheduler_every == when:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its optimizer was unpickled, which it takes for a change
            live.schedulers[pattern.scheduler].step()
        pattern.schedules.append((len(recording.steps), pattern.scheduler, []))


def _program(setup: Any, batch: Any) -> Slice:
    """The forward of a step: ``loss(model(*inputs), target)``, or what a model makes of a dict."""
    tape = Tape()
    recorder = Recorder(tape, lambda: True)
    variables = Variables()
    variables.modules["model"] = setup.model
    if isinstance(setup.loss, torch.nn.Module):
        variables.modules["loss"] = setup.loss
    own = {id(one): one for one in variables.modules.values()}
    original = torch.nn.Module.__call__

    def call(module: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.depth or id(module) not in own:
            return original(module, *args, **kwargs)
        refs = tape.refs(args, kwargs)
        with recorder.aside():
            result = original(module, *args, **kwargs)
        tape.add("", module, args, kwargs, result, refs)
        return result

    buffers = [(buffer, buffer.clone()) for module in own.values() for buffer in module.buffers()]
    torch.nn.Module.__call__ = call
    try:
        with torch.random.fork_rng(devices=[]), recorder:
            loss = _loss(setup, batch)
    finally:
        torch.nn.Module.__call__ = original
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    found = cut(tape, loss, batch, Place("", 0), variables)
    for code, _, text in found.findings:
        raise MigrationError(f"{code}: {text}")
    return found


def _loss(setup: Any, batch: Any) -> Any:
    if isinstance(batch, dict):
        result = setup.model(**batch)
        if setup.loss is not None:
            return setup.loss(result, batch)
        return result["loss"] if isinstance(result, dict) else result.loss if hasattr(result, "loss") else result
    parts = [tensor for _, tensor in leaves_of(batch)]
    if setup.loss is None:
        return setup.model(*parts)
    if len(parts) < 2:
        return setup.loss(setup.model(*parts), *parts)
    return setup.loss(setup.model(*parts[:-1]), parts[-1])
