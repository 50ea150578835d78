"""A torch learning-rate schedule goes on in MindSpore: as a list of rates per step (nn), or as a scheduler (experimental)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from dsbridge.checkpoint.param_groups import assign, number
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.detect import require_mindspore
from dsbridge.frameworks.mindspore_tensors import tensor_type
from dsbridge.report import Report


def _milestones(scheduler: Any) -> list[int]:
    return sorted(scheduler.milestones.elements())


def _lambdas(scheduler: Any) -> list[Callable[[int], float]]:
    return list(scheduler.lr_lambdas)


def _up(scheduler: Any) -> float:
    return float(scheduler.total_size * scheduler.step_ratio)


def _down(scheduler: Any) -> float:
    return float(scheduler.total_size - _up(scheduler))


def _scale_fn(scheduler: Any) -> Any:
    return scheduler._scale_fn_custom


def _bases(scheduler: Any) -> list[float]:
    return [float(rate) for rate in scheduler.base_lrs]


def _min_lrs(scheduler: Any) -> list[float]:
    return [float(rate) for rate in scheduler.min_lrs]


Getter = str | Callable[[Any], Any]

_CYCLE: Mapping[str, Getter] = {
    "max_lr": "max_lrs", "step_size_up": _up, "step_size_down": _down, "mode": "mode", "gamma": "gamma",
    "scale_fn": _scale_fn, "scale_mode": "scale_mode",
}  # fmt: skip

ARGUMENTS: Mapping[str, Mapping[str, Getter]] = {
    "StepLR": {"step_size": "step_size", "gamma": "gamma"},
    "MultiStepLR": {"milestones": _milestones, "gamma": "gamma"},
    "ExponentialLR": {"gamma": "gamma"},
    "ConstantLR": {"factor": "factor", "total_iters": "total_iters"},
    "LinearLR": {"start_factor": "start_factor", "end_factor": "end_factor", "total_iters": "total_iters"},
    "PolynomialLR": {"total_iters": "total_iters", "power": "power"},
    "CosineAnnealingLR": {"T_max": "T_max", "eta_min": "eta_min"},
    "CosineAnnealingWarmRestarts": {"T_0": "T_0", "T_mult": "T_mult", "eta_min": "eta_min"},
    "LambdaLR": {"lr_lambda": _lambdas},
    "MultiplicativeLR": {"lr_lambda": _lambdas},
    "CyclicLR": {"base_lr": _bases, **_CYCLE},
    "ReduceLROnPlateau": {
        name: name for name in ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")
    }
    | {"min_lr": _min_lrs},
}
"""Constructor arguments, the same on both sides, and where a live torch scheduler keeps them."""

REPLAYED = ("OneCycleLR", "SequentialLR", "ChainedScheduler")
"""Only as rates per step: MindSpore has none, or (SequentialLR) one whose resuming was not measured."""

COUNTERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "CosineAnnealingWarmRestarts": (("T_cur", "T_cur"), ("T_i", "T_i")),
    "ReduceLROnPlateau": (("best", "best"), ("num_bad_epochs", "wait"), ("cooldown_counter", "cooldown_counter")),
}
"""Beside ``last_epoch``: torch's attribute, MindSpore's Parameter."""

_FLOATS = ("gamma", "power")  # where MindSpore insists on a float
_CYCLE_HINT = "pass cycle_momentum=False in torch, or set MindSpore's momentum by hand"


def _arguments(scheduler: Any, kind: str) -> dict[str, Any]:
    values = {}
    for name, where in ARGUMENTS[kind].items():
        value = where(scheduler) if callable(where) else getattr(scheduler, where)
        values[name] = float(value) if name in _FLOATS else value
    return values


@dataclass(frozen=True, slots=True)
class Schedule:
    """What ``convert_scheduler`` returns: a torch schedule, ready for MindSpore.

    ``kind``: torch's class. ``steps_per_epoch``: optimizer steps for one ``scheduler.step()``. ``last_epoch``: steps that the
    scheduler has done. ``base_lrs`` and ``current``: a rate for each group.
    """

    kind: str
    steps_per_epoch: int
    last_epoch: int
    base_lrs: tuple[float, ...]
    current: tuple[float, ...]
    scheduler: Any
    report: Report

    def per_step(self, steps: int, group: int = 0) -> list[float]:
        """The rate of each of the first ``steps`` optimizer steps of a whole training: ``mindspore.nn``'s ``learning_rate=``.

        They are counted from the start, as ``global_step`` is. Those of epochs already done are NaN: nothing reads them, unless
        ``global_step`` was not set. Raises ``CheckpointError`` for ReduceLROnPlateau, whose rates depend on losses to come.
        """
        epochs = -(-steps // self.steps_per_epoch)
        past = [math.nan] * min(self.last_epoch, epochs)
        rates = past + [epoch[group] for epoch in self._ahead(epochs - len(past))]
        return [rates[step // self.steps_per_epoch] for step in range(steps)]

    def upcoming(self, count: int, group: int = 0) -> tuple[float, ...]:
        """The rates now and after each of the next ``count - 1`` calls of ``scheduler.step()``."""
        if self.kind == "ReduceLROnPlateau":
            return (self.current[group],) * count
        return tuple(epoch[group] for epoch in self._ahead(count))

    def upcoming_steps(self, count: int, step: int, group: int = 0) -> tuple[float, ...]:
        """The rates of the next ``count`` optimizer steps after ``step`` of them."""
        start = step % self.steps_per_epoch
        epochs = [(start + index) // self.steps_per_epoch for index in range(count)]
        rates = self.upcoming(epochs[-1] + 1, group)
        return tuple(rates[epoch] for epoch in epochs)

    def _ahead(self, epochs: int) -> list[tuple[float, ...]]:
        if self.kind == "ReduceLROnPlateau":
            raise CheckpointError(
                "ReduceLROnPlateau has no list of rates: they depend on losses to come",
                hint="use an experimental optimizer and attach()",
            )
        if epochs == 0:
            return []
        scheduler = _copy(self.scheduler)
        rates = [_rates_of(scheduler)]
        for _ in range(epochs - 1):
            scheduler.step()
            rates.append(_rates_of(scheduler))
        return rates

    def attach(self, ms_optimizer: Any) -> Any:
        """MindSpore's own scheduler on an experimental optimizer, standing where torch's stands; step it as in torch.

        Sets the groups' ``lr`` and ``initial_lr``. Raises ``CheckpointError`` for kinds that MindSpore has not, for a
        ``mindspore.nn`` optimizer, and for another number of groups.
        """
        mindspore = require_mindspore("Schedule.attach")
        tensor_type()
        self._check_attach(ms_optimizer)
        arguments = {name: _wrapped(value) for name, value in _arguments(self.scheduler, self.kind).items()}
        for group, base in zip(ms_optimizer.param_groups, self.base_lrs, strict=True):
            assign(group["lr"], base)
            group["initial_lr"] = mindspore.Tensor(base, mindspore.float32)
        made = getattr(mindspore.experimental.optim.lr_scheduler, self.kind)(ms_optimizer, **arguments)
        assign(made.last_epoch, self.last_epoch)
        for theirs, ours in COUNTERS.get(self.kind, ()):
            assign(getattr(made, ours), getattr(self.scheduler, theirs))
        for group, rate in zip(ms_optimizer.param_groups, self.current, strict=True):
            assign(group["lr"], rate)
        return made

    def _check_attach(self, ms_optimizer: Any) -> None:
        groups = getattr(ms_optimizer, "param_groups", None)
        if self.kind not in ARGUMENTS:
            raise CheckpointError(
                f"{self.kind} has no measured counterpart among MindSpore's schedulers",
                hint="give a mindspore.nn optimizer learning_rate=schedule.per_step(steps)",
            )
        if groups is None:
            raise CheckpointError(
                f"a scheduler cannot be attached to {type(ms_optimizer).__name__}, which is no experimental optimizer",
                hint="build it with learning_rate=schedule.per_step(steps)",
            )
        if len(groups) != len(self.base_lrs):
            raise CheckpointError(
                f"the torch optimizer has {len(self.base_lrs)} param groups, the MindSpore optimizer {len(groups)}",
                hint="build it with torch's groups, in torch's order",
            )


def convert_scheduler(torch_scheduler: Any, steps_per_epoch: int) -> Schedule:
    """Take over a torch scheduler as it stands (the scheduler itself is not changed).

    ``steps_per_epoch``: optimizer steps between two calls of ``scheduler.step()``; 1 where it is stepped every batch.
    Raises ``CheckpointError`` for a class that is not torch's own: wrap its rates in a LambdaLR.
    """
    kind = type(torch_scheduler).__name__
    if type(torch_scheduler).__module__ != "torch.optim.lr_scheduler" or kind not in (*ARGUMENTS, *REPLAYED):
        raise CheckpointError(
            f"no known torch scheduler: {type(torch_scheduler).__module__}.{kind}",
            hint="write its rates as a LambdaLR; pass the live scheduler, not its state",
        )
    if steps_per_epoch < 1:
        raise CheckpointError(f"steps_per_epoch is {steps_per_epoch}, but at least one optimizer step belongs to an epoch")
    report = Report(f"scheduler {kind}")
    for inner in (torch_scheduler, *getattr(torch_scheduler, "_schedulers", ())):
        if getattr(inner, "cycle_momentum", False):
            message = "torch cycles the momentum too, MindSpore's stays as it is"
            report.add("momentum-cycles", "warning", type(inner).__name__, message, _CYCLE_HINT)
    groups = torch_scheduler.optimizer.param_groups
    current = tuple(float(group["lr"]) for group in groups)
    return Schedule(
        kind,
        steps_per_epoch,
        int((torch_scheduler._schedulers[0] if kind == "ChainedScheduler" else torch_scheduler).last_epoch),
        tuple(float(group.get("initial_lr", group["lr"])) for group in groups),
        current,
        _copy(torch_scheduler),
        report,
    )


def _copy(scheduler: Any) -> Any:
    """A copy of a torch scheduler on a stand-in for its optimizer: stepping it changes nothing of the user's."""

    def step() -> None: ...

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    options = [{key: value for key, value in group.items() if key != "params"} for group in scheduler.optimizer.param_groups]
    stand_in = SimpleNamespace(param_groups=copy.deepcopy(options), step=step, _opt_called=True)
    memo: dict[int, Any] = {id(scheduler.optimizer): stand_in}
    for inner in (scheduler, *getattr(scheduler, "_schedulers", ())):
        memo.update((id(function), function) for function in getattr(inner, "lr_lambdas", ()))
    return copy.deepcopy(scheduler, memo)


