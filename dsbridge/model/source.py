"""What the user's source says of a line: the statement it belongs to, and the names that are assigned there."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from dsbridge.model.nodes import Place

_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_MODULES = os.path.join(_TORCH, "nn", "modules") + os.sep
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


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
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, Statement] = {}
    for node in ast.walk(tree):
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

    >>> defined(torch.nn.Linear).startswith("modules/linear.py:")
    True
    """
    import inspect

    try:
        file, (_, line) = inspect.getsourcefile(cls), inspect.getsourcelines(cls)
    except (OSError, TypeError):
        return ""
    return f"{'/'.join((file or '').split(os.sep)[-2:])}:{line}"


class Places:
    """Finds where the user's code stands; counts executions of statements, so that loops are told apart."""

    def __init__(self) -> None:
        self._last: tuple[int, int] = (0, -1)  # a frame's identity and its last instruction
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
        now = (id(frame), frame.f_lasti)
        if now[0] != self._last[0] or now[1] <= self._last[1] or first != self._first:
            self._step += 1
        self._last, self._first = now, first
        return Place(at.file, at.line, first, self._step)

    _first = 0


@lru_cache(maxsize=4096)
def _is_machinery(file: str) -> bool:
    if file.startswith((_OURS, "<")):
        return True
    if file.startswith(_MODULES):
        return file.endswith(os.sep + "module.py")
    return file.startswith(_TORCH)
