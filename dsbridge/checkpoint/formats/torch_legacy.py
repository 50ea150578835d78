"""torch's pickles: what both of its file formats say about tensors; and the older of the two, pickles then raw storages.

Source of the layouts: torch/_utils.py and torch/serialization.py of torch 2.13, read and measured.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from dsbridge.checkpoint.formats.pickles import Draft, Loaded, Name, Stub, Vocabulary, load
from dsbridge.checkpoint.stored import Checkpoint, Span, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Report
from dsbridge.schema.dtypes import TABLE, lookup


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage: ``count`` elements of ``dtype`` ("" = bytes) under ``key``; a view begins ``start`` elements into it.

    >>> StorageRef("0", "float32", 6, "cpu").nbytes(6)
    24
    """

    key: str
    dtype: str
    count: int
    location: str
    start: int = 0

    def nbytes(self, count: int) -> int:
        """Bytes of ``count`` elements."""
        return count * (_QUANTISED.get(self.dtype) or (lookup(self.dtype).numpy.itemsize if self.dtype else 1))


@dataclass(frozen=True, slots=True, eq=False)
class TensorRef:
    """A dense tensor over a storage; ``offset`` and ``strides`` in elements. ``dropped``: attributes that are not read."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """What is no dense tensor: a ``code`` for the finding, the ``reason``, and a ``hint``; it stays in the tree."""

    code: str
    reason: str
    hint: str = ""


def _word(value: Any) -> str:
    return value[:80] if isinstance(value, str) else type(value).__name__  # str() of a knot of lists would take for ever


def _v2(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    """(requires_grad, backward_hooks, metadata) follow; metadata says whether it is a conjugate or negative view."""
    return _tensor(storage, offset, shape, strides, storage.dtype, rest[2] if len(rest) > 2 else None)


def _v3(storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, metadata: Any = None) -> Any:
    return _tensor(storage, offset, shape, strides, _word(dtype).removeprefix("torch."), metadata)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: str, metadata: Any) -> Any:
    if flags := [_word(name) for name, value in (metadata or {}).items() if value]:
        return Refused("lazy-view", f"a view with {', '.join(flags)}", "save .resolve_conj().resolve_neg()")
    sizes = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(type(size) is not int or not 0 <= size < 1 << 63 for size in sizes):
        raise ValueError("a tensor whose offset, shape or strides make no sense")
    if storage.location == "meta":
        return _META
    return TensorRef(storage, offset, tuple(shape), tuple(strides), dtype)


def _with_state(data: Any, _grad: Any, _hooks: Any, state: Any) -> Any:
    if not isinstance(data, TensorRef):
        return data
    names = state[0] if isinstance(state, tuple) and state and isinstance(state[0], dict) else state
    dropped = tuple(map(_word, names)) if isinstance(names, dict) else ()
    return replace(data, dropped=dropped)


def _of_class(function: Any, cls: Any, args: Any, state: Any) -> Any:
    name = cls.path if isinstance(cls, Name) else type(cls).__name__
    if name.endswith("DTensor"):
        return Refused("partial", "a DTensor, of which this file holds one rank's part", _FULL)
    builder = _TORCH.get(function.path) if isinstance(function, Name) else None
    return _with_state(builder(*args), None, None, state) if builder else Refused("tensor-subclass", f"a {name}")


def persistent_storage(identity: Any) -> Any:
    """What a persistent id stands for: a storage, or (legacy) a module's class with its source."""
    if not isinstance(identity, tuple) or (len(identity) < 5 and identity[:1] != ("module",)):
        raise CheckpointError("a pickle refers to an object outside of it in a way that is not torch's")
    if identity[0] == "module":
        return identity[1]
    _, cls, key, location, count = identity[:5]
    dtype = _STORAGES.get(cls.path) if isinstance(cls, Name) else None
    if dtype is None or not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 60:
        raise CheckpointError("a pickle refers to a storage of an unknown kind or size")
    return StorageRef(key, dtype, count, _word(location))


