"""A batch between two processes: arrays in the slot, the nesting around them as a recipe.

The recipe is a pickle in which tensors and numeric arrays are references into the slot, wherever in the batch they are.
Lists of vectors (ragged columns) are one block of values with offsets, as in Arrow. What else has buffers
of its own (pyarrow, pandas, structured arrays) keeps them in the slot too, by pickle's protocol 5.
"""

from __future__ import annotations

import functools
import io
import itertools
import pickle
import struct
from collections.abc import Callable, Set
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from dsbridge.frameworks import torch_tensors
from dsbridge.prefetch.worker import SlotWriter
from dsbridge.schema.columns import path_name
from dsbridge.schema.dtypes import lookup
from dsbridge.schema.structure import Path, map_leaves

_PLAIN_KINDS = "biufcV"
_RAGGED_FROM = 8  # vectors in a list; with fewer a reference each is as fast
_IN_BAND_BYTES = 1 << 12  # smaller buffers stay in the pickle

Finish = Callable[[np.ndarray[Any, Any]], Any]


class Extra(NamedTuple):
    """What a result says beside its batch: counters of this batch, how far a stream is, whether it was skipped."""

    samples: int = 0
    skipped_samples: int = 0
    skipped_batches: int = 0
    replaced_samples: int = 0
    consumed: int = 0
    skipped: int = 0
    shard_asked: int = 0
    pickled: int = 0
    buffers: int = 0


_EXTRA = struct.Struct(f"<{len(Extra._fields)}q")
_SPAN = struct.Struct("<qq")


def encode(batch: Any, fresh: Set[int], writer: SlotWriter, extra: Extra, *, strided: bool = False) -> bytes:
    """The recipe of a batch whose arrays are in the slot; those that are not yet are written to it, once.

    ``strided``: tensors keep their strides, except the ``fresh`` ones, which torch's worker makes contiguous, and
    arrays Fortran's order, which pickle keeps.
    Raises TypeError naming the column for what does not pickle, MemoryError when there is none.
    """
    file = io.BytesIO()
    pickler = _Encoder(file, writer, fresh, strided)
    try:
        pickler.dump(_with_ragged(batch))
    except MemoryError:
        raise
    except Exception as exc:
        raise TypeError(f"the batch cannot be sent by a worker: {_unpicklable(batch)} ({exc})") from exc
    finally:
        pickler.clear_memo()  # it refers to itself: until the garbage collector comes by, the batch would stay
    spans = b"".join(_SPAN.pack(*span) for span in pickler.spans)
    extra = extra._replace(pickled=pickler.pickled, buffers=len(pickler.spans))
    return b"".join((_EXTRA.pack(*extra), spans, file.getbuffer()))


def skipped(extra: Extra) -> bytes:
    """The recipe of a batch that there is not: on_error="skip" left nothing of it."""
    return _EXTRA.pack(*extra._replace(skipped=1)) + pickle.dumps(None)


def decode(recipe: bytes, data: np.ndarray[Any, Any], finish: Finish | None = None) -> tuple[Any, Extra]:
    """(batch, extra): the batch as the worker had it, its arrays and tensors over ``data``, owned by nobody else.

    Where nothing was pickled (``extra.pickled`` is 0) ``finish`` makes of each array and tensor what the user wants.
    """
    extra = Extra._make(_EXTRA.unpack_from(recipe))
    if extra.pickled:
        finish = None
    at = _EXTRA.size
    buffers = []
    for _ in range(extra.buffers):
        offset, nbytes = _SPAN.unpack_from(recipe, at)
        buffers.append(data[offset : offset + nbytes].data)
        at += _SPAN.size
    return _Decoder(io.BytesIO(memoryview(recipe)[at:]), data, buffers, finish).load(), extra


class _Ragged:
    """A list or tuple of vectors of one dtype."""

    __slots__ = ("vectors",)

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors


