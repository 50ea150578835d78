"""A torch schedule as ``make_scheduler(optimizer)``: the same rates, bit for bit, from where it stands."""

from __future__ import annotations

import inspect
import re
from typing import Any

from dsbridge.checkpoint.scheduler import ARGUMENTS, COUNTERS
from dsbridge.errors import Unsupported
from dsbridge.migrate.functions import Functions
from dsbridge.migrate.groups import cycled, momenta, own_class, plain_rate, trained_groups
from dsbridge.migrate.source import Source, call, carried, imports_of, literal, taken

_MODULE = "torch.optim.lr_scheduler"
_BASED = ("CosineAnnealingLR", "CosineAnnealingWarmRestarts", "LambdaLR")  # their rates come from the base rates
_GROUPWISE = ("lr_lambda", "base_lr", "max_lr", "min_lr")
_TOGETHER = ("SequentialLR", "ChainedScheduler")
_TRIED = 64  # steps for which a function is compared with its source


def schedule_source(scheduler: Any, optimizer: Any) -> Source:
    """The source of a schedule of torch's, over the torch optimizer ``optimizer``.

    ``lines`` define ``make_scheduler(optimizer)``, for the optimizer of ``optimizer_source``. What it returns has ``step()``
    (``step(metric)`` for ReduceLROnPlateau), ``get_last_lr()``, ``state_dict()`` and ``load_state_dict(state)``, and stands
    where torch's stands now; it sets rates (and cycled momenta) by ``ops.assign``, which compiled steps see.
    Raises ``Unsupported`` for classes that are not torch's, functions that cannot be written, rates that are tensors.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    >>> made = schedule_source(torch.optim.lr_scheduler.StepLR(optimizer, 30), optimizer)
    >>> print(*made.lines, sep="\\n")
    def make_scheduler(optimizer):
        \"\"\"torch.optim.lr_scheduler.StepLR.\"\"\"
        rates = Rates(optimizer, [0.1])
        return StepLR(rates, step_size=30)
    """
    kind = own_class(scheduler, _MODULE, "the schedule", "write its rates as a LambdaLR")
    writer = _Writer(optimizer)
    groups = optimizer.param_groups
    given = ["optimizer", literal([plain_rate(groups[number]) for number in writer.kept])]
    if cycled(optimizer):
        given.append(f"momenta={literal(momenta(optimizer))}")
    function, arguments = writer.write(scheduler, first=True)
    done = getattr(scheduler, "last_epoch", 0)
    lines = [
        "def make_scheduler(optimizer):",
        f'    """torch.optim.lr_scheduler.{kind}{f", after {done} steps" if done > 0 else ""}."""',
        *call("rates = ", "Rates", given),
        *writer.lines,
        *call("return ", function, arguments),
    ]
    texts = [carried(["Rates", *writer.kinds]), writer.functions.definitions]
    imports = dict.fromkeys((*imports_of(texts[0]), *writer.functions.imports))
    return Source(tuple(imports), "\n\n\n".join(filter(None, texts)), tuple(lines), writer.functions.notes)