def _rates_of(scheduler: Any) -> tuple[float, ...]:
    return tuple(float(group["lr"]) for group in scheduler.optimizer.param_groups)


def _wrapped(value: Any) -> Any:
    """MindSpore hands a Parameter to the user's function, torch a number."""
    if isinstance(value, list) and value and callable(value[0]):
        return [lambda epoch, function=function: float(function(int(number(epoch)))) for function in value]
    return (lambda x: float(value(number(x)))) if callable(value) else value


def next_rates(ms_scheduler: Any, count: int) -> list[tuple[float, ...]]:
    """For each group: the rate now and after each of the next ``count - 1`` steps of a MindSpore scheduler.

    Steps it and puts everything back. ReduceLROnPlateau: the rate now, for what comes depends on the losses.
    """
    groups = ms_scheduler.optimizer.param_groups
    parameter = require_mindspore("next_rates").Parameter
    held = [value for value in vars(ms_scheduler).values() if isinstance(value, parameter)]
    held += [group["lr"] for group in groups]
    before = [value.asnumpy().copy() for value in held]
    rates = [tuple(float(number(group["lr"])) for group in groups)]
    for _ in range(count - 1):
        if type(ms_scheduler).__name__ != "ReduceLROnPlateau":
            ms_scheduler.step()
        rates.append(tuple(float(number(group["lr"])) for group in groups))
    for value, old in zip(held, before, strict=True):
        assign(value, old)
    return list(zip(*rates, strict=True))
