"""Definitions of the package, with all they need, as source text of their own: what emitted scripts are made of."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from functools import cache

_PACKAGE = "dsbridge"
_DOCTEST = re.compile(r'\n[ ]*\n[ ]*>>> .*?\n([ ]*)"""', re.DOTALL)


class Module:
    """One module of the package: its top-level definitions as text, and where its names come from."""

    def __init__(self, name: str) -> None:
        text = inspect.getsource(importlib.import_module(name))
        lines = text.splitlines()
        self.name = name
        self.texts: dict[str, str] = {}
        self.nodes: dict[str, ast.stmt] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}  # name -> (module, its name there; None: the module itself)
        for node in ast.parse(text).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                self.imports |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
            for name_defined in _defines(node):
                first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
                self.texts[name_defined] = _without_doctests("\n".join(lines[first - 1 : node.end_lineno]))
                self.nodes[name_defined] = node
        candidates = {name: f"{module}.{original}" for name, (module, original) in self.imports.items()}
        self.siblings = {name: path for name, path in candidates.items() if path.startswith(_PACKAGE) and path in sys.modules}


def _without_doctests(text: str) -> str:
    def closed(found: re.Match[str]) -> str:
        before = text[: found.start()]
        alone = before[-1] == '"' or "\n" in before[before.rindex('"""') :]
        return f'\n{found[1]}"""' if alone else '"""'

    return _DOCTEST.sub(closed, text)


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


@cache
def _module(name: str) -> Module:
    return Module(name)


class Bundle:
    """Collects definitions, each after what it needs.

    >>> bundle = Bundle(); bundle.need("dsbridge.transforms.ops.containers", "RandomOrder")
    >>> "class RandomOrder" in bundle.source(), "dsbridge" in bundle.source()
    (True, False)
    """

    def __init__(self) -> None:
        self._from: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._imports: set[tuple[str, str | None, str]] = set()

    def need(self, module_name: str, name: str) -> None:
        """Include a definition and all that it needs. Raises ValueError where two of one name would meet."""
        module = _module(module_name)
        if name in module.imports:
            source, original = module.imports[name]
            if source.split(".")[0] == _PACKAGE:
                assert original == name, f"{module_name} renames {original} to {name}"
                self.need(source, name)
            elif source != "__future__":
                self._imports.add((source, original, name))
            return
        if name not in module.nodes:
            return  # a builtin, a parameter, a local name
        if name in self._from:
            if self._from[name] != module_name:
                raise ValueError(f"{name} is defined in {self._from[name]} and in {module_name}")
            return
        self._from[name] = module_name
        nodes = list(ast.walk(module.nodes[name]))
        for used in sorted({node.id for node in nodes if isinstance(node, ast.Name)} - set(module.siblings)):
            self.need(module_name, used)
        text = module.texts[name]
        for sibling, path in module.siblings.items():  # pil_colour.hue becomes hue, which is a definition of its own here
            for node in nodes:
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == sibling:
                    self.need(path, node.attr)
            text = re.sub(rf"\b{sibling}\.", "", text)
        self._texts[name] = text

    def need_import(self, module: str, name: str | None = None, alias: str | None = None) -> None:
        """Include ``import module``, or ``from module import name``; ``alias``: what it is called here."""
        self._imports.add((module, name, alias or name or module))

    def source(self) -> str:
        """Imports and definitions, as the text of a module."""
        seen: dict[str, None] = dict.fromkeys(self._texts.values())  # one statement may define several names
        text = "\n\n\n".join(seen)
        gap = "\n\n\n" if text.startswith(("def ", "class ", "@")) else "\n\n"  # as ruff has it
        return _import_lines(self._imports) + gap + text + "\n"


def _import_lines(imports: Iterable[tuple[str, str | None, str]]) -> str:
    lines: dict[bool, set[str]] = {True: set(), False: set()}
    members: dict[str, list[str]] = {}
    for module, original, name in sorted(imports, key=str):
        if original is None:
            lines[_standard(module)].add(f"import {module}" if name == module else f"import {module} as {name}")
        elif original == name:
            members.setdefault(module, []).append(name)
        else:
            lines[_standard(module)].add(f"from {module} import {original} as {name}")
    for module, names in members.items():
        lines[_standard(module)].add(f"from {module} import {', '.join(sorted(names))}")
    groups = [sorted(group, key=lambda line: (line.startswith("from"), line)) for group in lines.values() if group]
    return "\n\n".join("\n".join(group) for group in groups)


def _standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names
