"""What a torch optimizer has gathered (moments, counts), as arrays that the optimizer of an emitted file takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsbridge.checkpoint.optimizer_links import lay_out
from dsbridge.checkpoint.optimizer_table import Recipe, recipe
from dsbridge.checkpoint.plan import CheckpointPlan
from dsbridge.checkpoint.rows import Operation
from dsbridge.errors import Unsupported
from dsbridge.frameworks import torch_tensors
from dsbridge.migrate.groups import own_class
from dsbridge.migrate.optimizer import TARGETS, Names
from dsbridge.migrate.source import Source, carried, imports_of

Arrays = dict[str, np.ndarray[Any, Any]]


def optimizer_state(optimizer: Any, names: Names, operations: Mapping[str, Sequence[Operation]] | None = None) -> Arrays:
    """The state of a torch optimizer by the names of the emitted one: "exp_avg.fc.weight", "state_step".

    Empty before the first step. ``operations``: of the parameters (by the cell's name) whose weights are laid out in another
    way than torch's, those of the weights' plan: moments go the same way. ``load_optimizer`` of ``state_source`` takes it.
    Raises ``Unsupported`` where parameters have done different numbers of steps and MindSpore counts for all, for a state that
    it has no place for, and where the number of axes is not the cell's.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.AdamW([weight]); weight.grad = torch.ones(2); optimizer.step()
    >>> sorted(optimizer_state(optimizer, {id(weight): ("w", 1)}))
    ['exp_avg.w', 'exp_avg_sq.w', 'state_step']
    """
    kind = own_class(optimizer, "torch.optim", "the optimizer", "use one of torch.optim")
    if kind not in TARGETS:
        raise Unsupported("the optimizer", kind, "", "MindSpore has no equal", f"known are {', '.join(TARGETS)}")
    row = recipe(kind, f"experimental.{TARGETS[kind].name}")
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.requires_grad]
    stateful = [parameter for parameter in trained if optimizer.state.get(parameter)]
    if any(id(parameter) not in names for parameter in stateful):
        raise Unsupported("the optimizer", "state", "", "it has state of a parameter that is no parameter of the cell")
    held = {names[id(parameter)]: optimizer.state[parameter] for parameter in stateful}
    found: Arrays = {}
    for (name, ndim), state in held.items():
        found |= _moments(row, name, ndim, state, (operations or {}).get(name, ()))
    if held:
        step = _step(row, {name: int(state.get("step", 0)) for (name, _), state in held.items()})
        found |= {counter.attribute: np.array(counter.value(step, (0.0, 0.0)), np.int32) for counter in row.counters}
    return found


def planned_state(optimizer: Any, names: Mapping[int, str], plan: CheckpointPlan | None) -> Arrays:
    """The same by the plan that brought the weights into the cell (None: there were none).

    ``names``: id(parameter) -> torch's name. Raises ``Unsupported`` as ``optimizer_state`` does.

    >>> import torch
    >>> planned_state(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))]), {}, None)
    {}
    """
    rows = [row for row in plan.rows if len(row.sources) == len(row.targets) == 1] if plan else []
    places = {row.sources[0]: (row.targets[0], len(row.shapes[0])) for row in rows}
    found = {held: places[name] for held, name in names.items() if name in places}
    return optimizer_state(optimizer, found, {row.targets[0]: row.operations for row in rows})


def _moments(row: Recipe, name: str, ndim: int, state: Mapping[str, Any], operations: Sequence[Operation]) -> Arrays:
    unknown = {key for key, value in state.items() if value is not None} - {"step", *(slot.key for slot in row.slots)}
    if unknown:
        raise Unsupported("the optimizer", f"state of {name}", "", f"{row.target} has no place for {sorted(unknown)}")
    found: Arrays = {}
    for slot in row.slots:
        if state.get(slot.key) is None:
            continue
        array = torch_tensors.to_numpy(state[slot.key])
        if not slot.scalar:
            laid = lay_out(operations, [array])
            if len(laid) != 1:
                raise Unsupported("the optimizer", f"{slot.key} of {name}", "", f"its weight becomes {len(laid)} in the cell")
            (array,) = laid
            if array.ndim != ndim:
                reason = f"torch has {array.ndim} axes, the cell {ndim}"
                raise Unsupported("the optimizer", f"{slot.key} of {name}", "", reason, "pass the weight's operations")
        value = array if slot.flag is None else np.full(array.shape, slot.flag[0], array.dtype)
        found[f"{slot.attribute}.{name}"] = np.array(value, order="C")  # its own: torch goes on changing it
    return found


def _step(row: Recipe, steps: Mapping[str, int]) -> int:
    low, high = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
    if row.one_step and steps[low] != steps[high]:
        reason = f"{low} has done {steps[low]} steps, {high} {steps[high]}; {row.target} counts for all"
        raise Unsupported("the optimizer", "step", "", reason, "train them by optimizers of their own")
    return steps[high]


def state_source(saved: bool = False) -> Source:
    """``load_optimizer(optimizer, state)`` as source: it puts what ``optimizer_state`` gave into the emitted optimizer.

    ``saved``: also ``gathered(optimizer)``, all that is to be saved of it.

    >>> print(state_source().definitions.splitlines()[0])
    def load_optimizer(optimizer, state):
    """
    definitions = carried(["load_optimizer", *(["gathered"] if saved else [])])
    return Source(imports_of(definitions), definitions)
