"""A torch optimizer goes on as a MindSpore one: state, step counts, learning rates; nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.checkpoint.optimizer_links import Link, lay_out, links, pair_up, places_of
from dsbridge.checkpoint.optimizer_table import Recipe, Slot, recipe
from dsbridge.checkpoint.param_groups import (
    Array,
    Group,
    Rate,
    StatePairs,
    TorchState,
    assign,
    number,
    read_mindspore,
    read_torch,
    target_name,
)
from dsbridge.checkpoint.scheduler import Schedule, next_rates
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors
from dsbridge.frameworks.detect import require_mindspore
from dsbridge.report import Report, Reported


@dataclass(frozen=True, slots=True)
class OptimizerReport(Reported):
    """What ``convert_optimizer`` and ``optimizer_to_torch`` did; ``print`` it.

    ``verdict``: "exact" or "approximate" (the findings say under which condition). ``step``: torch's count, None where unknown.
    ``moved``: (torch names, MindSpore names) with their state. ``rates``: the next learning rates of each MindSpore group, as
    (torch's, MindSpore's).
    """

    torch_class: str
    target: str
    verdict: str
    step: int | None
    moved: tuple[Link, ...]
    rates: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    report: Report

    def __str__(self) -> str:
        lines = [
            f"torch {self.torch_class} <-> {self.target}: {self.verdict}, step {self.step}, {len(self.moved)} states moved"
        ]
        for group, sides in enumerate(self.rates):
            for side, rates in zip(("torch", "MindSpore"), sides, strict=True):
                lines.append(f"  group {group}, next learning rates, {side:9}: {', '.join(f'{rate:.9g}' for rate in rates)}")
        return "\n".join([*lines, str(self.report)])

    def to_dict(self) -> dict[str, Any]:
        """The outcome as plain data, ready for ``json.dumps``."""
        found = {name: getattr(self, name) for name in ("torch_class", "target", "verdict", "step")}
        moved = [[list(link.sources), list(link.targets)] for link in self.moved]
        return {**found, "moved": moved, "rates": [list(map(list, sides)) for sides in self.rates], **self.report.to_dict()}


def convert_optimizer(
    torch_optimizer_or_state: Any,
    ms_optimizer: Any,
    plan: StatePairs | None = None,
    *,
    model: Any = None,
    torch_class: str = "",
    step: int | None = None,
    scheduler: Schedule | None = None,
    ms_scheduler: Any = None,
) -> OptimizerReport:
    """Write a torch optimizer's state into a MindSpore optimizer, so that it goes on where torch stopped.

    ``plan``: which torch parameter is which ``Parameter.name`` (None: they are called alike). ``model``: gives the names
    where the optimizer has none. ``torch_class``: where a bare state does not say it. ``step``: optimizer steps done, where
    the state does not say it (SGD). ``scheduler``: of ``convert_scheduler``; ``ms_scheduler``: the one that it attached.

    Either everything is written or nothing: raises ``CheckpointError`` for a pair of classes or options whose formulas differ,
    for options, weight decay, names and shapes that do not fit.
    """
    require_mindspore("convert_optimizer")
    torch = read_torch(torch_optimizer_or_state, model, torch_class)
    row = recipe(torch.cls, target_name(ms_optimizer))
    report = Report(f"optimizer {row.torch} -> {row.target}")
    groups = read_mindspore(ms_optimizer)
    places = places_of(ms_optimizer)
    moves = pair_up(torch, places, links(plan, torch.group_of), report)
    steps = _steps(torch, row, step, report)
    for name in (name for link in moves for name in link.sources if steps and row.one_step):
        if not torch.state.get(name):
            report.add("no-state", "warning", name, "never had a gradient; MindSpore treats its first as a later step's")
    for link in moves:
        for target in link.targets:
            check_options(torch, link.sources, target, groups[places[target]], row, report)
    writes: list[tuple[Any, Array]] = []
    for link in moves:
        writes += _state_writes(
            torch, row, link, [(ms_optimizer, places[name], groups[places[name]]) for name in link.targets], report
        )
    writes += _counter_writes(torch, row, ms_optimizer, steps, groups, report)
    rates = _rates(torch, moves, places, groups, report)
    writes += [(rate.holder, np.array(lr, np.float32)) for rate, lr in rates if rate.fixed]
    raise_errors(report)
    for parameter, array in writes:
        assign(parameter, array)
    for group in groups:
        if group.keys is not None and isinstance(group.keys["lr"], float):  # a number put there hides the Parameter
            group.keys["lr"] = group.rate.holder  # type: ignore[index]
    return OptimizerReport(
        row.torch,
        row.target,
        row.verdict,
        steps,
        tuple(moves),
        _next_rates(rates, steps or 0, scheduler, ms_scheduler, report),
        report,
    )


def _steps(torch: TorchState, row: Recipe, step: int | None, report: Report) -> int | None:
    counts = {name: int(state["step"]) for name, state in torch.state.items() if "step" in state}
    if len(set(counts.values())) > 1:
        low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        severity = "error" if row.one_step else "warning"
        message = f"{low!r} is at step {counts[low]}, {high!r} at {counts[high]}; {row.target} has one count for all"
        report.add("steps-differ", severity, low, message, "train these parameters with optimizers of their own")
    known = max(counts.values(), default=None) if counts else (0 if not any(torch.state.values()) else None)
    if step is not None and counts and step != known:
        report.add("steps-differ", "error", "step", f"step={step} was passed, but the state is at {known}")
    return known if counts or step is None else step


def _flat(values: Iterable[Any]) -> list[Any]:
    return [number(item) for value in values for item in (value if isinstance(value, (tuple, list)) else (value,))]


def _equal(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return len(left) == len(right) and all(
        a is not None and b is not None and np.float32(float(a)) == np.float32(float(b))
        for a, b in zip(left, right, strict=True)
    )


def check_options(torch: TorchState, sources: Sequence[str], target: str, group: Group, row: Recipe, report: Report) -> None:
    for name in sources:
        options, where = torch.options(name), f"torch group {torch.group_of[name]}"
        for option, attributes in row.same.items():
            ours = _flat(group.option(attribute) for attribute in attributes)
            theirs = _flat([options.get(option, False)])
            if not _equal(theirs, ours):
                what = f"{option} is {theirs} in torch, {ours} in {row.target} ({', '.join(attributes)})"
                report.add("option-differs", "error", where, what, f"build the {row.target} with torch's")
        for option, (value, why) in row.only.items():
            if options.get(option, value) != value:
                report.add("refused-option", "error", where, f"{option}={options[option]!r} has no counterpart: {why}")
        for option, (value, why) in row.own.items():
            if group.option(option) != value:
                report.add("refused-option", "error", row.target, f"{option}={group.option(option)!r}: {why}")
        for caveat in row.caveats:
            if options[caveat.option] > caveat.limit:
                report.add("approximate", "warning", where, f"{caveat.option}={options[caveat.option]!r}: {caveat.message}")
        decay = float(options.get("weight_decay", 0.0))
        if np.float32(decay) == np.float32(group.weight_decay):
            continue
        if group.exempt:
            message = f"torch decays it by {decay}, MindSpore exempts it, for its name has 'beta' or 'gamma' in it"
            hint = f"nn.{row.target.split('.')[1]}(param_groups.grouped(network.trainable_params(), {decay}), ...)"
            report.add("weight-decay-exempt", "error", target, message, hint)
        else:
            message = f"torch decays it by {decay}, MindSpore by {group.weight_decay:.9g}"
            report.add("weight-decay-differs", "error", target, message, "give the MindSpore optimizer torch's groups")
    if row.note:
        report.add("unproven", "warning", row.target, row.note)


def entry_of(optimizer: Any, attribute: str, index: int, group: Group) -> Any:
    """The Parameter that holds a slot of one parameter; None where the optimizer was built without it."""
    every = getattr(optimizer, attribute, None)
    if every is None and group.keys is not None and group.keys.get(attribute) is not None:  # mint: in the group
        return group.keys[attribute][index - optimizer.group_start_id[group.rate.group]]
    return None if every is None else every[index]


def _state_writes(
    torch: TorchState, row: Recipe, link: Link, holders: Sequence[tuple[Any, int, Group]], report: Report
) -> list[tuple[Any, Array]]:
    states = [torch.state.get(name, {}) for name in link.sources]
    known = {"step", *(slot.key for slot in row.slots)}
    for name, state in zip(link.sources, states, strict=True):
        if set(state) - known:
            report.add("unknown-state", "error", name, f"{row.target} has no place for {sorted(set(state) - known)}")
    rates = {float(torch.options(name)["lr"]) for name in link.sources}
    writes: list[tuple[Any, Array]] = []
    for slot in row.slots:
        entries = [entry_of(optimizer, slot.attribute, index, group) for optimizer, index, group in holders]
        if any(entry is None for entry in entries):
            continue  # amsgrad, centered: whether both sides agree is an option
        arrays = [state.get(slot.key) for state in states]
        if any(array is None for array in arrays) != all(array is None for array in arrays):
            report.add("not-trained", "error", link.sources[0], f"only some of {list(link.sources)} have {slot.key!r}")
            continue
        lr = min(rates)
        if arrays[0] is None or slot.flag is not None:
            empty = lr if slot.empty is None else slot.empty
            fill = empty if slot.flag is None else slot.flag[arrays[0] is None]
            values = [np.full(entry.shape, fill, np.float32) for entry in entries]
        else:
            values = _laid_out([np.asarray(array) for array in arrays], slot, link, report)
            values = [(value.astype(np.float64) * lr).astype(value.dtype) for value in values] if slot.by_lr else values
        if len(values) != len(entries):
            report.add("shape", "error", link.sources[0], f"{len(values)} tensors for {list(link.targets)}")
            continue
        for target, entry, value in zip(link.targets, entries, values, strict=True):
            fitted = _fit(entry, value, f"{slot.key} of {target}", slot.flag is not None or arrays[0] is None, report)
            writes += [(entry, fitted)] if fitted is not None else []
    return writes


def _laid_out(arrays: list[Array], slot: Slot, link: Link, report: Report) -> list[Array]:
    if slot.scalar:
        if any(array != arrays[0] for array in arrays):
            report.add("steps-differ", "error", link.sources[0], f"{slot.key} differs within {list(link.sources)}")
        return [arrays[0]] * len(link.targets)
    return list(lay_out(link.operations, arrays))


def _fit(entry: Any, value: Array, where: str, made: bool, report: Report) -> Array | None:
    """The value in the entry's dtype and shape; findings for what does not fit. ``made``: the value is ours, no cast."""
    if value.shape != tuple(entry.shape) and not value.size == entry.size == 1:
        report.add(
            "shape",
            "error",
            where,
            f"torch has {list(value.shape)}, MindSpore {list(entry.shape)}",
            "give the plan the operation",
        )
        return None
    held = mindspore_tensors.to_numpy(entry).dtype
    if held != value.dtype and not made:
        severity = "info" if np.can_cast(value.dtype, held, "safe") else "warning"
        report.add("cast", severity, where, f"{value.dtype} becomes {held}, the dtype of MindSpore's state")
    return np.array(value.reshape(entry.shape), dtype=held, order="C")