class _Encoder(pickle.Pickler):
    def __init__(self, file: io.BytesIO, writer: SlotWriter, fresh: Set[int], strided: bool) -> None:
        super().__init__(file, protocol=5, buffer_callback=self._buffer)
        self._writer, self._fresh, self._strided = writer, fresh, strided
        self.spans: list[tuple[int, int]] = []
        self.pickled = 0

    def reducer_override(self, value: Any) -> Any:
        """Called by pickle for whatever is no plain Python container, number or text."""
        if type(value) is np.ndarray:
            if is_numeric(value.dtype):
                return self._array(value)
            self.pickled += 1
        elif torch_tensors.is_plain(value):
            return self._tensor(value)
        elif type(value) is _Ragged:
            return self._ragged(value.vectors)
        elif not isinstance(value, (type, FunctionType)):  # those go by name
            self.pickled += 1
        return NotImplemented

    def _array(self, array: np.ndarray[Any, Any]) -> Any:
        native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))  # as a pickled one arrives
        keep = self._strided and native.flags.f_contiguous and not native.flags.c_contiguous
        return place, (*(self._laid_out if keep else self._written)(native), False)

    def _tensor(self, tensor: Any) -> Any:
        array = torch_tensors.to_numpy(tensor)
        keep = self._strided and id(tensor) not in self._fresh and not array.flags.c_contiguous
        return place, (*(self._laid_out if keep else self._written)(array), True)

    def _written(self, array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        offset = self._writer.offset_of(array) if array.flags.c_contiguous else -1
        if offset < 0:
            target = self._writer.reserve(array.nbytes)
            offset = self._writer.used - array.nbytes
            np.copyto(target.view(array.dtype).reshape(array.shape), array)
        return offset, _code(array.dtype), array.shape, None

    def _laid_out(self, array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        """Written with its strides, gaps and overlaps included."""
        target = self._writer.reserve(_extent(array.shape, array.strides, array.itemsize))
        offset = self._writer.used - target.nbytes
        np.copyto(np.lib.stride_tricks.as_strided(target.view(array.dtype), array.shape, array.strides), array)
        return offset, _code(array.dtype), array.shape, array.strides

    def _ragged(self, vectors: Any) -> Any:
        tensors = type(vectors[0]) is not np.ndarray
        arrays = [torch_tensors.to_numpy(vector) for vector in vectors] if tensors else vectors
        dtype = arrays[0].dtype
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([array.size for array in arrays], out=offsets[1:])
        target = self._writer.reserve(int(offsets[-1]) * dtype.itemsize)
        at = self._writer.used - target.nbytes
        np.concatenate(arrays, out=target.view(dtype))
        return place_ragged, (at, _code(dtype), self._written(offsets)[0], len(arrays), tensors, type(vectors) is tuple)

    def _buffer(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _IN_BAND_BYTES:
            return True
        self._writer.reserve(raw.nbytes)[:] = np.frombuffer(raw, np.uint8)
        self.spans.append((self._writer.used - raw.nbytes, raw.nbytes))
        return False


class _Decoder(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, data: np.ndarray[Any, Any], buffers: list[Any], finish: Finish | None) -> None:
        super().__init__(file, buffers=buffers)
        self._bound = {"data": data, "finish": finish}

    def find_class(self, module: str, name: str) -> Any:
        """Called by pickle for each name; ours are bound to the data."""
        if module == __name__:
            return functools.partial(globals()[name], **self._bound)
        return super().find_class(module, name)


def place(
    offset: int, code: str, shape: tuple[int, ...], strides: Any, tensor: bool, *, data: Any, finish: Finish | None
) -> Any:
    """An array or tensor over the slot's bytes: what a recipe says of it."""
    dtype = _dtype(code)
    if strides is not None:
        flat = data[offset : offset + _extent(shape, strides, dtype.itemsize)].view(dtype)
        array = np.lib.stride_tricks.as_strided(flat, shape, strides)
    else:
        size = dtype.itemsize
        for length in shape:
            size *= length
        array = data[offset : offset + size].view(dtype).reshape(shape)
    if finish is not None:
        return finish(array)
    return torch_tensors.from_numpy(array) if tensor else array


def place_ragged(
    at: int, code: str, offsets_at: int, count: int, tensors: bool, as_tuple: bool, *, data: Any, finish: Finish | None
) -> Any:
    """A list (or tuple) of vectors over the slot's bytes."""
    dtype = _dtype(code)
    offsets = data[offsets_at : offsets_at + 8 * (count + 1)].view(np.int64)
    values = data[at : at + int(offsets[-1]) * dtype.itemsize].view(dtype)
    if tensors and finish is None:
        vectors = list(torch_tensors.from_numpy(values).split(np.diff(offsets).tolist()))
    else:
        bounds = offsets.tolist()
        vectors = [values[start:end] for start, end in itertools.pairwise(bounds)]
        if finish is not None:
            vectors = list(map(finish, vectors))
    return tuple(vectors) if as_tuple else vectors


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether an array is a block of numbers: no objects, text, dates or records.

    >>> is_numeric(np.dtype("float32")), is_numeric(np.dtype("datetime64[s]"))
    (True, False)
    """
    return dtype.kind in _PLAIN_KINDS and dtype.names is None and _code(dtype) != ""


def _with_ragged(node: Any) -> Any:
    kind = type(node)
    if kind in (list, tuple):
        if len(node) >= _RAGGED_FROM and _is_ragged(node):
            return _Ragged(node)
        if not node or isinstance(node[0], (str, bytes, int, float)):
            return node
        inner = [_with_ragged(value) for value in node]
        return node if all(map(_same, inner, node)) else kind(inner)
    if kind is dict:
        values = {key: _with_ragged(value) for key, value in node.items()}
        return node if all(map(_same, values.values(), node.values())) else values
    return node


def _same(a: Any, b: Any) -> bool:
    return a is b


def _is_ragged(values: Any) -> bool:
    first = values[0]
    if type(first) is np.ndarray:
        alike = is_numeric(first.dtype) and first.dtype.isnative
    else:
        alike = torch_tensors.is_plain(first) and not first.is_conj()
    if not alike or set(map(type, values)) != {type(first)} or len(set(map(id, values))) != len(values):
        return False
    plain = all(map(torch_tensors.is_plain, values)) if type(first) is not np.ndarray else True
    return plain and {value.ndim for value in values} == {1} and {value.dtype for value in values} == {first.dtype}


@functools.cache
def _code(dtype: np.dtype[Any]) -> str:
    """A name from which ``_dtype`` finds this dtype again; empty if there is none."""
    try:
        return dtype.name if _dtype(dtype.name) == dtype.newbyteorder("=") else ""
    except TypeError:
        return ""


@functools.cache
def _dtype(code: str) -> np.dtype[Any]:
    try:
        return lookup(code).numpy
    except ValueError:
        return np.dtype(code)


def _extent(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
    """Bytes from the first value to the end of the last; a tensor's strides are never negative."""
    return itemsize + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))


def _unpicklable(batch: Any) -> str:
    found = ["some object in it does not pickle"]

    def leaf(value: Any, path: Path) -> Any:
        try:
            pickle.dumps(value)
        except Exception:
            found[0] = f"column {path_name(path, batch)!r} holds a {type(value).__qualname__}"
        return value

    map_leaves(leaf, batch)
    return found[0]