def _dtype(name: str, *_: Any) -> Draft:
    known = re.fullmatch(r"[?bB]|b1|[iu][1248]|f[248]|c(8|16)|[SU]\d{1,6}", name)
    return Draft(np.dtype(name) if known else None, _finish_dtype)


def _finish_dtype(dtype: Any, state: Any) -> Any:
    return None if dtype is None or state[3] else dtype.newbyteorder(state[1])


def _array(data: Any, dtype: Draft, shape: Any, order: Any = "C") -> Any:
    raw = data.encode("latin-1") if isinstance(data, str) else bytes(memoryview(data))
    if any(type(size) is not int for size in shape) or prod(shape) * dtype.value.itemsize != len(raw):
        raise ValueError("an array whose shape, dtype and bytes do not agree")
    return np.frombuffer(raw, dtype.value).reshape(shape, order=order).copy()


def _finish_array(_: Any, state: Any) -> Any:
    _version, shape, dtype, fortran, data = state
    return Stub("numpy.ndarray", (data,)) if dtype.value is None else _array(data, dtype, shape, "F" if fortran else "C")


def _bytes(data: Any = b"", encoding: str = "latin-1", *_: Any) -> bytes:
    if isinstance(data, bytes):
        return data
    if encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise ValueError("text in an unknown encoding")
    return str.encode(data, encoding)


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    if any(not isinstance(key, str) for key, _ in pairs):
        raise TypeError("keys that are no text")
    return OrderedDict(pairs)


def _scalar(dtype: Any, data: Any) -> Any:
    return Stub("numpy.object_", (data,)) if dtype.value is None else _array(data, dtype, ())[()]


