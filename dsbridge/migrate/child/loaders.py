"""Which loader is which: one that a script makes anew for each epoch is the one it had before."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch

from dsbridge.migrate.child import parcels


@dataclass(slots=True)
class _Known:
    """A loader, kept so that its id stays its own. ``number``: the id of the first one that was like it; ``pickled``: as it was
    before it was iterated, or why it cannot be.
    """

    live: Any
    number: int
    pickled: bytes | str
    parts: bytes | None
    samples: bytes | None


class Loaders:
    """All that were iterated."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def begins(self, loader: Any, early: bool) -> int:
        """A loader is iterated. ``early``: it may be the training's, and is pickled as its generators are now."""
        if id(loader) not in self._known:
            parts = _digest(loader, loader.dataset)
            pickled, samples = (parcels.loader(loader), _digest(loader.dataset)) if early else ("", None)
            made = _Known(loader, id(loader), pickled, parts, samples)
            made.number = next((one.number for one in self._known.values() if _alike(one, made)), made.number)
            self._known[id(loader)] = made
        return self.number(loader)

    def number(self, loader: Any) -> int:
        """The id of the first one that was like it."""
        return self._known[id(loader)].number

    def pickled(self, loader: Any) -> bytes | str:
        """That one, pickled; or why it cannot be."""
        return self._known[self.number(loader)].pickled


def _alike(known: _Known, other: _Known) -> bool:
    """Whether they give the same, from generators as they stand: those that are a loader's own are one and the same."""
    if known.parts is None or known.parts != other.parts:
        return False
    if known.live.dataset is other.live.dataset:
        return True
    other.samples = other.samples or _digest(other.live.dataset)
    return known.samples is not None and known.samples == other.samples


def _digest(value: Any, apart: Any = None) -> bytes | None:
    """Of all that it holds but ``apart``; None where that cannot be told."""
    found = _Hash()
    try:
        _Pickler(found, apart).dump(value)
    except Exception:
        return None
    return found.made.digest()


class _Hash:
    def __init__(self) -> None:
        self.made = hashlib.sha256()

    def write(self, data: Any) -> None:
        self.made.update(data)


class _Pickler(pickle.Pickler):
    """Of values, for comparison within a process: torch's own way with tensors has addresses in it."""

    def __init__(self, file: Any, apart: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._apart = apart

    def persistent_id(self, value: Any) -> Any:
        if value is self._apart and value is not None:
            return ("apart",)
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            return str(value.dtype), tuple(value.shape), value.device.type, hashlib.sha256(flat.numpy()).digest()
        if isinstance(value, FunctionType):  # one that is made anew has the same code
            cells = []
            for cell in value.__closure__ or ():
                with contextlib.suppress(ValueError):  # an empty one
                    cells.append(cell.cell_contents)
            return "function", id(value.__code__), value.__defaults__, value.__kwdefaults__, tuple(cells)
        if isinstance(value, MethodType):
            return "method", id(value.__func__.__code__), id(value.__self__)
        if isinstance(value, (torch.Generator, type, ModuleType)):
            return "same", id(value)
        return None
