"""A model's tensors as a cell's parameters, through ``dsb.checkpoint``'s plan: strict, both ways."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dsbridge.checkpoint.convert import convert, plan
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.rules import Rule, RuleSet

Arrays = dict[str, np.ndarray[Any, Any]]
EMPTY = b"\x02" + bytes(7) + b"{}"  # a .safetensors file without tensors


def state_of(model: torch.nn.Module, unused: list[str]) -> dict[str, torch.Tensor]:
    """All tensors of a model that its cell has a place for: buffers that are not saved too, parts that never run not."""
    found = dict(model.state_dict())
    found.update(model.named_buffers(remove_duplicate=False))
    return {name: tensor.detach() for name, tensor in found.items() if not any(name.startswith(f"{path}.") for path in unused)}


class Weights:
    """The way of a model's tensors into its cell, checked when it is made; gradients go the same way as weights."""

    def __init__(self, model: torch.nn.Module, network: Any, unused: list[str], rules: Sequence[Rule]) -> None:
        """Plan. Raises ``CheckpointError`` for a tensor without a place, or a place without a tensor."""
        self._arguments: dict[str, Any] = {"model": model, "network": network, "dtypes": "keep"}
        if rules:
            self._arguments["rules"] = RuleSet(tuple(rules))
        self._folder = tempfile.TemporaryDirectory(prefix="dsbridge-weights-")
        self.plan: Any = None
        self.pairs: dict[str, str] = {}
        self.paths: Mapping[str, str] = {}
        self._state = state = state_of(model, unused)
        if state:
            torch.save(state, self._source)
            made = plan(self._source, **self._arguments)
            made.raise_if_failed()
            self.plan, self.pairs, self.paths = made, made.pairs, made.paths

    @property
    def _source(self) -> Path:
        return Path(self._folder.name) / "state.pth"

    def filled(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Arrays by the model's names as a whole state of it; what is missing is zero."""
        known = {(t.data_ptr(), t.shape): arrays[name] for name, t in self._state.items() if name in arrays}
        made: dict[Any, torch.Tensor] = {}
        for tensor in self._state.values():
            key = tensor.data_ptr(), tensor.shape  # tied tensors stay tied
            if key not in made:
                made[key] = (
                    torch.from_numpy(np.array(known[key])).to(tensor.dtype) if key in known else torch.zeros_like(tensor)
                )
        return {name: made[tensor.data_ptr(), tensor.shape] for name, tensor in self._state.items()}

    def write(self, state: Mapping[str, torch.Tensor], target: Path, read_back: bool = True) -> None:
        """A state of the model as a file for the cell."""
        if not state:
            target.write_bytes(EMPTY)
            return
        torch.save(dict(state), self._source)
        target.unlink(missing_ok=True)
        convert(self._source, target, **self._arguments, progress=False, read_back=read_back)

    def arrays(self, state: Mapping[str, torch.Tensor]) -> Arrays:
        """A state of the model as arrays by the cell's structural paths."""
        target = Path(self._folder.name) / "state.safetensors"
        self.write(state, target, read_back=False)  # it is read now, and gone after
        found = open_checkpoint(target).tensors
        return {self.paths.get(name, name): stored.read() for name, stored in found.items()}

    def close(self) -> None:
        """Delete the files."""
        self._folder.cleanup()

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
