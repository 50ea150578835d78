"""The setup trained again in torch: on the recorded batches, with the script's random numbers or with none."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dsbridge.migrate.averages import Averages
from dsbridge.migrate.forward import Program, TrainStep, at_path, train_step
from dsbridge.migrate.hand_rates import SCHEDULE
from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.recording import Recording, Step, options_of
from dsbridge.model import oracle

Arrays = dict[str, "np.ndarray[Any, Any]"]


@dataclass(slots=True)
class Materials:
    """Live objects as they were before the first step; each has its own. ``averages``: of weights, None where none are kept."""

    program: Program
    step: TrainStep
    optimizer: Any
    schedulers: dict[int, Any]
    averages: Averages | None = None

    @property
    def names(self) -> dict[int, str]:
        """Each parameter's name, by identity."""
        return {id(p): name for name, p in self.step.named_parameters()}

    @property
    def averaged(self) -> dict[int, str]:
        """The same of all that averages may be of: buffers, too."""
        return {id(one): name for name, one in (*self.step.named_parameters(), *self.step.named_buffers())}


def materials(recording: Recording) -> Materials:
    """Unpickle what a recording began with; rates that are set by hand are a schedule."""
    assert isinstance(recording.start, bytes), recording.start
    found = pickle.loads(recording.start)
    step = train_step(found["program"], found["modules"], found["tensors"])
    path, averaged = found.get("averages") or ("", None)
    averages = Averages(averaged, at_path(step, path)) if path else None
    if recording.rates is not None:
        found["schedulers"][SCHEDULE] = recording.rates.scheduler(found["optimizer"])
    return Materials(found["program"], step, found["optimizer"], found["schedulers"], averages)


@dataclass(slots=True)
class Point:
    """One step taken apart: weights and optimizer state before it, the loss, gradients as they came, both after it.

    ``averages``: those of the weights, before and after it; ``averaged``: how often they were taken before it.
    """

    before: Arrays
    state: dict[str, Arrays]
    loss: float
    gradients: Arrays
    after: Arrays
    later: dict[str, Arrays]
    options: list[dict[str, Any]]
    averages: tuple[Arrays, Arrays] = field(default_factory=lambda: ({}, {}))
    averaged: int = 0


@dataclass(slots=True)
class Run:
    """What a training gave. ``losses``: one a micro-batch; ``options``: of the groups in each step."""

    losses: list[float] = field(default_factory=list)
    options: list[list[dict[str, Any]]] = field(default_factory=list)
    weights: Arrays = field(default_factory=dict)
    state: dict[str, Arrays] = field(default_factory=dict)
    averages: Arrays = field(default_factory=dict)
    points: dict[int, Point] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class How:
    """How to train.

    ``dtype``: torch's; ``random``: with the script's random numbers (which of a micro-batch's two states), None: with none;
    ``shake``: weights begin this far away (relative), by this seed; ``points``: steps to take apart; ``recorded``: set each
    group's rates to what was recorded.
    """

    dtype: torch.dtype = torch.float32
    random: int | None = None
    shake: tuple[float, int] = (0.0, 0)
    points: tuple[int, ...] = ()
    recorded: bool = False


def weights_before(recording: Recording) -> Arrays:
    """Parameters and buffers before the first step."""
    return weights(materials(recording).step)


