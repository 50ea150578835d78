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
    """A loader, kept so that its id stays its own. ``pickled``: as it was before it was iterated, or why it cannot be."""

    live: Any
    pickled: bytes | str
    parts: bytes | None
    samples: bytes | None


class Loaders:
    """All that were iterated."""

    def __init__(self) -> None:
        self._known: list[_Known] = []
        self._numbers: dict[int, int] = {}

    def begins(self, loader: Any, early: bool) -> int:
        """A loader is iterated. ``early``: it may be the training's, and is pickled as its generators are now."""
        if id(loader) in self._numbers:
            return self._numbers[id(loader)]
        made = _Known(loader, "", _digest(loader, loader.dataset), None)
        if early:
            made.pickled, made.samples = parcels.loader(loader), _digest(loader.dataset)
        number = next((n for n, one in enumerate(self._known) if _alike(one, made)), len(self._known))
        self._known.append(made)
        self._numbers[id(loader)] = id(self._known[number].live)
        return self._numbers[id(loader)]

    def number(self, loader: Any) -> int:
        """The id of the first one that was like it."""
        return self._numbers.get(id(loader), id(loader))

    def pickled(self, loader: Any) -> bytes | str:
        """That one, pickled; or why it cannot be."""
        return next(one.pickled for one in self._known if id(one.live) == self.number(loader))


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
    iterator = getattr(value, "_iterator", None)
    try:
        if iterator is not None:
            value._iterator = None  # of persistent workers
        _Pickler(found, apart).dump(value)
    except Exception:
        return None
    finally:
        if iterator is not None:
            value._iterator = iterator
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
            flat = value.detach().cpu().contiguous().reshape(-1)
            return str(value.dtype), tuple(value.shape), value.device.type, flat.view(torch.uint8).numpy().tobytes()
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
