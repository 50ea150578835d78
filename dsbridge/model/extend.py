"""Entries of users and of installed packages: layers, operations, helpers that emitted files carry with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from dsbridge.model import helpers as carried
from dsbridge.model.construct import Construct
from dsbridge.model.functions.registry import FUNCTIONS
from dsbridge.model.layers.registry import NAMED

ENTRY_POINTS = "dsbridge.model"


def cell(callee: str, *args: Any, weights: dict[str, str | None] | None = None, **kwargs: Any) -> Construct:
    """How a layer's cell is made: what is called, and with which arguments.

    ``weights``: the layer's tensors by their names in the cell where they differ, None for what the cell has no place for.

    >>> str(cell("nn.Dense", 3, 4, has_bias=False).code())
    'nn.Dense(3, 4, has_bias=False)'
    """
    positional = {f"argument{number}": value for number, value in enumerate(args)}
    return Construct(callee, {**positional, **kwargs}, len(args), weights=weights or {})


def register(
    name: str, *, layer: Callable[[Any], Construct] | None = None, function: Callable[..., Any] | None = None,
    helpers: tuple[Any, ...] = (),
) -> None:  # fmt: skip
    """Teach dsbridge a layer, by its class's qualified name, or an operation, by its name.

    ``layer(module)`` returns a ``cell(...)``. ``function`` gets the operation's arguments and returns an expression:
    ``dsb.model.code("ops.relu(x) * s", x=x, s=scale)``. Operations are torch's functions, methods of tensors,
    ``torch.ops.lib.name`` by its last part, and subclasses of ``torch.autograd.Function`` by their class's name. ``helpers``:
    functions and classes (or their source) that the emitted file needs; they may use ``ms``, ``nn``, ``ops`` and ``math``.
    Both raise ``dsb.model.Refused`` for settings that have no equivalent. A user's word goes before dsbridge's own, and is
    proven by ``verify`` as all others are. A package can bring entries with an entry point in group "dsbridge.model": a
    function without arguments that calls ``register``.

    Raises ``ValueError`` for a name that is not qualified, for neither or both of ``layer`` and ``function``, and for a helper
    whose name is taken.

    >>> from dsbridge.model.code import code
    >>> register("mylib.layers.Scale", layer=lambda module: cell("Scale", module.factor))
    >>> register("my_square", function=lambda x: code("x * x", x=x))
    """
    if (layer is None) == (function is None):
        raise ValueError(f"register({name!r}): give layer= or function=, one of them")
    if layer is not None and "." not in name:
        raise ValueError(f"register wants a layer's qualified class name such as 'mylib.layers.Scale', got {name!r}")
    for helper in helpers:
        carried.add(helper)
    if layer is not None:
        made = layer
        NAMED[name] = lambda module, seen: made(module)
    else:
        assert function is not None
        FUNCTIONS[name] = function


@cache
def load_plugins() -> None:
    """Call the entry points of installed packages, once."""
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()()
