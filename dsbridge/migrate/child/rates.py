"""Options of the optimizer's groups that a script sets by hand: when, where, and what its variables were."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, ClassVar

import torch

from dsbridge.migrate.child.where import is_users
from dsbridge.migrate.recording import FOLLOWED, Frame

_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_HELD, _CODES = 400, 40  # values of a frame that are kept, functions that are looked into


class Group(dict[str, Any]):
    """A param group that tells who sets its options; pickled and copied it is a plain one."""

    tell: ClassVar[Callable[[Group, str, Any], None] | None] = None

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key in FOLLOWED and Group.tell is not None:
            Group.tell(self, key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Each of them is set."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def watched(optimizer: Any) -> None:
    """Have an optimizer's groups tell."""
    if any(type(group) is dict for group in optimizer.param_groups):
        optimizer.param_groups[:] = [Group(group) if type(group) is dict else group for group in optimizer.param_groups]


def setter() -> FrameType | None:
    """The frame that sets an option; None for torch's own, as schedules are."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return None if frame is None or frame.f_code.co_filename.startswith(_TORCH) else frame


def frames(innermost: FrameType | None, values: bool = True) -> list[Frame]:
    """The user's frames, from that one outwards; ``values``: with what their variables hold."""
    found = []
    frame = innermost
    while frame is not None:
        code = frame.f_code
        if is_users(code.co_filename):
            file = os.path.abspath(code.co_filename)
            held = _Held(frame) if values else None
            more = (held.values, held.modules, held.functions) if held else ()
            found.append(Frame(file, frame.f_lineno, code.co_name, code.co_firstlineno, *more))
        frame = frame.f_back
    return found


class _Held:
    """What a frame's variables hold, as far as its code, and the user's functions that it names, read them.

    ``values``: plain ones by the text that reads them ("lr", "args.lr", "cfg['lr']", "len(loader)"); ``modules``: their names;
    ``functions``: where they begin.
    """

    def __init__(self, frame: FrameType) -> None:
        self.values: dict[str, Any] = {}
        self.modules: dict[str, str] = {}
        self.functions: dict[str, tuple[str, int]] = {}
        self._codes: set[tuple[str, CodeType]] = set()
        self._read(frame.f_code, {**frame.f_globals, **frame.f_locals})

    def _read(self, code: CodeType, names: Mapping[str, Any], owner: str = "", held: Any = None) -> None:
        """What code reads of these names; of a method, also of its object ``held``, which is called ``owner`` outside."""
        if (owner, code) in self._codes or len(self._codes) == _CODES:
            return
        self._codes.add((owner, code))
        used = {*code.co_varnames, *code.co_cellvars, *code.co_freevars, *code.co_names}
        for name in sorted(used & names.keys()):
            self._take(name, names[name], used)
        if owner:
            self._object(owner, held, used)

    def _take(self, name: str, value: Any, used: set[str]) -> None:
        if isinstance(value, ModuleType):
            self.modules.setdefault(name, value.__name__)
        elif isinstance(value, FunctionType):
            self._function(name, value)
        elif is_plain(value):
            self._keep(name, value)
            if isinstance(value, Mapping):
                for key, one in value.items():
                    self._keep(f"{name}[{key!r}]", one)
        elif not isinstance(value, (torch.Tensor, type)):
            self._object(name, value, used)

    def _object(self, name: str, value: Any, used: set[str]) -> None:
        """What an object holds, and its methods, as far as their names are used."""
        with contextlib.suppress(Exception):
            self._keep(f"len({name})", len(value))
        held = getattr(value, "__dict__", {})
        for attribute in sorted(used & held.keys()):
            if is_plain(held[attribute]):
                self._keep(f"{name}.{attribute}", held[attribute])
        for cls in type(value).__mro__[:-1]:
            for attribute in sorted((used & vars(cls).keys()) - held.keys()):
                one = vars(cls)[attribute]
                if isinstance(one, FunctionType):
                    self._function(f"{name}.{attribute}", one, name, value)
                elif is_plain(one):
                    self._keep(f"{name}.{attribute}", one)

    def _function(self, name: str, function: FunctionType, owner: str = "", held: Any = None) -> None:
        code = function.__code__
        if not is_users(code.co_filename) or name in self.functions:
            return
        self.functions[name] = os.path.abspath(code.co_filename), code.co_firstlineno
        names = dict(function.__globals__)
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # it has no value yet
                names[variable] = cell.cell_contents
        self._read(code, names, owner, held)

    def _keep(self, name: str, value: Any) -> None:
        if len(self.values) < _HELD:
            self.values.setdefault(name, value)


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a string or None, or not too many of them in lists, tuples and dicts.

    >>> is_plain({"a": [1, 2.0]}), is_plain(torch.ones(1))
    (True, False)
    """
    left = [value]
    for _ in range(_HELD):
        if not left:
            return True
        one = left.pop()
        if type(one) in (list, tuple):
            left += one[:_HELD]
        elif type(one) is dict:
            left += [*list(one)[:_HELD], *list(one.values())[:_HELD]]
        elif one is not None and type(one) not in (bool, int, float, str):
            return False
    return False
