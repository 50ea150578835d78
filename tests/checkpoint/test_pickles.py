"""Pickles read as data: nothing runs, bombs end in an error, plain values come out as Python would build them."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pathlib
import pickle
import random
import struct
import time
import types
from typing import Any

import numpy as np
import pytest

from dsbridge.checkpoint.formats.pickles import Name, Stub, Vocabulary, load
from dsbridge.checkpoint.formats.torch_tree import Collector
from dsbridge.checkpoint.formats.torch_words import VOCABULARY
from dsbridge.errors import CheckpointError


def read(data: bytes, words: Vocabulary = VOCABULARY, **options: Any) -> Any:
    return load(io.BytesIO(data), len(data), "here", words, **options)


def tree(data: bytes) -> Any:
    """What a reader of a file would make of it."""
    return Collector("here", lambda ref: pytest.fail("a storage")).walk(read(data).value, "")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


class Evil:
    """The same by builtins.eval."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return eval, (f"open({self.path!r}, 'w').close()",)


class Config:
    """A user's class, with a hook that runs at unpickling."""

    def __init__(self) -> None:
        self.depth = 3

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.woken = True


class Attributes(dict):  # type: ignore[type-arg]
    """A dict's subclass, as many configurations are."""


PLAIN = [
    {"a": [1, -2, 3.5, None, True, False], "b": (), "c": ("x",), 4: {"é": "日本"}},
    [2**31, -(2**31), 2**70, -(2**200), 10**300, 1e-300, float("inf")],
    {"set": {1, 2}, "frozen": frozenset([3]), "bytes": b"\x00\xff", "array": bytearray(b"xy"), "complex": 1 + 2j},
    collections.OrderedDict(a=1, b=[2]),
    {"p": pathlib.PurePosixPath("/a/b"), "d": collections.defaultdict(list, x=[1]), "n": argparse.Namespace(lr=0.1)},
    {"count": collections.Counter("aab"), "simple": types.SimpleNamespace(z=1)},
    list(range(3000)),
    {str(number): number for number in range(3000)},
    ["same"] * 3,
    {"long": "x" * 100_000, "long bytes": bytes(100_000)},
]


def plain(value: Any) -> Any:
    """Paths as text, namespaces and their like as dicts."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, (argparse.Namespace, types.SimpleNamespace)):
        return vars(value)
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_plain_values(value: Any, protocol: int) -> None:
    """Every protocol that torch can be told to use; safe classes as plain values, nothing reported."""
    data = pickle.dumps(value, protocol)
    assert read(data).unknown == ()
    assert tree(data) == plain(value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("dtype", ["f4", ">f8", "i8", "?", "u2", "c8", "S3", "U2"])
def test_numpy_scalars_and_arrays(dtype: str, protocol: int) -> None:
    """numpy scalars, 0-d, empty, Fortran-ordered and big-endian arrays, which torch refuses, without torch."""
    array = np.arange(6).reshape(2, 3).astype(dtype)
    values = [array, array.T, array[0, 1], array[:0], np.array(array[0, 0])]
    for value, got in zip(values, tree(pickle.dumps(values, protocol)), strict=True):
        assert type(got) is type(value) and got.dtype == value.dtype and got.shape == value.shape
        assert got.tobytes() == value.tobytes()


def test_numpy_of_objects_stays_a_stub() -> None:
    """Nothing is built from objects; what is inside is kept."""
    got = tree(pickle.dumps(np.array([{"a": 1}, None], dtype=object)))
    assert got.name == "numpy.ndarray" and got.args[0][0] == {"a": 1}


@pytest.mark.parametrize("payload", [Payload, Evil])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_malicious_pickle_does_nothing(payload: Any, protocol: int, tmp_path: pathlib.Path) -> None:
    """os.system and eval leave no file behind, and are named; Python's own unpickler would have run them."""
    file = tmp_path / "ran"
    data = pickle.dumps([payload(str(file))], protocol)
    got = read(data)
    assert not file.exists()
    assert isinstance(got.value[0], Stub) and got.value[0].name == got.unknown[0]
    assert got.unknown[0] in ("posix.system", "builtins.eval")
    pickle.loads(data)
    assert file.exists()


def test_trust_builds_what_the_file_says(tmp_path: pathlib.Path) -> None:
    """Only trust=True runs anything: constructors, hooks, functions."""
    file = tmp_path / "ran"
    data = pickle.dumps([Config(), Evil(str(file)), Attributes(a=1)])
    config, _, attributes = read(data).value
    assert isinstance(config, Stub) and config.state == {"depth": 3} and attributes.items == [("a", 1)]
    config, _, attributes = read(data, trust=True).value
    assert type(config) is Config and config.woken and config.depth == 3 and file.exists()
    assert type(attributes) is Attributes and attributes == {"a": 1}


def test_trusted_code_that_fails_is_named() -> None:
    with pytest.raises(CheckpointError, match="trusted code of the file raised ZeroDivisionError"):
        read(pickle.dumps(_Failing()), trust=True)


class _Failing:
    def __reduce__(self) -> Any:
        return divmod, (1, 0)


