"""A model's tensors as a cell's parameters, through ``dsb.checkpoint``'s plan: strict, both ways."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsbridge.checkpoint.apply import carried
from dsbridge.checkpoint.convert import convert, plan
from dsbridge.checkpoint.plan import CheckpointPlan
from dsbridge.checkpoint.rules import Rule, RuleSet
from dsbridge.checkpoint.stored import Checkpoint, Span, Stored
from dsbridge.checkpoint.trees import tree_of
from dsbridge.frameworks.torch_tensors import to_numpy
from dsbridge.schema.dtypes import lookup

Arrays = dict[str, np.ndarray[Any, Any]]
EMPTY = b"\x02" + bytes(7) + b"{}"  # a .safetensors file without tensors
MEMORY = Path("memory")  # the place of what is in no file


def state_of(model: torch.nn.Module, unused: list[str]) -> dict[str, torch.Tensor]:
    """All tensors of a model that its cell has a place for: buffers that are not saved too, parts that never run not."""
    found = dict(model.state_dict())
    found.update(model.named_buffers(remove_duplicate=False))
    return {name: tensor.detach() for name, tensor in found.items() if not any(name.startswith(f"{path}.") for path in unused)}


class Weights:
    """The way of a model's tensors into its cell, checked when it is made; gradients go the same way as weights.

    It holds for all states of that model: of its copies, of its parameters' gradients.
    """

    def __init__(self, model: torch.nn.Module, network: Any, unused: list[str], rules: Sequence[Rule]) -> None:
        """Plan. Raises ``CheckpointError`` for a tensor without a place, or a place without a tensor."""
        self._arguments: dict[str, Any] = {"model": tree_of(model), "network": tree_of(network), "dtypes": "keep"}
        if rules:
            self._arguments["rules"] = RuleSet(tuple(rules))
        self._plans: dict[tuple[Stored, ...], CheckpointPlan] = {}
        self._state = state = state_of(model, unused)
        everything = state_of(model, [])  # what never runs may be tied to what does
        self._places = {name: _place(tensor) for name, tensor in everything.items()}
        self.plan = self._plan(state) if state else None
        self.pairs: dict[str, str] = self.plan.pairs if self.plan else {}
        self.paths: Mapping[str, str] = self.plan.paths if self.plan else {}

    def _plan(self, state: Mapping[str, torch.Tensor]) -> CheckpointPlan:
        """Made once for all states of the same names, dtypes, shapes and ties."""
        held = _described(state)
        found = self._plans.get(tuple(held.values()))
        if found is None:
            found = self._plans[tuple(held.values())] = plan(Checkpoint(MEMORY, "memory", held), **self._arguments)
            found.raise_if_failed()
        return found

    def arrays(self, state: Mapping[str, torch.Tensor]) -> Arrays:
        """A state of the model as arrays by the cell's structural paths. They share the state's memory where they can."""
        if not state:
            return {}
        found = self._plan(state)
        made = carried(found.rows, {name: to_numpy(tensor) for name, tensor in state.items()})
        return {found.paths.get(name, name): array for name, array in made.items()}

    def frozen(self, model: torch.nn.Module) -> list[str]:
        """The cell's structural paths of a model's parameters that do not train, and of what holds a part of one."""
        names = {name for name, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
        rows = self.plan.rows if self.plan else []
        return [self.paths.get(to, to) for row in rows if not names.isdisjoint(row.sources) for to in row.targets]

    def by_path(self, arrays: Mapping[str, np.ndarray[Any, Any]], dtype: torch.dtype | None = None) -> Arrays:
        """Arrays by the model's names (weights, gradients: they travel the same way) by the cell's paths; absent ones are zero.

        ``dtype``: of all of them, by default each tensor's own.
        """
        known = {self._places[name]: array for name, array in arrays.items() if name in self._places}
        made: dict[Any, torch.Tensor] = {}  # tied tensors stay tied
        for tensor in self._state.values():
            key, own = _place(tensor), dtype or tensor.dtype
            if key not in made:
                made[key] = torch.from_numpy(known[key]).to(own) if key in known else torch.zeros_like(tensor, dtype=own)
        return self.arrays({name: made[_place(tensor)] for name, tensor in self._state.items()})

    def write(self, state: Mapping[str, torch.Tensor], target: Path) -> None:
        """A state of the model as a file for the cell."""
        if not state:
            target.write_bytes(EMPTY)
            return
        target.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="dsbridge-weights-") as folder:
            source = Path(folder) / "state.pth"
            torch.save(dict(state), source)
            convert(source, target, **self._arguments, progress=False)


def _place(tensor: torch.Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)


def _described(state: Mapping[str, torch.Tensor]) -> dict[str, Stored]:
    """The tensors of a state as a file would hold them."""
    found: dict[str, Stored] = {}
    first: dict[Any, str] = {}
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if size else name
        tied = first.setdefault(place, name)
        spans = (Span(str(MEMORY), 0, size),)
        found[name] = Stored(name, lookup(tensor.dtype).name, tuple(tensor.shape), spans, tied_to="" if tied == name else tied)
    return found