def replay(recording: Recording, pattern: Pattern, how: How = How()) -> Run:
    """Train, with as many threads as the script had. Global generators, and torch's threads here, are as before."""
    live = materials(recording)
    _widen(live, how.dtype)
    if how.shake[0]:
        oracle.shake(live.step, *how.shake)
    if how.random is None:
        oracle.no_depth(live.step)
    mode: Any = nullcontext() if how.random is not None else oracle.NoDropout(wide=how.dtype is torch.float64)
    schedules = _by_step(pattern)
    made = Run()
    with (
        _threads(recording.threads),
        torch.random.fork_rng(devices=[]),
        oracle.default_dtype(how.dtype),
        torch.enable_grad(),
        mode,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the schedule's, whose optimizer was unpickled
        live.optimizer.zero_grad()
        for number, step in enumerate(recording.steps):
            one_step(live, step, number, how, made)
            for scheduler, metrics in schedules.get(number + 1, ()):
                live.schedulers[scheduler].step(*metrics)
    made.weights, made.state, made.averages = weights(live.step), state(live), averages(live)
    return made


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_step(live: Materials, step: Step, number: int, how: How, made: Run) -> None:
    """One step of the optimizer on its recorded micro-batches; ``made`` gets what it gave."""
    if how.recorded:
        for group, options in zip(live.optimizer.param_groups, step.options, strict=True):
            group.update(
                {key: value for key, value in options.items() if key in group and not isinstance(group[key], torch.Tensor)}
            )
    made.options.append(options_of(live.optimizer))
    begun = (weights(live.step), state(live)) if number in how.points else None
    means, count = (averages(live), live.averages.count) if begun and live.averages else ({}, 0)
    total = 0.0
    for micro in step.micros:
        if how.random is not None and micro.states[how.random] is not None:
            torch.set_rng_state(micro.states[how.random])
        loss = live.step(*(_cast(one, how.dtype) for one in micro.inputs))
        torch.autograd.backward(loss)
        made.losses.append(float(loss.detach()))
        total += made.losses[-1]
    gradients = _gradients(live.step) if begun else {}
    clip(live, step)
    live.optimizer.step()
    if live.averages:
        live.averages.take()
    live.optimizer.zero_grad()
    live.step.zero_grad()
    if begun:
        later, taken = state(live), (means, averages(live))
        made.points[number] = Point(*begun, total, gradients, weights(live.step), later, made.options[-1], taken, count)


def clip(live: Materials, step: Step) -> None:
    """Clip as the script did."""
    trained = [p for p in live.step.parameters() if p.grad is not None]
    for kind, limit, options in step.clips:
        if kind == "norm":
            torch.nn.utils.clip_grad_norm_(trained, limit, float(options.get("norm_type", 2.0)))
        else:
            torch.nn.utils.clip_grad_value_(trained, limit)


def weights(step: torch.nn.Module) -> Arrays:
    """Parameters and buffers, in float64 where they are floating-point."""
    held = (*step.named_parameters(), *step.named_buffers())
    return {name: _array(tensor) for name, tensor in held if not name.endswith("num_batches_tracked")}


def state(live: Materials) -> dict[str, Arrays]:
    """The optimizer's state, by parameter and slot."""
    names = live.names
    found = live.optimizer.state
    return {
        names[id(p)]: {key: _array(value) for key, value in found[p].items() if isinstance(value, torch.Tensor)}
        for group in live.optimizer.param_groups
        for p in group["params"]
        if p in found and id(p) in names
    }


def averages(live: Materials) -> Arrays:
    """The averages of parameters; none where none are kept."""
    return live.averages.arrays(live.averaged) if live.averages else {}


def _gradients(step: torch.nn.Module) -> Arrays:
    return {name: _array(p.grad) for name, p in step.named_parameters() if p.grad is not None}


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    held = tensor.detach()
    array: np.ndarray[Any, Any] = (held.double() if held.dtype.is_floating_point else held).clone().numpy()
    return array


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    wide = dtype is torch.float64 and tensor.dtype.is_floating_point
    return tensor.to(dtype) if wide else tensor.clone()


def _widen(live: Materials, dtype: torch.dtype) -> None:
    if dtype is not torch.float64:
        return
    live.step.double()
    if live.averages:
        live.averages.averaged.double()
    for slots in live.optimizer.state.values():
        for key, value in slots.items():
            if isinstance(value, torch.Tensor) and value.dtype.is_floating_point:
                slots[key] = value.double()


def _by_step(pattern: Pattern) -> dict[int, list[tuple[int, list[float]]]]:
    found: dict[int, list[tuple[int, list[float]]]] = {}
    for steps, identity, metrics in pattern.schedules:
        found.setdefault(steps, []).append((identity, metrics))
    return found