def test_a_class_of_a_missing_module_is_a_stub() -> None:
    """With and without trust: torch.load fails with ModuleNotFoundError even with weights_only=False."""
    data = b"\x80\x02cghostmod\nFoo\n)\x81}X\x01\x00\x00\x00aK\x01sb."
    for trust in (False, True):
        got = read(data, trust=trust)
        assert (got.value.name, got.value.state, got.unknown) == ("ghostmod.Foo", {"a": 1}, ("ghostmod.Foo",))


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


_NESTED = b"N" + b"\x85" * 200_000
BOMBS = {
    "a memo of 64 GiB": b"\x80\x02Nr\xff\xff\xff\xff.",
    "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
    "text that is not there": b"\x80\x02X\xff\xff\xff\xff.",
    "an integer of a gigabyte": b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + bytes(2000) + b".",
    "a hash of a deep tuple": b"\x80\x02}" + _NESTED + b"Ns.",
    "a set of a deep tuple": b"\x80\x02c__builtin__\nset\n]" + _NESTED + b"a\x85R.",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "billion laughs": b"\x80\x02]q\x00" + b"".join(b"](h%ch%ch%ch%ceq%c" % (n, n, n, n, n + 1) for n in range(60)) + b".",
    "a billion-laughs name": b"\x80\x02"
    + b"]q\x00"
    + b"".join(b"](h%ch%ch%ceq%c" % (n, n, n, n + 1) for n in range(60))
    + b"h<\x93.",
    "a billion-laughs device": b"\x80\x02ctorch\ndevice\n]q\x00"
    + b"".join(b"](h%ch%ch%ceq%c" % (n, n, n, n + 1) for n in range(60))
    + b"\x85R.",
    "a tuple of a long range": b"\x80\x02ctorch\nSize\nc__builtin__\nxrange\n\x8a\x06\0\0\0\0\0\x01\x85R\x85R.",
    "a bytearray of a number": b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "one list copied by every call": b"\x80\x02]("
    + b"K\x01" * 50_000
    + b"eq\x00("
    + b"ctorch\nSize\nh\x00\x85R" * 5000
    + b"t.",
    "an array larger than its bytes": pickle.dumps(np.zeros(3), 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
    "opcodes without end": b"\x80\x02" + b"N0" * 2_600_000,
    "names without end": b"\x80\x02}" + (_text("k" * 3000) + b"}") * 3 + b"sss.",
    "no end": b"\x80\x02N",
    "no beginning": b".",
    "a pop too many": b"\x80\x020.",
    "an item without its key": b"\x80\x02}(Nu.",
    "an unhashable key": b"\x80\x02}]Ns.",
    "a call of a number": b"\x80\x02K\x01)R.",
    "a state of a number": b"\x80\x02K\x01}b.",
    "something outside": b"\x80\x02)Q.",
    "an extension": b"\x80\x02\x82\x01.",
    "protocol 0": b"(lp0\nI1\na.",
    "protocol 77": b"\x80\x4dN.",
    "a method hidden": b"\x80\x02ccollections\nOrderedDict\n)R}" + _text("items") + b"K\x01sb.",
}
HARMLESS = {"a memo of 64 GiB", "a method hidden"}


@pytest.mark.no_cover  # ten million opcodes: counting lines takes longer than reading them
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    """Depth, size, opcodes, copies and names that would crash or hang a naive reader: an error within seconds."""
    begin = time.thread_time()
    if name in HARMLESS:
        tree(BOMBS[name])
    else:
        with pytest.raises(CheckpointError):
            tree(BOMBS[name])
    assert time.thread_time() - begin < 20


def test_keys_of_knotted_tuples_take_no_time() -> None:
    """A tuple of tuples of ... the same tuple has 30**40 paths; none is walked twice."""
    knot = b"Nq\x000" + b"".join((b"(" + b"h%c" % n * 30 + b"tq%c0" % (n + 1)) for n in range(40)) + b"h\x28"
    with pytest.raises(CheckpointError, match="deep or long tuple"):
        read(b"\x80\x02}" + knot + b"Ns.")


def test_cycles_are_cut_and_said() -> None:
    """A list that holds itself, which pickles may hold."""
    looped: list[Any] = [1]
    looped.append(looped)
    collector = Collector("here", lambda ref: pytest.fail("a storage"))
    got = collector.walk(read(pickle.dumps(looped)).value, "")
    assert got[0] == 1 and got[1].name == "cycle" and "cycle" in collector.report


def test_names_are_names() -> None:
    """A class that is mentioned, not built."""
    assert read(pickle.dumps([Config, list], 2)).value == [Name(f"{Config.__module__}.Config"), Name("builtins.list")]


def test_seeded_corruptions() -> None:
    """600 damaged pickles: an error or a value, never another exception, in little time."""
    rng = random.Random(5)
    whole = [pickle.dumps(value, protocol) for value in [*PLAIN[:6], np.arange(4.0), Config()] for protocol in (2, 4)]
    refused = 0
    begin = time.thread_time()
    for _ in range(600):
        data = bytearray(rng.choice(whole))
        match rng.randrange(3):
            case 0:
                del data[rng.randrange(len(data)) :]
            case 1:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case _:
                at, other = rng.randrange(len(data)), rng.choice(whole)
                data[at:at] = other[rng.randrange(len(other)) :][:20]
        try:
            tree(bytes(data))
        except CheckpointError:
            refused += 1
    assert refused > 200
    assert time.thread_time() - begin < 60
