"""Pickle streams read as data: no name in them is imported, nothing is called, what is unknown becomes an inert stub.

An interpreter of the opcodes of its own (Python's has a C memo that a 10-byte stream can make 64 GiB large, and calls
what REDUCE says). Protocols 2 to 5: torch writes no other. Source of the opcodes: the module ``pickletools``.
"""

from __future__ import annotations

import importlib
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from dsbridge.errors import CheckpointError

MAX_OPCODES = 5_000_000
"""A stream with more is refused: a torch checkpoint needs about 40 a tensor and one or two a number."""
MAX_INTEGER_BYTES, SLACK = 1024, 1 << 20
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the stream names; it is not imported.

    >>> Name("collections.OrderedDict").path
    'collections.OrderedDict'
    """

    path: str


@dataclass(slots=True, eq=False)
class Stub:
    """An object of an unknown class or call, inert: what it would have been made of.

    ``args``: of the call or of ``__new__``; ``state``: what ``__setstate__`` would get; ``items``: what a dict's subclass
    would hold, as pairs; ``elements``: what a list's would.

    >>> Stub("ghost.Config", (), {"depth": 3}).state
    {'depth': 3}
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[tuple[Any, Any]] = field(default_factory=list)
    elements: list[Any] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Draft:
    """A value of which the stream tells a part now and the rest as a state later (numpy's arrays and dtypes).

    >>> draft = Draft(1, lambda value, state: value + state); draft.build(2); draft.value
    3
    """

    value: Any
    finish: Callable[[Any, Any], Any]

    def build(self, state: Any) -> None:
        """Take the rest."""
        self.value = self.finish(self.value, state)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that a format knows: ``builders`` of values, ``constants``, and ``names`` that are harmless as they stand.

    >>> import io
    >>> load(io.BytesIO(b"cmy\\nzero\\n."), 10, "mine", Vocabulary({}, {"my.zero": 0})).value
    0
    """

    builders: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    names: frozenset[str] = frozenset()


Persistent = Callable[[Any], Any]


def self_contained(_: Any) -> Any:
    """The ``persistent`` of a stream that must not refer to anything outside of it; raises ``CheckpointError``."""
    raise CheckpointError("a pickle refers to an object outside of it, where there is none", hint="the file is damaged")


_KEYS = (str, bytes, int, float, bool, type(None), frozenset, Stub, Name)


@dataclass(slots=True)
class Loaded:
    """What a stream says: its ``value``, and the names it uses that are not known."""

    value: Any
    unknown: tuple[str, ...]


def load(
    file: BinaryIO, size: int, where: str, words: Vocabulary, persistent: Persistent = self_contained, trust: bool = False
) -> Loaded:
    """One pickle from ``file`` at its position; ``size``: of the whole file, in bytes; ``persistent``: meaning of BINPERSID.

    ``words``: the known names; ``trust=True`` imports and calls unknown ones, as pickle does. Raises ``CheckpointError``.

    >>> import io
    >>> load(io.BytesIO(b"cos\\nsystem\\nX\\4\\0\\0\\0echo\\x85R."), 25, "evil", Vocabulary()).value
    Stub(name='os.system', args=('echo',), state=None, items=[], elements=[])
    """
    machine = _Machine(file, size, where, words, persistent, trust)
    return Loaded(machine.run(), tuple(machine.unknown))


@dataclass(slots=True)
class _Machine:
    file: BinaryIO
    size: int
    where: str
    words: Vocabulary
    persistent: Persistent
    trust: bool
    unknown: dict[str, None] = field(default_factory=dict)
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    spent: int = 0

    def run(self) -> Any:
        read, opcodes = self.file.read, _OPCODES
        for _ in range(MAX_OPCODES):
            code = read(1)
            if code == b".":
                if not self.stack:
                    raise self.fail("it ends with an empty stack")
                return self.stack[-1]
            act = opcodes.get(code)
            if act is None:
                raise self.fail(f"{code!r} is no opcode that a checkpoint has" if code else "it ends early, without a STOP")
            try:
                act(self)
            except CheckpointError:
                raise
            except (IndexError, KeyError, struct.error) as exc:
                raise self.fail(f"opcode {code!r} finds nothing to work on ({type(exc).__name__})") from exc
            except (TypeError, ValueError, AttributeError, OverflowError, MemoryError, RecursionError) as exc:
                raise self.fail(f"opcode {code!r} cannot be carried out ({str(exc)[:200]})") from exc
        raise self.fail(f"more than {MAX_OPCODES} opcodes", "no real checkpoint has that many outside of its tensors")

    def fail(self, what: str, hint: str = "the file is damaged, or no checkpoint") -> CheckpointError:
        return CheckpointError(f"{self.where}, byte {self.file.tell()} of the pickle's file: {what}", hint=hint)

    def take(self, count: int) -> bytes:
        if count > 4096 and count > self.size - self.file.tell():  # before the read: it would reserve that much
            raise self.fail(f"it says that {count} bytes follow, the file has {self.size - self.file.tell()}")
        data = self.file.read(count)
        if len(data) != count:
            raise self.fail(f"it says that {count} bytes follow, the file has {len(data)}")
        return data

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def line(self) -> str:
        data = self.file.readline(65536)
        if not data.endswith(b"\n"):
            raise self.fail("a text argument without an end")
        return data[:-1].decode("utf-8")

    def pop_mark(self) -> list[Any]:
        held, self.stack = self.stack, self.marks.pop()
        return held

    def key(self, value: Any) -> Hashable:
        """The value, if it can be hashed in little time and without deep recursion."""
        pending, seen = [value], 0
        while pending:
            item = pending.pop()
            seen += 1
            if isinstance(item, tuple) and seen + len(item) <= 64:
                pending.extend(item)
            elif isinstance(item, tuple):
                raise self.fail("a dict key or set member that is a deep or long tuple")
            elif isinstance(item, int) and not -(1 << 63) <= item < 1 << 64:  # hashes of longer ones collide at will
                raise self.fail("a dict key or set member of more than 64 bits")
            elif not isinstance(item, _KEYS) and not self.trust:
                raise self.fail(f"a {type(item).__name__} as a dict key or set member")
        return value  # type: ignore[no-any-return]

    def find(self, module: str, name: str) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.fail("a global whose name is no text")
        path = f"{_OLD_MODULES.get(module, module)}.{name}"
        if path in self.words.constants:
            return self.words.constants[path]
        if path in self.words.builders or path in self.words.names:
            return Name(path)
        self.unknown[path] = None
        if not self.trust:
            return Name(path)
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            return Name(path)
        return found

    def call(self, function: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            raise self.fail(f"the arguments are a {type(args).__name__}, not a tuple")
        if isinstance(function, Name):
            if function.path == "copyreg.__newobj__":
                return self.new(args[0], args[1:])
            if function.path == "copyreg._reconstructor":
                return self.new(args[0], args[1:] if isinstance(args[0], Name) else ())
            builder = self.words.builders.get(function.path)
            if builder is None:
                return Stub(function.path, args)
            self.spend(*args)
            if builder in (set, frozenset):
                args = tuple([self.key(member) for member in arg] for arg in args)
            return builder(*args)
        if not self.trust:
            raise self.fail(f"a {type(function).__name__} is called as a function")
        return self.trusted(lambda: function(*args))

    def new(self, cls: Any, args: Any, named: Any = None) -> Any:
        if isinstance(cls, Name) or not self.trust:
            made = self.call(cls, args)
            if isinstance(named, dict) and isinstance(made, Stub):
                self.spend(named)
                made.items.extend(named.items())
            return made
        return self.trusted(lambda: cls.__new__(cls, *args, **(named or {})))

    def spend(self, *values: Any) -> None:
        """Count what a call may copy, so that one long list, named in a thousand calls, does not fill the memory."""
        self.spent += sum(len(value) for value in values if isinstance(value, (str, bytes, bytearray, list, tuple, dict)))
        if self.spent > SLACK + 8 * self.file.tell():
            raise self.fail("its calls copy far more than the file holds")

    def build(self) -> None:
        state = self.stack.pop()
        self.spend(state, *(state if isinstance(state, tuple) else ()))
        target = self.stack[-1]
        if isinstance(target, Stub):
            target.state = state
        elif isinstance(target, Draft):
            target.build(state)
        elif type(target) is dict and isinstance(state, dict):  # argparse.Namespace and its like
            for name, value in state.items():
                target[self.key(name)] = value
        elif isinstance(target, OrderedDict):  # nn.Module.state_dict's, of all attributes; another could hide a method
            if isinstance(state, dict) and "_metadata" in state:
                target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        elif self.trust:
            self.trusted(lambda: (getattr(target, "__setstate__", None) or vars(target).update)(state))
        else:
            raise self.fail(f"a state is set on a {type(target).__name__}")

    def trusted(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as exc:
            raise self.fail(f"the trusted code of the file raised {type(exc).__name__}: {exc}", "try it without trust") from exc

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Stub):
            target.elements.extend(items)
        elif isinstance(target, list) or (self.trust and hasattr(target, "extend")):
            target.extend(items)
        elif isinstance(target, set):
            target.update(self.key(item) for item in items)
        else:
            raise self.fail(f"items are appended to a {type(target).__name__}")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if isinstance(target, Stub):
            target.items.extend(pairs)
        elif isinstance(target, dict) or self.trust:
            for key, value in pairs:
                target[self.key(key)] = value
        else:
            raise self.fail(f"items are set on a {type(target).__name__}")

    def integer(self, count: int) -> int:
        if not 0 <= count <= MAX_INTEGER_BYTES:
            raise self.fail(f"an integer of {count} bytes")
        return int.from_bytes(self.take(count), "little", signed=True)

    def replace(self, count: int, make: Callable[..., Any]) -> None:
        """Take ``count`` values from the stack and put one in their place."""
        held = [self.stack.pop() for _ in range(count)][::-1]
        self.stack.append(make(*held))


_Action = Callable[[_Machine], object]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _sized(form: str, make: Callable[[bytes], Any]) -> _Action:
    return lambda m: m.stack.append(make(m.take(m.number(form))))


def _push(make: Callable[[_Machine], Any]) -> _Action:
    def run(m: _Machine) -> None:
        value = make(m)  # first: it may put the stack below a mark back in place
        m.stack.append(value)

    return run


def _put(form: str) -> _Action:
    return lambda m: m.memo.__setitem__(m.number(form), m.stack[-1])


def _get(form: str) -> _Action:
    return lambda m: m.stack.append(m.memo[m.number(form)])


def _pop(m: _Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_mark()


def _open_mark(m: _Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _proto(m: _Machine) -> None:
    if (version := m.number("<B")) > pickle.HIGHEST_PROTOCOL:
        raise m.fail(f"pickle protocol {version}, newer than {pickle.HIGHEST_PROTOCOL}")


_OPCODES: dict[bytes, _Action] = {
    pickle.PROTO: _proto,
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: _open_mark,
    pickle.POP: _pop,
    pickle.POP_MARK: _Machine.pop_mark,
    pickle.DUP: _push(lambda m: m.stack[-1]),
    pickle.NONE: _push(lambda m: None),
    pickle.NEWTRUE: _push(lambda m: True),
    pickle.NEWFALSE: _push(lambda m: False),
    pickle.BINFLOAT: _push(lambda m: struct.unpack(">d", m.take(8))[0]),
    pickle.BININT: _push(lambda m: m.number("<i")),
    pickle.BININT1: _push(lambda m: m.number("<B")),
    pickle.BININT2: _push(lambda m: m.number("<H")),
    pickle.LONG1: _push(lambda m: m.integer(m.number("<B"))),
    pickle.LONG4: _push(lambda m: m.integer(m.number("<i"))),
    pickle.BINUNICODE: _sized("<I", _text),
    pickle.SHORT_BINUNICODE: _sized("<B", _text),
    pickle.BINUNICODE8: _sized("<Q", _text),
    pickle.BINSTRING: _sized("<I", lambda data: data.decode("latin-1")),  # Python 2's str
    pickle.SHORT_BINSTRING: _sized("<B", lambda data: data.decode("latin-1")),
    pickle.BINBYTES: _sized("<I", bytes),
    pickle.SHORT_BINBYTES: _sized("<B", bytes),
    pickle.BINBYTES8: _sized("<Q", bytes),
    pickle.BYTEARRAY8: _sized("<Q", bytearray),
    pickle.EMPTY_DICT: _push(lambda m: {}),
    pickle.EMPTY_LIST: _push(lambda m: []),
    pickle.EMPTY_TUPLE: _push(lambda m: ()),
    pickle.EMPTY_SET: _push(lambda m: set()),
    pickle.TUPLE: _push(lambda m: tuple(m.pop_mark())),
    pickle.TUPLE1: lambda m: m.replace(1, lambda *items: items),
    pickle.TUPLE2: lambda m: m.replace(2, lambda *items: items),
    pickle.TUPLE3: lambda m: m.replace(3, lambda *items: items),
    pickle.FROZENSET: _push(lambda m: frozenset(m.key(item) for item in m.pop_mark())),
    pickle.APPEND: lambda m: m.extend([m.stack.pop()]),
    pickle.APPENDS: lambda m: m.extend(m.pop_mark()),
    pickle.ADDITEMS: lambda m: m.extend(m.pop_mark()),
    pickle.SETITEM: lambda m: m.set_items([m.stack.pop(), m.stack.pop()][::-1]),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_mark()),
    pickle.BINPUT: _put("<B"),
    pickle.LONG_BINPUT: _put("<I"),
    pickle.MEMOIZE: lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    pickle.BINGET: _get("<B"),
    pickle.LONG_BINGET: _get("<I"),
    pickle.GLOBAL: _push(lambda m: m.find(m.line(), m.line())),
    pickle.STACK_GLOBAL: lambda m: m.replace(2, m.find),
    pickle.REDUCE: lambda m: m.replace(2, m.call),
    pickle.NEWOBJ: lambda m: m.replace(2, m.new),
    pickle.NEWOBJ_EX: lambda m: m.replace(3, m.new),
    pickle.BUILD: _Machine.build,
    pickle.BINPERSID: lambda m: m.replace(1, m.persistent),
}
