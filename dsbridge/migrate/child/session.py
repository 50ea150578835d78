"""One recorded run of a script: what happened, in order, and what a training step consists of."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from dsbridge.migrate.child import hooks, parcels, rates
from dsbridge.migrate.child.loaders import Loaders
from dsbridge.migrate.child.names import Variables, leaves_of
from dsbridge.migrate.child.slicing import Slice, cut, differences, path_in
from dsbridge.migrate.child.tape import Recorder, Tape, hide_custom_functions
from dsbridge.migrate.child.where import Place, user_place
from dsbridge.migrate.child.writes import written
from dsbridge.migrate.generators import states_of
from dsbridge.migrate.recording import ByHand, Epoch, Event, Micro, Recording, Step, options_of, same_tensors

TAPED = 3  # optimizer steps whose operations are taped
FURTHER_S = 30.0  # how long to go on for the end of an epoch, once all steps are recorded


class Stopped(BaseException):
    """Ends the script when enough is recorded; not an Exception, which scripts catch."""


class Session:
    """Listens to the hooks. ``steps``: optimizer steps to record."""

    def __init__(self, steps: int) -> None:
        self.recording = Recording()
        self._wanted, self._pid = steps, os.getpid()
        self._tape = Tape()
        self._mode = Recorder(self._tape, lambda: self._in_step)
        self._remove: Callable[[], Any] = lambda: None
        self._variables = Variables()
        self._in_step = False
        self._batch: tuple[Any, Any, Place] = (None, None, Place("", 0))  # loader, batch, where it was fetched
        self._states: list[Any] = [None, None]  # of torch's generator: at the batch, at the first module
        self._open: Any = None  # the call of a module that is under way
        self._slices: list[Slice] = []
        self._optimizer: Any = None
        self._optimizers: list[Any] = []  # kept, so that ids stay theirs
        self._schedulers: list[Any] = []
        self._averages: list[tuple[Any, Any, Place]] = []  # torch's, the module that they are of, where they were made
        self._loader: Any = None
        self._loaders = Loaders()
        self._begun: dict[int, Epoch] = {}  # of loaders that gave no batch yet: tqdm.auto makes an iterator that it leaves
        self._buffers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._micros: list[Micro] = []
        self._clips: list[tuple[str, float, dict[str, Any]]] = []
        self._options: list[dict[str, Any]] = []
        self._done_at = 0.0

    # ---- the run

    def start(self) -> None:
        """Begin to listen."""
        hooks.install(self)
        rates.Group.tell = self.option_set
        undo = hooks.modules(self), hide_custom_functions(self.aside)
        self._remove = lambda: [one() for one in undo]
        self._mode.__enter__()

    def finish(self) -> Recording:
        """What was recorded, when the script has ended or was stopped."""
        self._stop_taping()
        self.recording.decided = list(self._tape.decided)
        text = "the script looks whether values are finite; train.py does not"
        self.recording.findings += [("guard-left-out", place, text) for place in self._tape.guards]
        self.recording.findings += differences(self._slices)
        self.recording.modules = parcels.users_modules()
        self.recording.threads = torch.get_num_threads()
        self._take_end()
        return self.recording

    def _stop_taping(self) -> None:
        if self._mode.active:
            self._mode.active = False
            self._remove()
            top = torch._C._len_torch_function_stack() - 1
            if top >= 0 and torch._C._get_function_stack_at(top) is self._mode:  # a script may have entered a mode of its own
                self._mode.__exit__(None, None, None)
            self._tape.clear()
            first = next((one for one in self._slices[:1] for one in one.modules.values()), None)
            if first is not None:
                first.register_forward_pre_hook(lambda module, args: self._first_module())

    def _take_end(self) -> None:
        if self._slices and self._optimizer is not None and self.recording.end is None:
            self.recording.end = parcels.state(self._slices[0], self._optimizer)

    def _event(self, kind: str, value: Any = None) -> Place:
        place = user_place()
        self.recording.events.append(Event(kind, place, value))
        return place

    @property
    def _elsewhere(self) -> bool:
        """In a process that the script forked."""
        return os.getpid() != self._pid

    def aside(self) -> AbstractContextManager[None]:
        """Within it nothing is taped: it is not the script's own."""
        return self._mode.aside()

    @property
    def is_aside(self) -> bool:
        """Whether that is so now."""
        return self._mode.depth > 0

    # ---- loaders

    def epoch_begins(self, loader: Any) -> None:
        """A loader is iterated; it is pickled the first time, as its generators are then."""
        if self._elsewhere:
            return
        with self.aside():
            number = self._loaders.begins(loader, not self.recording.steps)
            self._event("epoch", number)
            self._begun[number] = Epoch(number, len(self.recording.steps), states_of(loader))

    def batch_fetched(self, loader: Any, batch: Any) -> None:
        """A batch came out of a loader."""
        if self._elsewhere:
            return
        number = self._loaders.number(loader)
        place = self._event("batch", (number, torch.is_grad_enabled()))
        if number in self._begun:
            self.recording.epochs.append(self._begun.pop(number))
        if not torch.is_grad_enabled():
            self._forget()  # an evaluation
            return
        if not self._slices:
            self._tape.clear()
        self._batch = loader, batch, place
        self._in_step, self._states = True, [torch.get_rng_state(), None]

    def epoch_ended(self, loader: Any) -> None:
        """A loader is exhausted."""
        if not self._elsewhere:
            self._event("end", self._loaders.number(loader))

    # ---- the step

    def module_begins(self, module: Any, args: Any, kwargs: Any) -> None:
        """A module's forward begins."""
        if self._mode.depth == 0 and self._mode.active:
            self._open = module, self._tape.refs(args, kwargs), args, kwargs
            if torch.is_grad_enabled():
                self._in_step = True
                self._first_module()
                self._keep_buffers(module)
        self._mode.depth += 1

    def _first_module(self) -> None:
        if self._in_step and self._states[1] is None:
            self._states[1] = torch.get_rng_state()

    def _keep_buffers(self, module: Any) -> None:
        if module.training and not self.recording.steps:
            for buffer in module.buffers():
                self._buffers.setdefault(id(buffer), (buffer, buffer.detach().clone()))

    def module_ended(self, module: Any, result: Any) -> None:
        """A module's forward ended; only the outermost is noted."""
        self._mode.depth -= 1
        if self._mode.depth == 0 and self._mode.active and self._open[0] is module:
            _, refs, args, kwargs = self._open
            called = module.module if isinstance(module, torch.nn.DataParallel) else module
            self._tape.add("", called, args, kwargs, result, refs)

    def backward_begins(self, loss: Any, options: dict[str, Any]) -> None:
        """``loss.backward()``."""
        self._event("backward")
        for name in ("retain_graph", "create_graph", "inputs"):
            if options.get(name):
                self._event("option", name)
        loader, batch, fetched = self._batch
        with self.aside():
            if self._mode.active:
                self._variables.look()
                found = cut(self._tape, loss, batch, fetched, self._variables)
                self._slices.append(found)
                inputs = found.inputs
                if not self._micros and self.recording.steps and _has_gradients(self._slices[0]):
                    self.recording.carried = True
            else:
                by_path = dict(leaves_of(batch))
                inputs = [by_path[path] for path in self._slices[0].program.paths if path in by_path]
            if any(path is not None for path in self._slices[0].program.paths):
                self._training(loader, fetched)
            value = float(loss.detach()) if loss.numel() == 1 else float("nan")
            self._micros.append(Micro(self._copies(inputs), value, (self._states[0], self._states[1])))
        self._forget()
        self._states = [torch.get_rng_state() if self._loader is None else None, None]

    def _training(self, loader: Any, fetched: Place) -> None:
        """A loader's batch is trained on."""
        if self._loader is not None and self._loaders.number(loader) != self._loaders.number(self._loader):
            text = "batches come out of another loader than before; data.py has the first one only"
            self.recording.findings.append(("loader-changes", fetched, text))
        self._loader = loader

    def _copies(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Those of the step before, where a script that makes its batches itself has the same: all its data, perhaps."""
        held = [one.detach() for one in inputs]
        before = self.recording.steps[-1].micros[-1].inputs if self._loader is None and self.recording.steps else None
        return before if before is not None and same_tensors(held, before) else [one.clone() for one in held]

    def clipped(self, kind: str, parameters: Any, limit: float, options: dict[str, Any]) -> None:
        """Gradients are clipped."""
        self._event(f"clip_{kind}", limit)
        clipped = {id(one) for one in parameters}
        slices = self._slices[:1]
        trained = [p for one in slices for p in one.parameters() if p.requires_grad and p.grad is not None]
        self._clips.append((kind, limit, {"all": all(id(p) in clipped for p in trained), **options}))

    def step_begins(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """``optimizer.step()``."""
        closure = (args[1] if len(args) > 1 else None) or kwargs.get("closure")
        self._event("step", (id(optimizer), type(optimizer).__name__, closure is not None))
        self._forget()
        self._mode.depth += 1
        self.recording.optimizer = self.recording.optimizer or id(optimizer)
        if self._optimizer is None and self._slices and self._slices[0].program.operations:
            self._optimizer = optimizer
            self.recording.optimizer = id(optimizer)
            self._variables.look()
            self.recording.wanted_epochs = self._variables.epochs
            self.recording.start = parcels.start(self._slices[0], optimizer, self._schedulers, self._buffers, self._averaged())
            if self._loader is not None:
                self.recording.loader = self._loaders.pickled(self._loader)
                self.recording.training_loader = self._loaders.number(self._loader)
            self.recording.step_frames = rates.frames(sys._getframe(1), values=False)
        rates.watched(optimizer)  # a state that was loaded has groups of its own
        self._options = options_of(optimizer)

    def option_set(self, group: Any, key: str, value: Any) -> None:
        """An option of a group is set, by the script or by torch."""
        frame = rates.setter()
        if frame is None or self._elsewhere:
            return
        optimizer = next((o for o in self._optimizers if any(one is group for one in o.param_groups)), None)
        if optimizer is None or self._optimizer not in (None, optimizer):
            return
        number = next(n for n, one in enumerate(optimizer.param_groups) if one is group)
        events, made = len(self.recording.events), self.recording.by_hand
        same = made[-1].frames if made and made[-1].at == events else []
        if not same or (same[0].line, same[0].file) != (frame.f_lineno, os.path.abspath(frame.f_code.co_filename)):
            same = rates.frames(frame)
        made.append(ByHand(events, number, key, value, same))

    def step_ended(self, optimizer: Any) -> None:
        """It has stepped: a step is recorded."""
        self._mode.depth -= 1
        made = self.recording
        if len(made.steps) < self._wanted:
            made.steps.append(Step(self._micros, self._options, self._clips, time.monotonic()))
        if len(made.steps) == self._wanted and not self._done_at:
            self._done_at = time.monotonic()
            self._take_end()
        self._micros, self._clips, self._in_step = [], [], False
        if len(made.steps) >= TAPED and self._slices and None not in self._slices[0].program.paths:
            self._stop_taping()
        if self._done_at and (self._seen_enough() or time.monotonic() - self._done_at > FURTHER_S):
            raise Stopped

    def _seen_enough(self) -> bool:
        """Whether the end of an epoch, and what follows it, was seen, where something may follow it."""
        events = self.recording.events
        ended = self._loader is None or any(
            one.kind == "end" and one.value == self._loaders.number(self._loader) for one in events
        )
        waiting = self.recording.by_hand or (self._schedulers and not any(one.kind == "schedule" for one in events))
        return ended or not (waiting or len(self.recording.steps[0].micros) > 1)

    def _forget(self) -> None:
        """Begin the tape anew, once it was looked through for what the script does to weights and gradients itself."""
        if not self._mode.active:
            return
        if len(self._slices) > 1:  # before the first step weights are written to as they are made
            self.recording.findings += written(self._tape, self._slices[0].parameters())
        self._tape.clear()

    def optimizer_made(self, optimizer: Any) -> None:
        """An optimizer's constructor ended; those of its parents are told of first."""
        self._optimizers.append(optimizer)
        rates.watched(optimizer)
        self.recording.made_at[id(optimizer)] = user_place(optimizer)

    def group_added(self, optimizer: Any) -> None:
        """A group was added, by a constructor or later."""
        rates.watched(optimizer)
        if self.recording.steps and optimizer is self._optimizer:
            text = "parameters are added to the optimizer on the way: the groups written here are those that it began with"
            self.recording.findings.append(("optimizer-changed", user_place(), text))

    def zeroed(self, owner: Any) -> None:
        """Gradients are set to zero."""
        self._event("zero")

    def scheduler_made(self, scheduler: Any) -> None:
        """A schedule was made; others may be its parts."""
        if not self.recording.steps:
            self._schedulers.append(scheduler)

    def scheduled(self, scheduler: Any, args: Any) -> None:
        """A scheduler was stepped."""
        metrics = [float(one) for one in args if isinstance(one, (int, float, torch.Tensor))]
        self._event("schedule", (id(scheduler), type(scheduler).__name__, metrics))

    def averages_made(self, averaged: Any, model: Any) -> None:
        """Averages of weights begin."""
        self._averages.append((averaged, model, user_place()))
        if self.recording.steps:
            text = "averages of the weights begin on the way; they are left out"
            self.recording.findings.append(("averages-left-out", user_place(), text))

    def averages_taken(self, averaged: Any, model: Any) -> None:
        """The weights of a module were taken into them."""
        self._event("average", (id(averaged), any(one is averaged and of is model for one, of, _ in self._averages)))

    def _averaged(self) -> tuple[str, Any] | None:
        """The averages that there are before the first step, and where the module that they are of is in it."""
        found = [(path_in(self._slices[0], model), averaged, place) for averaged, model, place in self._averages]
        self.recording.averages = [(id(averaged), path, place) for path, averaged, place in found]
        return next(((path, averaged) for path, averaged, _ in found if path), None)

    def noticed(self, code: str, text: str) -> None:
        """Something that must be said."""
        if code != "second-gradient" or self._in_step:
            self.recording.findings.append((code, user_place(), text))

    def not_saved(self, path: Any) -> None:
        """A file is kept in memory, while steps are recorded."""
        self.recording.findings.append(("not-saved", user_place(), f"while it was recorded, {path} was not written"))


def _has_gradients(step: Slice) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in step.parameters())
