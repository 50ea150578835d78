"""The way back: a MindSpore optimizer's state into a torch optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsbridge.checkpoint.optimizer import OptimizerReport, check_options, entry_of, raise_errors
from dsbridge.checkpoint.optimizer_links import Link, backwards, lay_out, links, pair_up, places_of
from dsbridge.checkpoint.optimizer_table import Recipe, Slot, recipe
from dsbridge.checkpoint.param_groups import (
    Array,
    Group,
    StatePairs,
    TorchState,
    number,
    read_mindspore,
    read_torch,
    target_name,
)
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.frameworks.detect import require_torch
from dsbridge.report import Report


def optimizer_to_torch(
    ms_optimizer: Any, torch_optimizer: Any, plan: StatePairs | None = None, *, model: Any = None, step: int | None = None
) -> OptimizerReport:
    """Load a MindSpore optimizer's state into a live torch optimizer; the inverse of ``convert_optimizer``.

    The torch optimizer must have MindSpore's options, as in ``convert_optimizer``; its learning rates are set. ``step``: steps
    done, where MindSpore does not count them. State comes back bit for bit, but for nn.RMSProp's momentum (to rounding, for
    MindSpore keeps it times the learning rate). Either everything is loaded or nothing; raises ``CheckpointError``.
    """
    require_torch("optimizer_to_torch")
    torch = read_torch(torch_optimizer, model)
    torch = TorchState(torch.cls, torch.groups, torch.group_of, {})  # what it held is replaced
    row = recipe(torch.cls, target_name(ms_optimizer))
    report = Report(f"optimizer {row.target} -> {row.torch}")
    groups = read_mindspore(ms_optimizer)
    places = places_of(ms_optimizer)
    moves = pair_up(torch, places, links(plan, torch.group_of), report)
    for link in moves:
        for target in link.targets:
            check_options(torch, link.sources, target, groups[places[target]], row, report)
    steps = _steps(ms_optimizer, row, step, report)
    indices, shapes = _layout(torch_optimizer, torch)
    state: dict[Any, dict[str, Any]] = {}
    for link in moves if steps != 0 or row.torch == "SGD" else ():  # SGD: the buffers say whether there was a step
        held = _values(ms_optimizer, row, link, [(places[name], groups[places[name]]) for name in link.targets], torch, shapes)
        for name, values in held.items():
            if values and row.torch != "SGD":
                values["step"] = np.array(steps or 0, np.float32)
            state[indices[name]] = {key: torch_tensors.from_numpy(value) for key, value in values.items()}
    rates = _rates(torch, moves, places, groups, steps or 0, report)
    raise_errors(report)
    loaded = torch_optimizer.state_dict()
    options = [{**group, "lr": rates.get(number_, group["lr"])} for number_, group in enumerate(loaded["param_groups"])]
    torch_optimizer.load_state_dict({"state": {key: value for key, value in state.items() if value}, "param_groups": options})
    now = tuple(((rate,) * 3, (rate,) * 3) for _, rate in sorted(rates.items()))
    return OptimizerReport(row.torch, row.target, row.verdict, steps, tuple(moves), now, report)


def _steps(optimizer: Any, row: Recipe, step: int | None, report: Report) -> int | None:
    for counter in row.counters:
        if counter.rule in ("t", "t-1"):
            return int(number(getattr(optimizer, counter.attribute))) + (counter.rule == "t-1")
    if step is None:
        report.add("step-unknown", "info", row.target, "it does not count steps; torch's count starts at 0", "pass step=")
    return step


def _layout(optimizer: Any, torch: TorchState) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The key of each parameter in the state dict, and its shape."""
    names = list(torch.group_of)
    keys = [key for group in optimizer.state_dict()["param_groups"] for key in group["params"]]
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    return dict(zip(names, keys, strict=True)), {n: tuple(t.shape) for n, t in zip(names, tensors, strict=True)}


def _values(
    optimizer: Any,
    row: Recipe,
    link: Link,
    holders: Sequence[tuple[int, Group]],
    torch: TorchState,
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, dict[str, Array]]:
    out: dict[str, dict[str, Array]] = {name: {} for name in link.sources}
    options = torch.options(link.sources[0])
    arrays = {}
    for slot in row.slots:
        entries = [entry_of(optimizer, slot.attribute, index, group) for index, group in holders]
        if any(entry is None for entry in entries) or (slot.option and not options.get(slot.option)):
            continue
        arrays[slot] = [np.array(mindspore_tensors.to_numpy(entry)) for entry in entries]
    for slot, held in arrays.items():
        if slot.flag is not None and any((array == slot.flag[1]).all() and array.size for array in held):
            return out  # no gradient yet: torch has no buffer
    for slot, held in arrays.items():
        if slot.flag is None:
            lr = holders[0][1].rate.at(0) if slot.by_lr else 0.0
            for name, value in zip(link.sources, _back(slot, held, link, shapes, lr), strict=True):
                out[name][slot.key] = value
    return out


def _back(slot: Slot, held: list[Array], link: Link, shapes: Mapping[str, tuple[int, ...]], lr: float) -> list[Array]:
    if slot.scalar:
        return [held[0].reshape(()).copy() for _ in link.sources]
    if slot.by_lr:
        if lr == 0:
            raise CheckpointError(
                f"the {slot.key} of {link.sources[0]!r} cannot be had from MindSpore's: the learning rate is 0"
            )
        held = [(array.astype(np.float64) / lr).astype(array.dtype) for array in held]
    wanted = tuple(shapes[name] for name in link.sources)
    arrays = lay_out(backwards(link.operations, wanted, link.sources[0]), held)
    for name, array, shape in zip(link.sources, arrays, wanted, strict=True):
        if array.shape != shape:
            raise CheckpointError(f"the {slot.key} of {name!r} comes back as {list(array.shape)}, torch has {list(shape)}")
    return [np.array(array, order="C") for array in arrays]


def _rates(
    torch: TorchState, moves: Sequence[Link], places: Mapping[str, int], groups: Sequence[Group], step: int, report: Report
) -> dict[int, float]:
    """By torch group. A rate that is torch's own in float32 stays torch's: MindSpore's has lost digits."""
    found: dict[int, set[float]] = {}
    for link in moves:
        for target in link.targets:
            for name in link.sources:
                found.setdefault(torch.group_of[name], set()).add(groups[places[target]].rate.at(step))
    rates = {}
    for index, values in found.items():
        if len(values) > 1:
            message = f"its parameters have the learning rates {sorted(values)} in MindSpore"
            report.add("groups-differ", "error", f"torch group {index}", message, "give the torch optimizer MindSpore's groups")
        own = float(torch.groups[index]["lr"])
        rates[index] = own if np.float32(own) == np.float32(min(values)) else min(values)
        if rates[index] != own:
            report.add("rate-set", "info", f"torch group {index}", f"the learning rate {own} becomes {rates[index]!r}")
    return rates
