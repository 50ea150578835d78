"""The table of layers: torch class -> how its cell is made."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch.nn.utils import parametrize

from dsbridge.model.construct import Construct
from dsbridge.model.nodes import Node

Make = Callable[[Any, "Seen"], Construct]
MODULES = (
    "activations",
    "convolutions",
    "linear",
    "losses",
    "normalizations",
    "pooling",
    "recurrent",
    "shapes",
    "attention",
    "drop_path",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a layer beside its attributes: how it was called, in order; empty for one that was never called."""

    calls: tuple[Node, ...] = ()

    @property
    def input(self) -> Node | None:
        """The first argument of the first call."""
        found = (self.calls[0].args or tuple(self.calls[0].kwargs.values())) if self.calls else ()
        return found[0] if found and isinstance(found[0], Node) else None


LAYERS: dict[type, Make] = {}


def layer(*classes: type) -> Callable[[Make], Make]:
    """Register how the cell of a torch class is made; subclasses with a forward of their own are not meant."""

    def add(make: Make) -> Make:
        for cls in classes:
            LAYERS[cls] = make
        return make

    return add


NAMED: dict[str, Make] = {}


def named_layer(name: str) -> Callable[[Make], Make]:
    """Register by full name, for classes of packages that may not be installed; it goes before a class."""

    def add(make: Make) -> Make:
        NAMED[name] = make
        return make

    return add


@cache
def load_all() -> None:
    """Import the modules with the entries."""
    for name in MODULES:
        importlib.import_module(f"dsbridge.model.layers.{name}")


def find(module: torch.nn.Module) -> Make | None:
    """The entry of a module: its class's, or that of a parent class whose forward and constructor it has."""
    load_all()
    cls = type(module)
    if parametrize.is_parametrized(module):  # its weight is computed: it is recorded as the functions that it calls
        return None
    for parent in cls.__mro__:
        make = NAMED.get(f"{parent.__module__}.{parent.__qualname__}") or LAYERS.get(parent)
        if make is not None:
            return make if cls.forward is parent.forward else None  # type: ignore[attr-defined]
    return None


def is_leaf(module: torch.nn.Module) -> bool:
    """Whether a module becomes a cell as a whole."""
    return find(module) is not None


def same(value: Any) -> Any:
    """One number for a tuple of equal ones.

    >>> same((3, 3)), same((3, 1)), same(2)
    (3, (3, 1), 2)
    """
    if isinstance(value, (tuple, list)):
        return value[0] if len(set(value)) == 1 else tuple(value)
    return value