_META = Refused("meta-tensor", "a meta tensor, which has no data", "materialise the model before saving it")
_FULL = "gather it first: get_model_state_dict(..., options=StateDictOptions(full_state_dict=True)) or .full_tensor()"
_UNREAL = "no real checkpoint is like that"
_SPARSE = Refused("sparse-tensor", "a sparse tensor", "save .to_dense()")
_KNOWN = {row.torch for row in TABLE if row.torch}
_QUANTISED = {"qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}
_KINDS = {"Half": "float16", "Float": "float32", "Double": "float64", "BFloat16": "bfloat16", "Bool": "bool", "Byte": "uint8"}
_KINDS |= {"Char": "int8", "Short": "int16", "Int": "int32", "Long": "int64"}
_KINDS |= {"ComplexFloat": "complex64", "ComplexDouble": "complex128", "QInt8": "qint8", "QUInt8": "quint8"}
_KINDS |= {"QInt32": "qint32", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4", "Untyped": ""}
_STORAGES = {f"torch.{where}{kind}Storage": dtype for kind, dtype in _KINDS.items() for where in ("", "cuda.", "storage.")}
_WORDS = "strided sparse_coo contiguous_format channels_last preserve_format complex32 float4_e2m1fn_x2 per_tensor_affine"
_WORDS += " per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams"
_TORCH: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _v2,
    "torch._utils._rebuild_tensor_v2": _v2,
    "torch._utils._rebuild_tensor_v3": _v3,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": _with_state,
    "torch._utils._rebuild_qtensor": lambda *_: Refused("quantised-tensor", "a quantised tensor", "save .dequantize()"),
    "torch._utils._rebuild_sparse_tensor": lambda *_: _SPARSE,
    "torch._utils._rebuild_sparse_csr_tensor": lambda *_: _SPARSE,
    "torch._utils._rebuild_nested_tensor": lambda *_: Refused("nested-tensor", "a nested tensor", "save its parts"),
    "torch._utils._rebuild_meta_tensor_no_storage": lambda *_: _META,
    "torch._utils._rebuild_wrapper_subclass": lambda cls, *_: Refused(
        "tensor-subclass", f"a {_word(getattr(cls, 'path', cls))}"
    ),
    "torch._tensor._rebuild_from_type": _of_class,
    "torch._tensor._rebuild_from_type_v2": _of_class,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda kind, index=None: _word(kind) + ("" if type(index) is not int else f":{index}"),
    "torch.serialization._get_layout": _word,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    **dict.fromkeys(("collections.defaultdict", "argparse.Namespace", "types.SimpleNamespace"), lambda *_: {}),
    "collections.Counter": lambda counts: counts if isinstance(counts, dict) else {},
    **{f"builtins.{kind.__name__}": kind for kind in (set, frozenset, complex)},
    "builtins.bytearray": lambda *args: bytearray(_bytes(*args)),
    "builtins.bytes": _bytes,
    "_codecs.encode": _bytes,
    **{f"pathlib.{part}PosixPath": lambda *parts: str(PurePosixPath(*parts)) for part in ("", "Pure", "_local.")},
    **{f"pathlib.{part}WindowsPath": lambda *parts: str(PureWindowsPath(*parts)) for part in ("", "Pure", "_local.")},
    "numpy.dtype": _dtype,
    **{f"numpy.{core}.multiarray._reconstruct": lambda *_: Draft(None, _finish_array) for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},  # of numpy 1, of numpy 2
    **{f"numpy.{core}.numeric._frombuffer": _array for core in ("core", "_core")},
}
_HARMLESS = {f"builtins.{name}" for name in ("list", "dict", "tuple", "int", "float", "str", "bool", "object")}
_HARMLESS |= {"builtins.range", "builtins.xrange", "builtins.slice"}  # called, they stay stubs: tuple(range(10**12)) is a bomb
VOCABULARY = Vocabulary(
    {**_PLAIN, **_TORCH},
    {f"torch.{name}": f"torch.{name}" for name in (*_KNOWN, *_QUANTISED, *_WORDS.split())},
    frozenset({*_HARMLESS, *_STORAGES, "numpy.ndarray", "copyreg._reconstructor", "copyreg.__newobj__"}),
)
"""The names of torch's, numpy's and Python's that are known: what they build are plain values and descriptions."""

MAX_DEPTH, MAX_NODES, MAX_NAME = 100, 4_000_000, 4096
Locate = Callable[[StorageRef], Span]


@dataclass(slots=True)
class Collector:
    """Walks what a pickle said: a tree with ``Stored`` leaves, the tensors by flat names, and what there is to report."""

    where: str
    locate: Locate
    tensors: dict[str, Stored] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report("checkpoint"))
    _first: dict[Any, str] = field(default_factory=dict)
    _open: dict[int, str] = field(default_factory=dict)
    _left: int = MAX_NODES

    def checkpoint(self, path: Path, form: str, loaded: Loaded, trust: bool) -> Checkpoint:
        """The whole of it; findings: "unknown-global", "dropped-attributes", "cycle", and the codes of ``Refused``."""
        if loaded.unknown:
            names = ", ".join(loaded.unknown[:20]) + (", ..." if len(loaded.unknown) > 20 else "")
            what = "they were imported and called" if trust else "nothing of them was run, they are stubs"
            hint = "" if trust else "trust=True builds them, for a file whose author you trust"
            self.report.add("unknown-global", "info" if trust else "warning", path.name, f"{names}: {what}", hint)
        tree = self.walk(loaded.value, "")
        return Checkpoint(path, form, self.tensors, tree, self.metadata, self.report)

    def walk(self, value: Any, path: str) -> Any:
        """A value with all tensors below it described; containers are copied."""
        if isinstance(value, (TensorRef, Refused, StorageRef)):
            return self.tensor(value, path or "tensor")
        if isinstance(value, Draft):
            return self.walk(value.value, path)
        inside = isinstance(value, (dict, list, tuple, Stub)) or hasattr(value, "__dict__")
        if not inside or isinstance(value, (type, ModuleType, FunctionType)):
            return value
        if id(value) in self._open:
            self.report.add("cycle", "warning", path, f"the same object as {self._open[id(value)] or 'the whole'}: left out")
            return Stub("cycle")
        self._left -= 8 + (len(value) if isinstance(value, (dict, list, tuple)) else 0)
        if len(self._open) >= MAX_DEPTH or self._left < 0:
            limit = f"{MAX_DEPTH} levels" if self._left >= 0 else f"{MAX_NODES} values, a container as eight,"
            raise CheckpointError(f"{self.where}: more than {limit} at {path[:200]!r}", hint=_UNREAL)
        self._open[id(value)] = path
        try:
            return self.inside(value, path)
        finally:
            del self._open[id(value)]

    def inside(self, value: Any, path: str) -> Any:
        """The same for what holds others. An unknown class adds nothing to the names: a module has its state_dict's."""
        if isinstance(value, dict):
            if (versions := getattr(value, "_metadata", None)) is not None:
                self.metadata[f"{path}._metadata".lstrip(".")] = self.walk(versions, f"{path}._metadata")
            pairs = ((key, self.walk(item, _join(path, key, at))) for at, (key, item) in enumerate(value.items()))
            return OrderedDict(pairs) if isinstance(value, OrderedDict) else dict(pairs)
        if isinstance(value, (list, tuple)):
            items = (self.walk(item, _join(path, at, at)) for at, item in enumerate(value))
            return list(items) if isinstance(value, list) else tuple(items)
        if isinstance(value, Stub):
            if value.name.rsplit(".", 1)[-1] in ("ShardedTensor", "DTensor"):
                return self.tensor(Refused("partial", f"a {value.name}, of which this file holds one rank's part", _FULL), path)
            pairs_of = [(key, self.walk(item, _join(path, key, at))) for at, (key, item) in enumerate(value.items)]
            args, elements = self.walk(value.args, _join(path, "args", 0)), self.walk(value.elements, path)
            return Stub(value.name, args, self.walk(value.state, path), pairs_of, elements)
        self.walk(vars(value), path)
        return value  # an object that trusted code made

    def tensor(self, ref: TensorRef | Refused | StorageRef, path: str) -> Any:
        """The stored tensor, under its name; or, with a finding, what it is instead."""
        if isinstance(ref, StorageRef):
            ref = Refused("bare-storage", f"a storage of {ref.count} elements, not a tensor", "save tensors")
        if isinstance(ref, TensorRef) and (len(ref.shape) > 32 or ref.dtype not in _KNOWN):
            ref = Refused(
                "dtype", f"a tensor of {ref.dtype or 'bytes'} in {len(ref.shape)} dimensions", "cast it before saving"
            )
        if isinstance(ref, Refused):
            if ref.code == "partial":
                raise CheckpointError(f"{self.where}: {path!r} is {ref.reason}", hint=ref.hint)
            self.report.add(ref.code, "error", path, f"{ref.reason}: not read", ref.hint)
            return ref
        if ref.dropped:
            self.report.add("dropped-attributes", "info", path, f"its attributes are not read: {', '.join(ref.dropped)}")
        same = (ref.storage.key, ref.storage.start, ref.offset, ref.shape, ref.strides, ref.dtype)
        stored = self.stored(ref, path, self._first.setdefault(same, path))
        if path in self.tensors:
            raise CheckpointError(f"{self.where}: two tensors have the flat name {path!r}", hint="rename a key")
        self.tensors[path] = stored
        return stored

    def stored(self, ref: TensorRef, path: str, first: str) -> Stored:
        """Where the bytes are; strides only if they are not C-contiguous."""
        span, itemsize = self.locate(ref.storage), lookup(ref.dtype).numpy.itemsize
        tied = first if first != path else ""
        if 0 in ref.shape:
            return Stored(path, ref.dtype, ref.shape, (), tied_to=tied)
        touched = (1 + sum((size - 1) * step for size, step in zip(ref.shape, ref.strides, strict=True))) * itemsize
        begin = ref.storage.nbytes(ref.storage.start) + ref.offset * itemsize
        if begin + touched > span.length:
            what = f"needs bytes {begin} to {begin + touched} of its storage {ref.storage.key!r}, which has {span.length}"
            raise CheckpointError(f"{self.where}: tensor {path!r} {list(ref.shape)} {what}", hint="the file is damaged")
        nbytes = prod(ref.shape) * itemsize
        if nbytes > max(1 << 28, 1024 * touched):
            what = f"claims {nbytes} bytes by repeating {touched}"
            raise CheckpointError(f"{self.where}: tensor {path!r} {what}", hint="save .clone() of an expanded tensor's source")
        plain, expected = True, 1
        for size, step in zip(reversed(ref.shape), reversed(ref.strides), strict=True):
            plain &= size == 1 or step == expected
            expected *= size
        place = (span if touched == span.length else Span(span.path, span.offset + begin, touched),)
        return Stored(path, ref.dtype, ref.shape, place, None if plain else ref.strides, tied)


