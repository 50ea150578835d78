"""Copies of models that share nothing with the original, not even through functions that their modules hold."""

from __future__ import annotations

import copy
import types
from typing import Any

import torch


def copied(model: torch.nn.Module) -> torch.nn.Module:
    """A deep copy. Functions among a module's attributes (``self.mlp = lambda x: proj(x)``) call the copy's modules, too.

    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         inner = self.inner = torch.nn.Linear(2, 2)
    ...         self.call = lambda: inner
    >>> own = copied(Net())
    >>> own.call() is own.inner
    True
    """
    memo: dict[int, Any] = {}
    own = copy.deepcopy(model, memo)
    for module in own.modules():
        for name, value in vars(module).items():
            if isinstance(value, types.FunctionType) and value.__closure__:
                vars(module)[name] = _rebound(value, memo)
    return own


def _held(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _rebound(function: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    """The same function over the copies of what it holds, where there are any."""
    cells = []
    for cell in function.__closure__ or ():
        held = _held(cell)
        cells.append(cell if id(held) not in memo else types.CellType(memo[id(held)]))
    made = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, tuple(cells)
    )  # fmt: skip
    made.__kwdefaults__ = function.__kwdefaults__
    return made
