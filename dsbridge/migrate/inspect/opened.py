"""Layers and losses of torch that have no entry of their own: they are written as the functions that they call."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from dsbridge.migrate.inspect.tables import tables

_MODULES = {"F": "torch.nn.functional", "torch": "torch"}  # as torch's own layers import them


@cache
def opened(name: str) -> str:
    """Why a class of torch.nn is not written as what its forward calls, "" if all of that is in the table.

    >>> opened("torch.nn.Hardshrink"), opened("torch.nn.Transformer")
    ('', 'it calls no function that is seen here')
    >>> opened("torch.nn.FractionalMaxPool2d")
    'torch.nn.functional.fractional_max_pool2d: there is no entry for it'
    """
    known, cls = tables(), tables().live(name)
    called = sorted(set(_functions(cls, cls.forward, {"forward"})))
    verdicts = {function: known.function(function) for function in called}
    refused = [f"{function}: {why}" for function, why in verdicts.items() if why]
    if refused:
        return "; ".join(refused)
    return "" if "" in verdicts.values() else "it calls no function that is seen here"


def _functions(cls: Any, method: Callable[..., Any], seen: set[str]) -> Iterator[str]:
    """The names of torch's functions in a method, and in those of its class that it calls."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, TypeError):  # torch without its sources
        return
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        owner = node.value.id
        if owner in _MODULES:
            yield f"{_MODULES[owner]}.{node.attr}"
        elif owner == "self" and node.attr not in seen and inspect.isfunction(getattr(cls, node.attr, None)):
            seen.add(node.attr)
            yield from _functions(cls, getattr(cls, node.attr), seen)
