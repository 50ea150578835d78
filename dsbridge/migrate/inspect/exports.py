"""What a file of a repository offers to those that import it, as far as its names come from elsewhere or are classes."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

HERE = "@"
"""In front of a name that is defined in the same file."""


@dataclass(frozen=True, slots=True)
class Exports:
    """``names``: name -> what it is imported from, as it is written there. ``classes``: name -> the bases. ``stars``: modules.

    >>> found = exports("from .layers import Conv as C\\nclass Net(C): pass\\nclass Deep(Net): pass")
    >>> found.names, found.classes
    ({'C': '.layers.Conv'}, {'Net': ('.layers.Conv',), 'Deep': ('@Net',)})
    """

    names: dict[str, str]
    classes: dict[str, tuple[str, ...]]
    stars: tuple[str, ...]


def exports(text: str) -> Exports:
    """Read a file's top level, ``if`` and ``try`` included. Raises what ``ast.parse`` does.

    With ast, as this is done for each file that another one imports, and needs neither places nor scopes.

    >>> exports("from torch import *").stars
    ('torch',)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = ast.parse(text)
    names: dict[str, str] = {}
    classes: dict[str, tuple[str, ...]] = {}
    stars: list[str] = []
    for node in _top(module.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                if alias.name == "*":
                    stars.append(base)
                else:
                    names[alias.asname or alias.name] = member(base, alias.name)
        elif isinstance(node, ast.ClassDef):
            names.pop(node.name, None)
            classes[node.name] = tuple(base for one in node.bases if (base := _raw(one, names, classes)))
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
            raw = _raw(node.value, names, classes)
            names.update({one.id: raw for one in node.targets if isinstance(one, ast.Name) and raw})
    return Exports(names, classes, tuple(stars))


def member(base: str, name: str) -> str:
    """The qualified name of what is imported from a module; relative ones keep their dots in front.

    >>> member("torch", "nn"), member("..layers", "Conv"), member(".", "Conv")
    ('torch.nn', '..layers.Conv', '.Conv')
    """
    return f"{base}{name}" if base.endswith(".") else f"{base}.{name}"


def _top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            handlers: list[Any] = getattr(node, "handlers", [])
            for part in (node.body, *(one.body for one in handlers), node.orelse, getattr(node, "finalbody", [])):
                yield from _top(part)


def _raw(node: ast.expr, names: dict[str, str], classes: dict[str, Any]) -> str:
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    if node.id in names:
        return ".".join([names[node.id], *path])
    return f"{HERE}{node.id}" if node.id in classes and not path else ""