class _Writer:
    """Writes schedules; those inside others become variables."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self.kept = trained_groups(optimizer)
        self.kinds: list[str] = []
        self.lines: list[str] = []
        self.functions = Functions(taken())

    def write(self, scheduler: Any, first: bool) -> tuple[str, list[str]]:
        """The class and the arguments. ``first``: it began when it was made, not when another had ended."""
        kind = own_class(scheduler, _MODULE, "the schedule", "write its rates as a LambdaLR")
        self.kinds.append(kind)
        if kind in _TOGETHER:
            return kind, self._together(scheduler, kind, first)
        if kind == "OneCycleLR":
            given = self._one_cycle(scheduler)
        elif kind in ARGUMENTS:
            given = self._arguments(scheduler, kind)
        else:
            raise Unsupported("the schedule", kind, "", "it is not known", f"known are {', '.join(ARGUMENTS)}")
        if kind in _BASED or not first:
            given = {"base_lrs": self._groupwise(scheduler, "base_lrs"), **given}
        if kind == "CyclicLR":
            given.pop("base_lrs", None)
            if scheduler.cycle_momentum:
                pairs = list(zip(scheduler.base_momentums, scheduler.max_momentums, strict=True))
                given["momenta"] = literal([pairs[number] for number in self.kept])
        if scheduler.last_epoch > 0:
            given["last_epoch"] = literal(scheduler.last_epoch)
        return kind, ["rates", *(f"{name}={value}" for name, value in given.items())]

    def _together(self, scheduler: Any, kind: str, first: bool) -> list[str]:
        if not first:
            raise Unsupported("the schedule", kind, "", "torch itself cannot begin one inside of a SequentialLR")
        names: list[str] = []
        for number, inner in enumerate(scheduler._schedulers):
            function, arguments = self.write(inner, first=kind == "ChainedScheduler" or number == 0)
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", function).lower()
            name = f"{name}_{number + 1}" if name in names else name
            names.append(name)
            self.lines += call(f"{name} = ", function, arguments)
        given = [f"[{', '.join(names)}]"]
        if kind == "SequentialLR":
            given.append(f"milestones={literal(list(scheduler._milestones))}")
            given += [f"last_epoch={scheduler.last_epoch}"] if scheduler.last_epoch else []
        return given

    def _arguments(self, scheduler: Any, kind: str) -> dict[str, str]:
        """Those of torch that are not torch's defaults, and counters that have moved."""
        defaults = inspect.signature(type(scheduler)).parameters
        given = {}
        for name, where in ARGUMENTS[kind].items():
            value = where(scheduler) if callable(where) else getattr(scheduler, where)
            if name == "lr_lambda":
                given[name] = (
                    f"[{', '.join(self._function(value[number], 'factor', scheduler.last_epoch) for number in self.kept)}]"
                )
            elif name == "scale_fn" and value is not None:
                given[name] = self._function(value, "scale", 1)
            elif name in _GROUPWISE:
                if any(value[number] != defaults[name].default for number in self.kept):
                    given[name] = self._literal([value[number] for number in self.kept], name)
            elif value != defaults[name].default:
                given[name] = self._literal(value, name)
        if kind == "CyclicLR":
            given |= self._sizes(scheduler)
        fresh = {
            "T_cur": scheduler.last_epoch,
            "T_i": getattr(scheduler, "T_0", None),
            "best": getattr(scheduler, "mode_worse", 0),
        }
        for name, _ in COUNTERS.get(kind, ()):
            value = getattr(scheduler, name)
            if value != fresh.get(name, 0) or (name == "T_cur" and value):
                given[name] = self._literal(value, name)
        return given

    def _sizes(self, scheduler: Any) -> dict[str, str]:
        """torch keeps their sum and the first one's share only."""
        whole, share = scheduler.total_size, scheduler.step_ratio
        for up in (round(whole * share), whole * share):
            if up / whole == share and up + (whole - up) == whole:
                sizes = [int(size) if float(size).is_integer() else size for size in (up, whole - up)]
                return {"step_size_up": literal(sizes[0]), "step_size_down": literal(sizes[1])}
        raise Unsupported("the schedule", "step_size_up", "", f"{share} of {whole} is no number of steps")

    def _one_cycle(self, scheduler: Any) -> dict[str, str]:
        phases = scheduler._schedule_phases
        groups = [self._optimizer.param_groups[number] for number in self.kept]

        def points(what: str) -> str:
            keys = [phases[0][f"start_{what}"], *(phase[f"end_{what}"] for phase in phases)]
            return self._literal([[group[key] for group in groups] for key in keys], f"{what} of a phase")

        given = {"points": points("lr"), "ends": literal([phase["end_step"] for phase in phases])}
        given["total_steps"] = literal(scheduler.total_steps)
        if scheduler._anneal_func_type != "cos":
            given["anneal"] = literal(scheduler._anneal_func_type)
        if scheduler.cycle_momentum:
            given["momenta"] = points("momentum")
        return given

    def _groupwise(self, scheduler: Any, name: str) -> str:
        values = getattr(scheduler, name)
        return self._literal([values[number] for number in self.kept], name)

    def _literal(self, value: Any, name: str) -> str:
        try:
            return literal(value)
        except ValueError as exc:
            raise Unsupported("the schedule", name, "", f"it cannot be written: {exc}") from None

    def _function(self, function: Any, otherwise: str, epoch: int) -> str:
        """Its name here; its source was compared with it on the steps to come."""
        name = self.functions.add(function, otherwise=otherwise)
        space: dict[str, Any] = {}
        exec("\n".join((*self.functions.imports, self.functions.definitions)), space)
        for step in range(max(epoch, 0), max(epoch, 0) + _TRIED):
            ours, theirs = _outcome(space[name], step), _outcome(function, step)
            if ours != theirs:
                reason = f"at step {step} it gives {theirs}, and its source {ours}: it reads something that changes"
                raise Unsupported("the schedule", f"function {name}", "", reason, "compute the rate from the step alone")
        return name


def _outcome(function: Any, step: int) -> Any:
    try:
        return function(step)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
