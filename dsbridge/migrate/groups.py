"""What optimizer and schedule sources must agree on: which param groups there are, and whose momentum a schedule moves."""

from __future__ import annotations

from typing import Any

from dsbridge.errors import Unsupported
from dsbridge.frameworks import torch_tensors
from dsbridge.model.source import defined

CYCLED = {"SGD": "momentum", "Adam": "betas", "AdamW": "betas"}
"""The torch classes whose momentum (or beta1) can follow a schedule, and where a group has it."""


def own_class(thing: Any, module: str, what: str, hint: str) -> str:
    """The name of a class of torch's. Raises ``Unsupported`` for another, with file and line: what it does is not known.

    >>> import torch
    >>> own_class(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]), "torch.optim", "the optimizer", "")
    'SGD'
    """
    cls = type(thing)
    if cls.__module__.rpartition(".")[0] == module or cls.__module__ == module:
        return cls.__name__
    reason = "it is not known" if cls.__module__.startswith("torch.") else "it is a class of its own, not torch's"
    raise Unsupported(what, cls.__name__, defined(cls), reason, hint)


def trained_groups(optimizer: Any) -> list[int]:
    """The groups that have a parameter with ``requires_grad``: those that there are in MindSpore.

    >>> import torch
    >>> some, none = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1), requires_grad=False)
    >>> trained_groups(torch.optim.SGD([{"params": [none]}, {"params": [some]}], lr=0.1))
    [1]
    """
    groups = optimizer.param_groups
    return [n for n, group in enumerate(groups) if any(parameter.requires_grad for parameter in group["params"])]


def cycled(optimizer: Any) -> str:
    """Where the momentum is that a schedule moves: "momentum", "betas", or "" where none does.

    Raises ``Unsupported`` for an optimizer that was not proven so.

    >>> import torch
    >>> cycled(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]))
    ''
    """
    if not any("max_momentum" in group for group in optimizer.param_groups):
        return ""
    kind = type(optimizer).__name__
    if kind not in CYCLED:
        reason = f"the schedule moves the momentum of {kind}, which is proven for {', '.join(CYCLED)} only"
        raise Unsupported("the optimizer", "cycle_momentum", "", reason, "pass cycle_momentum=False to the schedule")
    return CYCLED[kind]


def momenta(optimizer: Any) -> list[float]:
    """The momentum (or beta1) of each trained group, as it is now.

    >>> import torch
    >>> momenta(torch.optim.Adam([torch.nn.Parameter(torch.ones(1))]))
    [0.9]
    """
    key = CYCLED[type(optimizer).__name__]
    values = [optimizer.param_groups[number][key] for number in trained_groups(optimizer)]
    return [float(value[0] if key == "betas" else value) for value in values]


def plain_rate(group: Any, key: str = "lr") -> float:
    """A rate of a group as a Python float. Raises ``Unsupported`` for a tensor: torch computes with it in float32.

    >>> plain_rate({"lr": 1})
    1.0
    """
    if torch_tensors.is_tensor(group[key]):
        reason = "with a schedule torch computes a rate that is a tensor in the tensor's precision"
        raise Unsupported("the schedule", "lr is a tensor", "", reason, "pass a float as lr")
    return float(group[key])
