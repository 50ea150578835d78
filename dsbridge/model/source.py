"""What the user's source says of a line: the statement it belongs to, and the names that are assigned there."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from dsbridge.model.nodes import Place

_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_MODULES = os.path.join(_TORCH, "nn", "modules") + os.sep
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, slots=True)
class Statement:
    """A simple statement: its first line and what it assigns to, None for targets that are no names.

    ``nested``: the names of targets that are tuples themselves, by position: ``out, (h, c) = ...``.
    """

    line: int
    targets: tuple[str | None, ...] = ()
    unpacks: bool = False
    nested: Mapping[int, tuple[str | None, ...]] = field(default_factory=dict)


@lru_cache(maxsize=256)
def _statements(file: str) -> dict[int, Statement]:
    """Each line of a file and the innermost simple statement on it."""
    found: dict[int, Statement] = {}
    for node in ast.walk(syntax(file)):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr)):
            said = _targets(node)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = said
    return found


def _targets(node: ast.stmt) -> Statement:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if hasattr(node, "target") else []
    if len(targets) != 1:
        return Statement(node.lineno)
    (target,) = targets
    if isinstance(target, (ast.Tuple, ast.List)):
        nested = {n: tuple(map(_name, one.elts)) for n, one in enumerate(target.elts) if isinstance(one, ast.Tuple)}
        return Statement(node.lineno, tuple(map(_name, target.elts)), unpacks=True, nested=nested)
    return Statement(node.lineno, (_name(target),))


def _name(target: ast.expr) -> str | None:
    return target.id if isinstance(target, ast.Name) and target.id != "_" else None


def statement(place: Place) -> Statement:
    """The statement at a place; one without targets where the source is not to be had, and in a lambda."""
    if place.statement < 0:
        return Statement(place.line)
    return _statements(place.file).get(place.line, Statement(place.line))


def defined(cls: type) -> str:
    """Where a class is defined, as ``folder/file.py:123``; empty where nobody knows.

    The code of its forward says the file: a class of a script that was unpickled has none of its own.

    >>> defined(torch.nn.Linear).startswith("modules/linear.py:")
    True
    """
    code = getattr(cls.__dict__.get("forward"), "__code__", None)
    code = code if code is not None and os.path.exists(code.co_filename) else None  # a notebook's cell is no file
    try:
        file = code.co_filename if code is not None else inspect.getsourcefile(cls)
        line = _class_line(file or "", cls.__name__, code.co_firstlineno) if code is not None else 0
        line = line or inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return ""
    return f"{'/'.join((file or '').split(os.sep)[-2:])}:{line}"


def functions(cls: type) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The methods of a class and of those it comes from, each with its file; none where there is no source.

    >>> any(function.name == "forward" for _, function in functions(torch.nn.Linear))
    True
    """
    for one in cls.__mro__:
        if one is torch.nn.Module:
            return
        lines: dict[str, set[int]] = {}
        for code in (value.__code__ for value in vars(one).values() if hasattr(value, "__code__")):
            lines.setdefault(code.co_filename, set()).add(code.co_firstlineno)
        for file, first in lines.items():
            defined_there = (node for node in ast.walk(syntax(file)) if isinstance(node, ast.FunctionDef))
            for node in defined_there:
                if not first.isdisjoint((node.lineno, *(decorator.lineno for decorator in node.decorator_list))):
                    yield file, node


def _class_line(file: str, name: str, inside: int) -> int:
    """The line of the class statement around a line; the line itself where the source has no class of that name."""
    for node in ast.walk(syntax(file)):
        if isinstance(node, ast.ClassDef) and node.name == name and node.lineno <= inside <= (node.end_lineno or 0):
            return node.lineno
    return inside


@lru_cache(maxsize=256)
def syntax(file: str) -> ast.Module:
    """The syntax tree of a file; an empty one where there is no source."""
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def lost(name: str) -> str:
    """An argument that a torch function does not hand over to who watches: the weight of ``l1_loss`` (torch 2.13)."""
    frame: types.FrameType | None = sys._getframe(1) if name == "l1_loss" else None
    while frame is not None and not (frame.f_code.co_name == name and _is_machinery(frame.f_code.co_filename)):
        frame = frame.f_back
    return "weight" if frame is not None and frame.f_locals.get("weight") is not None else ""


class Places:
    """Finds where the user's code stands; counts executions of statements, so that loops are told apart."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int, int]] = {}  # of each frame under way: its last instruction, statement, step
        self._step = 0

    def here(self) -> Place:
        """The innermost frame that is neither torch's machinery nor ours."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and _is_machinery(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is None:
            return Place()
        at = Place(frame.f_code.co_filename, frame.f_lineno)
        first = statement(at).line
        if first < frame.f_code.co_firstlineno:  # a lambda has no statements: the one around it is another function's
            first = -frame.f_code.co_firstlineno
        under_way = _under_way(frame)
        self._last = {key: last for key, last in self._last.items() if key in under_way}
        last = self._last.get(id(frame))
        if last is None or frame.f_lasti <= last[0] or first != last[1]:
            self._step += 1
            step = self._step
        else:  # what it called in between had steps of its own
            step = last[2]
        self._last[id(frame)] = frame.f_lasti, first, step
        return Place(at.file, at.line, first, step)


def _under_way(frame: types.FrameType | None) -> set[int]:
    found = set()
    while frame is not None:
        found.add(id(frame))
        frame = frame.f_back
    return found


@lru_cache(maxsize=4096)
def _is_machinery(file: str) -> bool:
    if file.startswith((_OURS, "<")):
        return True
    if file.startswith(_MODULES):
        return file.endswith(os.sep + "module.py")
    return file.startswith(_TORCH)