def _counter_writes(
    torch: TorchState, row: Recipe, optimizer: Any, steps: int | None, groups: Sequence[Group], report: Report
) -> list[tuple[Any, Array]]:
    if steps is None:
        if any(not group.rate.fixed for group in groups):
            hint = "pass step= (optimizer steps done in torch)"
            report.add(
                "step-unknown",
                "error",
                row.torch,
                "MindSpore's learning rate needs the step, which the state does not hold",
                hint,
            )
        elif row.counters:
            report.add(
                "step-unknown", "info", row.torch, "the state holds no step count; MindSpore's global_step is left as it is"
            )
        return []
    betas = {tuple(group["betas"]) for group in torch.groups if "betas" in group} or {(0.0, 0.0)}
    if len(betas) > 1 and any(counter.rule.startswith("beta") for counter in row.counters):
        report.add(
            "option-differs", "error", "betas", f"{row.target} has one pair of betas, torch's groups have {sorted(betas)}"
        )
    writes = []
    for counter in row.counters:
        held = getattr(optimizer, counter.attribute)
        value = counter.value(steps, next(iter(betas)))
        writes.append((held, np.full(held.shape, value, mindspore_tensors.to_numpy(held).dtype)))
    return writes


def _rates(
    torch: TorchState, moves: Sequence[Link], places: Mapping[str, int], groups: Sequence[Group], report: Report
) -> list[tuple[Rate, float]]:
    """Each of MindSpore's learning rates with torch's; torch groups that share one must agree."""
    found: dict[int, tuple[Rate, dict[float, str]]] = {}
    for link in moves:
        for target in link.targets:
            rate = groups[places[target]].rate
            wanted = found.setdefault(rate.group, (rate, {}))[1]
            wanted.update((float(torch.options(name)["lr"]), name) for name in link.sources)
    for _, wanted in found.values():
        if len(wanted) > 1:
            message = f"MindSpore has one learning rate for parameters that have {sorted(wanted)} in torch"
            report.add(
                "groups-differ", "error", ", ".join(wanted.values()), message, "give the MindSpore optimizer torch's groups"
            )
    return [(rate, next(iter(wanted))) for _, (rate, wanted) in sorted(found.items())]


