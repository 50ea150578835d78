"""Param groups of both sides: names, options, learning rates and weight decay, one parameter at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dsbridge.checkpoint.optimizer_table import infer_class
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.frameworks.mindspore_tensors import tensor_type, to_numpy

Array = np.ndarray[Any, Any]

NAMES_HINT = "pass model=, or build the optimizer with model.named_parameters()"


class StatePairs(Protocol):
    """What a plan must say: torch parameter name -> MindSpore ``Parameter.name``.

    A plan may also have ``operations``: torch name -> the operations (see ``rows.Operation``) that lay out its weight.
    """

    @property
    def pairs(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class TorchState:
    """A torch optimizer's state by parameter name.

    ``groups``: the options of each group, without the parameters. ``group_of``: name -> group, in the optimizer's order.
    ``state``: name -> key -> array; a parameter that never had a gradient has none.
    """

    cls: str
    groups: tuple[Mapping[str, Any], ...]
    group_of: Mapping[str, int]
    state: Mapping[str, Mapping[str, Array]]

    def options(self, name: str) -> Mapping[str, Any]:
        """The options of the group that a parameter is in."""
        return self.groups[self.group_of[name]]


def read_torch(source: Any, model: Any = None, torch_class: str = "") -> TorchState:
    """The state of a live torch optimizer, or of its ``state_dict()`` (index-keyed, or keyed by name as DCP writes it).

    Names: the keys themselves, ``param_names`` in the groups, else ``model``: by identity for a live optimizer, by order for
    a state of one group. Raises ``CheckpointError`` where no names can be had.

    >>> state = {"state": {}, "param_groups": [{"lr": 0.1, "dampening": 0, "nesterov": False, "params": ["w"]}]}
    >>> read_torch(state).cls, dict(read_torch(state).group_of)
    ('SGD', {'w': 0})
    """
    live = hasattr(source, "state_dict")
    state = source.state_dict() if live else source
    if not isinstance(state, Mapping) or "state" not in state or "param_groups" not in state:
        raise CheckpointError(
            f"not an optimizer state: expected the keys 'state' and 'param_groups', got {_brief(state)}",
            hint="pass optimizer.state_dict(), not the model's",
        )
    names = _names(source if live else None, state, model)
    groups, group_of = [], {}
    for number, group in enumerate(state["param_groups"]):
        groups.append({key: value for key, value in group.items() if key not in ("params", "param_names")})
        for index in group["params"]:
            if names[index] in group_of:
                raise CheckpointError(f"two parameters of the torch optimizer are called {names[index]!r}", hint=NAMES_HINT)
            group_of[names[index]] = number
    found = {}
    for index, entry in state["state"].items():
        if index not in names:
            raise CheckpointError(f"the optimizer has state of parameter {index!r}, which is in none of its groups")
        found[names[index]] = {key: _array(value) for key, value in entry.items() if value is not None}
    if live and not torch_class:
        torch_class = next(cls.__name__ for cls in type(source).__mro__ if cls.__module__.startswith("torch.optim"))
    keys = next(iter(found.values()), {})
    return TorchState(torch_class or infer_class(groups[0], keys), tuple(groups), group_of, found)


def _brief(value: Any) -> str:
    return f"{list(value)[:5]}" if isinstance(value, Mapping) else type(value).__name__


def _array(value: Any) -> Array:
    return torch_tensors.to_numpy(value) if torch_tensors.is_tensor(value) else np.asarray(value)


def _names(live: Any, state: Mapping[str, Any], model: Any) -> dict[Any, str]:
    groups = state["param_groups"]
    indices = [index for group in groups for index in group["params"]]
    if all(isinstance(index, str) for index in indices):
        return {index: index for index in indices}
    if all("param_names" in group for group in groups):
        return dict(zip(indices, (name for group in groups for name in group["param_names"]), strict=True))
    if model is None:
        raise CheckpointError("the optimizer's state is keyed by position and holds no parameter names", hint=NAMES_HINT)
    if live is not None:
        by_id = {id(parameter): name for name, parameter in model.named_parameters()}
        tensors = [parameter for group in live.param_groups for parameter in group["params"]]
        lost = sum(id(parameter) not in by_id for parameter in tensors)
        if lost:
            raise CheckpointError(f"{lost} of the {len(tensors)} parameters of the optimizer are not in the model given")
        return {index: by_id[id(parameter)] for index, parameter in zip(indices, tensors, strict=True)}
    return _by_order(state, indices, model)


def _by_order(state: Mapping[str, Any], indices: Sequence[Any], model: Any) -> dict[Any, str]:
    every = list(model.named_parameters())
    trained = [(name, parameter) for name, parameter in every if parameter.requires_grad]
    order = next((some for some in (every, trained) if len(some) == len(indices)), None)
    if order is None or len(state["param_groups"]) > 1:
        raise CheckpointError(
            f"the optimizer's {len(indices)} parameters in {len(state['param_groups'])} groups cannot be told apart: the model "
            f"has {len(every)}, and a state of several groups does not say which is which",
            hint="pass the live optimizer, or build it with model.named_parameters()",
        )
    for index, (name, parameter) in zip(indices, order, strict=True):
        shapes = {tuple(value.shape) for value in state["state"].get(index, {}).values() if getattr(value, "ndim", 0)}
        if shapes - {tuple(parameter.shape)}:
            raise CheckpointError(
                f"the optimizer's parameter {index} has state of shape {sorted(shapes)}, but the model's {name!r}, which comes "
                f"at that place, has {list(parameter.shape)}",
                hint="the optimizer was built in another order; pass it live",
            )
    return {index: name for index, (name, _) in zip(indices, order, strict=True)}


def target_name(optimizer: Any) -> str:
    """What the table calls a MindSpore optimizer: "nn.Adam", "experimental.Adam" or "mint.Adam".

    Raises ``CheckpointError`` for what is none.

    >>> target_name(3)
    Traceback (most recent call last):
    ...
    dsbridge.errors.CheckpointError: not a MindSpore optimizer: int. Hint: ...
    """
    for cls in type(optimizer).__mro__:
        for kind in ("nn", "experimental", "mint"):
            if cls.__module__.startswith(f"mindspore.{kind}.optim") and cls.__name__ != "Optimizer":
                return f"{kind}.{cls.__name__}"
    raise CheckpointError(
        f"not a MindSpore optimizer: {type(optimizer).__name__}",
        hint="pass one of mindspore.nn, mindspore.experimental.optim or mindspore.mint.optim",
    )


def number(value: Any) -> Any:
    """A Python number of a MindSpore Parameter or Tensor with one element; other values as they are.

    >>> number(0.5)
    0.5
    """
    if isinstance(value, tensor_type()):
        return value.asnumpy().reshape(-1)[0].item()
    return value


def assign(parameter: Any, values: Any) -> None:
    """Write numbers, of the parameter's size, into a MindSpore Parameter, in place."""
    mindspore_tensors.assign(parameter, np.array(values, to_numpy(parameter).dtype).reshape(parameter.shape))


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a MindSpore parameter's learning rate comes from: ``holder``, a Parameter that can be set, or a schedule."""

    holder: Any
    group: int

    @property
    def fixed(self) -> bool:
        """Whether it is one number that only its owner changes."""
        return isinstance(self.holder, tensor_type())

    def at(self, step: int) -> float:
        """The rate of the step after ``step`` steps. Raises ``CheckpointError`` past the end of a list of rates."""
        if self.fixed:
            return float(number(self.holder))
        rates = getattr(self.holder, "learning_rate", None)
        if isinstance(rates, tensor_type()):
            values = rates.asnumpy().reshape(-1)
            if step >= len(values):
                raise CheckpointError(
                    f"the MindSpore optimizer has learning rates for {len(values)} steps, not for step {step}",
                    hint="export more: convert_scheduler(...).per_step(steps)",
                )
            return float(values[step])
        tensor = tensor_type()
        return float(number(self.holder(tensor.from_numpy(np.array([step], np.int32)))))