def _join(path: str, key: Any, position: int) -> str:
    if key in ("_parameters", "_buffers", "_modules"):  # nn.Module's own dicts
        return path
    name = str(key) if isinstance(key, (str, int, float, bool, type(None))) else f"({type(key).__name__} {position})"
    if len(path) + len(name) > MAX_NAME:
        raise CheckpointError(f"a name of {len(path) + len(name)} characters: {path[:80]}...", hint=_UNREAL)
    return f"{path}.{name}" if path else name


MAGIC = 0x1950A86A20F9469CFC6C


class TorchLegacy:
    """torch.save(..., _use_new_zipfile_serialization=False), and all files before torch 1.6. It has no checksums.

    >>> READER.matches(Path("x.ckpt"), b"PK")
    False
    """

    name = "torch-legacy"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether a pickle of torch's magic number begins the file."""
        return head[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in head[:32]

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """The tensors as spans of the raw storages behind the pickles; raises ``CheckpointError`` for what is damaged."""
        storages: dict[str, StorageRef] = {}
        spans: dict[str, Span] = {}

        def persistent(identity: Any) -> Any:
            found = persistent_storage(identity)
            if not isinstance(found, StorageRef):
                return found
            root = storages.setdefault(found.key, found)
            view = identity[5] if len(identity) > 5 else None
            if view is None:
                return root
            _key, start, count = view
            if type(start) is not int or type(count) is not int or not 0 <= start <= start + count <= root.count:
                raise ValueError("a storage's view outside of it")
            return StorageRef(root.key, root.dtype, count, root.location, start)

        size, where = path.stat().st_size, str(path)
        with open(path, "rb") as file:
            header = [load(file, size, where, VOCABULARY).value for _ in range(3)]
            if header[:2] != [MAGIC, 1001] or not isinstance(header[2], dict) or header[2].get("little_endian") is not True:
                raise CheckpointError(f"{path}: the header is not torch's, or a big-endian machine's", hint="save it again")
            loaded = load(file, size, where, VOCABULARY, persistent, trust)
            keys = load(file, size, where, VOCABULARY).value
            at = file.tell()
            for key in keys if isinstance(keys, list) else [None]:
                root = storages.get(key) if isinstance(key, str) else None
                file.seek(at)
                count = int.from_bytes(file.read(8), "little", signed=True)
                if root is None or count != root.count or at + 8 + root.nbytes(root.count) > size:
                    what = f"has {count} elements, expected {root.count if root else 'none'}, the file ends at {size}"
                    raise CheckpointError(f"{path}, offset {at}: storage {_word(key)} {what}", hint="the file is damaged")
                spans[root.key] = Span(where, at + 8, root.nbytes(root.count))
                at += 8 + root.nbytes(root.count)
        if missing := [key for key in storages if key not in spans]:
            raise CheckpointError(f"{path}: storage {missing[0][:40]} has no data in the file", hint="the file is damaged")
        collector = Collector(where, lambda ref: spans[ref.key])
        if at != size:
            collector.report.add("trailing-bytes", "warning", path.name, f"{size - at} bytes behind the storages: not read")
        return collector.checkpoint(path, self.name, loaded, trust)


READER = TorchLegacy()
