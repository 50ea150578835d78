"""The helpers of ``runtime/``, and users' own, as text: an emitted file takes those it uses, and those they use."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from importlib import resources
from typing import Any


def add(helper: Any) -> None:
    r"""Take in a user's function or class, or its source. Raises ``ValueError`` where another one has its name.

    >>> add("def thrice(x):\n    return x * 3")
    >>> needed({"thrice"})
    ['thrice']
    """
    text = textwrap.dedent(helper if isinstance(helper, str) else inspect.getsource(helper)).strip()
    name = next((one.name for one in ast.parse(text).body if isinstance(one, (ast.FunctionDef, ast.ClassDef))), None)
    if name is None:
        raise ValueError("a helper is a function or a class, or its source")
    if sources().setdefault(name, text) != text:
        raise ValueError(f"there is another helper called {name}: give it a name of its own")


@cache
def sources() -> dict[str, str]:
    """Name and source of each helper, in the order of the files; nothing is imported.

    >>> sources()["roll"].splitlines()[0]
    'def roll(x, shifts, dims):'
    """
    found: dict[str, str] = {}
    for name in ("operations.py", "losses.py", "cells.py", "recurrent.py"):
        text = (resources.files("dsbridge.model.runtime") / name).read_text()
        kinds = (ast.FunctionDef, ast.ClassDef)
        found |= {
            node.name: ast.get_source_segment(text, node) or "" for node in ast.parse(text).body if isinstance(node, kinds)
        }
    return found


def needed(names: set[str]) -> list[str]:
    """Which helpers those names need, in an order in which they can be defined.

    >>> needed({"Softplus", "nn"})
    ['softplus', 'Softplus']
    """
    known, wanted = sources(), set()
    waiting = [name for name in names if name in known]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [used for used in names_in(known[name]) if used in known and used != name]
    return [name for name in known if name in wanted]


def names_in(source: str) -> set[str]:
    """All names that a piece of source reads.

    >>> sorted(names_in("a + f(b.c)"))
    ['a', 'b', 'f']
    """
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