@dataclass(frozen=True, slots=True)
class Group:
    """How a MindSpore optimizer treats one parameter. ``options``: by attribute or group key."""

    rate: Rate
    weight_decay: float
    exempt: bool
    optimizer: Any
    keys: Mapping[str, Any] | None

    def option(self, name: str) -> Any:
        """The value of an option: a group key, or an attribute of the optimizer where the class has no groups of options."""
        return self.keys.get(name) if self.keys is not None else getattr(self.optimizer, name, None)


def read_mindspore(optimizer: Any) -> list[Group]:
    """How a MindSpore optimizer treats each of its parameters, in its order.

    Raises ``CheckpointError`` for a weight decay that is a schedule: torch has none.
    """
    return list(_experimental(optimizer) if hasattr(optimizer, "param_groups") else _nn(optimizer))


def _experimental(optimizer: Any) -> Iterator[Group]:
    for index, group in enumerate(optimizer.param_groups):
        rate = Rate(optimizer.lrs[index], index)
        for _ in group["params"]:
            yield Group(rate, float(group["weight_decay"]), False, optimizer, group)


def _nn(optimizer: Any) -> Iterator[Group]:
    holders = list(optimizer.learning_rate) if optimizer.is_group_lr else [optimizer.learning_rate] * optimizer.param_length
    order: dict[int, int] = {}
    for index, holder in enumerate(holders):
        if type(holder).__name__ == "_ConvertToCell":  # a number among schedules
            holder = holder.learning_rate
        decay = optimizer.weight_decay[index] if optimizer.is_group else optimizer.weight_decay
        if not isinstance(decay, (float, tensor_type())):
            raise CheckpointError(
                f"the weight decay of {optimizer.parameters[index].name!r} is a schedule, which torch has not",
                hint="pass a number",
            )
        if optimizer.is_group and optimizer.grad_centralization_flags[index]:
            raise CheckpointError(
                f"grad_centralization is on for {optimizer.parameters[index].name!r}, which torch has not",
                hint="leave it out",
            )
        decay = float(number(decay)) / optimizer.loss_scale
        exempt = decay != 0 and not optimizer.decay_flags[index] and not optimizer.is_group
        number_of = order.setdefault(id(holder), len(order))
        yield Group(Rate(holder, number_of), decay * (not exempt), exempt, optimizer, None)


def grouped(parameters: Sequence[Any], weight_decay: float) -> list[dict[str, Any]]:
    """One explicit group for a ``mindspore.nn`` optimizer, so that its weight decay reaches every parameter, as in torch.

    Without a group MindSpore leaves out each parameter with "beta" or "gamma" in its name, saying nothing.

    >>> grouped(["w"], 0.1)
    [{'params': ['w'], 'weight_decay': 0.1}]
    """
    return [{"params": list(parameters), "weight_decay": float(weight_decay)}]