def _next_rates(
    rates: Sequence[tuple[Rate, float]], step: int, scheduler: Schedule | None, ms_scheduler: Any, report: Report
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    out = []
    for index, (rate, lr) in enumerate(rates):
        theirs: tuple[float, ...] = (lr,) * 3
        if scheduler is not None:
            theirs = scheduler.upcoming(3, index) if ms_scheduler is not None else scheduler.upcoming_steps(3, step, index)
        ours = next_rates(ms_scheduler, 3)[index] if ms_scheduler is not None else tuple(rate.at(step + i) for i in range(3))
        if not np.allclose(theirs, ours, rtol=1e-6, atol=1e-12):
            hint = "pass scheduler=convert_scheduler(...) and, for experimental optimizers, ms_scheduler="
            report.add(
                "rates-differ", "warning", f"group {index}", f"next learning rates: torch {theirs}, MindSpore {ours}", hint
            )
        out.append((theirs, ours))
    return tuple(out)


def raise_errors(report: Report) -> None:
    errors = [finding for finding in report if finding.severity == "error"]
    if errors:
        lines = [
            f"{report.title}: {len(errors)} things do not fit, nothing was written",
            *(f"  {finding}" for finding in errors[:20]),
        ]
        lines += [f"  ... and {len(errors) - 20} more"] if len(errors) > 20 else []
        raise CheckpointError(
            "\n".join(lines),
            unmatched=[finding.where for finding in errors if finding.code == "unmatched"],
            missing=[finding.where for finding in errors if finding.code == "missing"],
        )
