"""The tape: what a script's own code, outside of modules' forwards, does to tensors, with the place of each call."""

from __future__ import annotations

import operator
import os
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, resolve_name

from dsbridge.migrate.child.where import Place, user_place
from dsbridge.migrate.forward import Field, Size
from dsbridge.model.asking import short_name

# questions that have no tensor for an answer are not taped, and numbers that Python reads are told apart
_READS = {"item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__"}
_FINITE = {"isnan", "isinf", "isfinite"}
_JOINED = {"any", "all", "logical_not", "logical_or", "logical_and", "__invert__", "__or__"}


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor that an operation made: which one, and where in its result."""

    entry: int
    path: tuple[Any, ...] = ()


@dataclass(slots=True)
class Entry:
    """One operation: a torch function by name, or a module's call; tensors among its arguments are themselves or ``Made``."""

    name: str
    module: Any
    args: Any
    kwargs: Any
    place: Place
    result: Any
    reads: tuple[torch.Tensor, ...]  # tensors that no operation made
    writes: bool = False


class Watched(float):
    """A number read from a tensor in a training step: comparing it decides something by values."""

    compared: Callable[[], None]

    def __new__(cls, value: float, compared: Callable[[], None]) -> Watched:
        """``compared`` is called when it is compared."""
        made = super().__new__(cls, value)
        made.compared = compared
        return made

    def __reduce__(self) -> Any:
        return float, (float(self),)

    __hash__ = float.__hash__


def _comparing(method: Callable[[Any, Any], Any]) -> Callable[[Watched, Any], bool]:
    def compare(self: Watched, other: Any) -> bool:
        self.compared()
        return bool(method(float(self), other))

    return compare


for _method in (operator.lt, operator.le, operator.gt, operator.ge):
    setattr(Watched, f"__{_method.__name__}__", _comparing(_method))


def has_history(tensor: torch.Tensor) -> bool:
    """Whether an operation with a gradient made a tensor.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> has_history(weight), has_history(weight * 2)
    (False, True)
    """
    try:
        return tensor.grad_fn is not None
    except RuntimeError:  # a view made without gradients, as nn.Embedding does of its padding: torch refuses to tell
        return False


@dataclass(slots=True)
class Tape:
    """Operations since the last training step began. ``decided``: where the script looked at values to decide; ``guards``:
    where all that it asked is whether they are finite.
    """

    entries: list[Entry] = field(default_factory=list)
    made: dict[int, Made] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)  # an id is a tensor's only while it lives
    before: dict[int, weakref.ref[torch.Tensor]] = field(default_factory=dict)
    decided: dict[Place, str] = field(default_factory=dict)
    guards: dict[Place, str] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget what came before, but for which tensors live on that have a gradient to something."""
        with torch._C.DisableTorchFunction():  # asking a tensor is a call of torch, too
            alive = {key: one for key, one in self.before.items() if one() is not None}
            self.before = alive | {id(one): weakref.ref(one) for one in self.kept if has_history(one)}
        self.entries, self.made, self.kept = [], {}, []

    def is_earlier(self, tensor: torch.Tensor) -> bool:
        """Whether it was made before the tape was cleared."""
        found = self.before.get(id(tensor))
        return found is not None and found() is tensor

    def guarding(self, value: Any) -> bool:
        """Whether a tensor, or what noted arguments hold, says nothing but whether other values are finite."""
        made = value if isinstance(value, Made) else self.made.get(id(value))
        if made is None:
            return False
        entry = self.entries[made.entry]
        name = entry.name.rpartition(".")[2]
        asked = [one for one in entry.args if not isinstance(one, int)]  # an axis is one
        return name in _FINITE or (name in _JOINED and all(map(self.guarding, asked)))

    def add(self, name: str, module: Any, args: Any, kwargs: Any, result: Any, refs: tuple[Any, Any, Any]) -> None:
        """Note an operation. ``refs``: its arguments and the tensors it reads, as they were before it ran."""
        if result is args[:1] or (args and result is args[0] and not _writes(name)):
            return  # x.to(device) on a CPU
        written = name.rpartition(".")[2] == "__setitem__"
        entry = Entry(name, module, refs[0], refs[1], user_place(), args[0] if written else result, refs[2], _writes(name))
        number = len(self.entries)
        self.entries.append(entry)
        self._define(entry.result, number, ())

    def _define(self, value: Any, number: int, path: tuple[Any, ...]) -> None:
        if isinstance(value, torch.nn.Parameter):  # written to: it stays a parameter
            return
        if isinstance(value, torch.Tensor):
            self.made[id(value)] = Made(number, path)
            self.kept.append(value)
        elif isinstance(value, dict):
            for key in value:
                self._define(value[key], number, (*path, key))
        elif isinstance(value, (tuple, list)):
            for place, one in enumerate(value):
                self._define(one, number, (*path, place))
        elif is_dataclass(value) and not isinstance(value, type):
            for held in fields(value):
                self._define(getattr(value, held.name), number, (*path, Field(held.name)))

    def refs(self, args: Any, kwargs: Any) -> tuple[Any, Any, tuple[torch.Tensor, ...]]:
        """Arguments as they are noted, and the tensors among them that no operation made."""
        reads: list[torch.Tensor] = []
        return self._noted(args, reads), self._noted(kwargs, reads), tuple(reads)

    def _noted(self, value: Any, reads: list[torch.Tensor]) -> Any:
        if isinstance(value, torch.Tensor):
            found = self.made.get(id(value))
            if found is None:
                reads.append(value)
                self.kept.append(value)
                return value
            return found
        if isinstance(value, dict):
            return {key: self._noted(one, reads) for key, one in value.items()}
        if isinstance(value, slice):
            return slice(*(self._noted(one, reads) for one in (value.start, value.stop, value.step)))
        if type(value) in (tuple, list):
            return type(value)(self._noted(one, reads) for one in value)
        return value


class Aside:
    """A context in which a recorder tapes nothing. Not a generator: it is entered several times in each training step."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        self._recorder.depth += 1

    def __exit__(self, *_: object) -> None:
        self._recorder.depth -= 1


