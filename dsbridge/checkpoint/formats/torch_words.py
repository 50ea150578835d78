"""The words of torch's pickles: what they say about tensors, as plain descriptions; nothing of them is run.

Source: torch/_utils.py and torch/serialization.py of torch 2.13, read and measured.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from dsbridge.checkpoint.formats.pickles import Draft, Name, Stub, Vocabulary
from dsbridge.errors import CheckpointError
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


def word(value: Any) -> str:
    """At most 80 characters of a text, or the name of a type, for messages.

    >>> word("cpu"), word([1])
    ('cpu', 'list')
    """
    return value[:80] if isinstance(value, str) else type(value).__name__  # str() of a knot of lists would take for ever


def _v2(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    """(requires_grad, backward_hooks, metadata) follow; metadata says whether it is a conjugate or negative view."""
    return _tensor(storage, offset, shape, strides, storage.dtype, rest[2] if len(rest) > 2 else None)


def _v3(storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, metadata: Any = None) -> Any:
    return _tensor(storage, offset, shape, strides, word(dtype).removeprefix("torch."), metadata)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: str, metadata: Any) -> Any:
    if flags := [word(name) for name, value in (metadata or {}).items() if value]:
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
    dropped = tuple(map(word, names)) if isinstance(names, dict) else ()
    return replace(data, dropped=dropped)


def _of_class(function: Any, cls: Any, args: Any, state: Any) -> Any:
    name = cls.path if isinstance(cls, Name) else type(cls).__name__
    if name.endswith("DTensor"):
        return Refused("partial", "a DTensor, of which this file holds one rank's part", FULL)
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
    return StorageRef(key, dtype, count, word(location))


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
FULL = "gather it first: get_model_state_dict(..., options=StateDictOptions(full_state_dict=True)) or .full_tensor()"
"""The hint for one rank's part."""
UNREAL = "no real checkpoint is like that"
"""The hint for bombs."""
_SPARSE = Refused("sparse-tensor", "a sparse tensor", "save .to_dense()")
KNOWN = {row.torch for row in TABLE if row.torch}
"""torch's names of the dtypes that are read."""
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
        "tensor-subclass", f"a {word(getattr(cls, 'path', cls))}"
    ),
    "torch._tensor._rebuild_from_type": _of_class,
    "torch._tensor._rebuild_from_type_v2": _of_class,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": lambda kind, index=None: word(kind) + ("" if type(index) is not int else f":{index}"),
    "torch.serialization._get_layout": word,
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
    {f"torch.{name}": f"torch.{name}" for name in (*KNOWN, *_QUANTISED, *_WORDS.split())},
    frozenset({*_HARMLESS, *_STORAGES, "numpy.ndarray", "copyreg._reconstructor", "copyreg.__newobj__"}),
)
"""The names of torch's, numpy's and Python's that are known: what they build are plain values and descriptions."""