class Recorder(TorchFunctionMode):  # type: ignore[misc]
    """Writes the tape while it is active; in worker processes of loaders it does nothing."""

    def __init__(self, tape: Tape, in_step: Callable[[], bool]) -> None:
        super().__init__()
        self.tape, self.in_step = tape, in_step
        self.depth = 0  # of modules' forwards, and of what is not the script's own
        self.active = True
        self._pid = os.getpid()

    def aside(self) -> Aside:
        """Within it nothing is taped: it is not the script's own."""
        return Aside(self)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.depth or not self.active or os.getpid() != self._pid:
            return func(*args, **kwargs)
        name = short_name(func)
        if name in ("shape", "size"):
            return self._sizes(name, func, args, kwargs)
        if name in _READS:
            return self._read(name, func, args, kwargs)
        refs = self.tape.refs(args, kwargs)
        result = func(*args, **kwargs)
        if _has_tensor(result) or name == "__setitem__":
            self.tape.add(_full_name(func, name), None, args, kwargs, result, refs)
        return result

    def _sizes(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        plain = func(*args, **kwargs)
        if not torch.is_grad_enabled() or not self.in_step():
            return plain
        (source,), _, _ = self.tape.refs(args[:1], {})
        if isinstance(plain, int):
            axis = args[1] if len(args) > 1 else kwargs["dim"]
            return Size(plain, (source, int(axis)))
        return torch.Size([Size(size, (source, axis)) for axis, size in enumerate(plain)])

    def _read(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        value = func(*args, **kwargs)
        if not self.in_step() or not torch.is_tensor(args[0]) or id(args[0]) not in self.tape.made:
            return value
        place = user_place()
        if name == "__bool__":
            self._decided(place, self.tape.guards if self.tape.guarding(args[0]) else self.tape.decided)
        if isinstance(value, float):
            return Watched(value, lambda: self._decided(user_place(), self.tape.decided))
        return value

    def _decided(self, place: Place, places: dict[Place, str]) -> None:
        if self.in_step():
            places.setdefault(place, "")


def hide_custom_functions(aside: Callable[[], AbstractContextManager[None]]) -> Callable[[], None]:
    """Have calls of ``torch.autograd.Function`` classes untaped: what they do inside says nothing of their backward.

    Returns what takes that back.
    """
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        with aside():
            return original.__get__(None, cls)(*args, **kwargs)

    def undo() -> None:
        torch.autograd.Function.apply = original

    torch.autograd.Function.apply = classmethod(apply)
    return undo


def _has_tensor(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, dict):
        return any(map(_has_tensor, value.values()))
    return isinstance(value, (tuple, list)) and any(map(_has_tensor, value))


def _full_name(func: Any, short: str) -> str:
    return resolve_name(func) or f"{getattr(func, '__module__', 'torch')}.{short}"


def _writes(name: str) -> bool:
    short = name.rpartition(".")[2]
    return (short.endswith("_") and not short.endswith("__")) or short in (
        "__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__", "__set__",
    )  # fmt: skip
