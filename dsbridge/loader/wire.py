"""A batch between two processes: arrays in the slot, the nesting around them as a recipe."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Set
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks import torch_tensors
from dsbridge.prefetch.worker import SlotWriter
from dsbridge.schema.columns import path_name
from dsbridge.schema.structure import Path, map_leaves
from dsbridge.sources.locate import locate


class Ref:
    """Stands in a recipe for an array in the slot; ``tensor`` says that it was a torch tensor.

    ``strides`` (in bytes) only where the array is not contiguous.
    """

    __slots__ = ("dtype", "offset", "shape", "strides", "tensor")

    def __init__(
        self,
        offset: int,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        tensor: bool,
        strides: tuple[int, ...] | None = None,
    ) -> None:
        self.offset, self.dtype, self.shape, self.tensor, self.strides = offset, dtype, shape, tensor, strides

    def array(self, data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array, as a view of the slot's bytes."""
        if self.strides is not None:
            size = _extent(self.shape, self.strides, self.dtype.itemsize)
            flat = data[self.offset : self.offset + size].view(self.dtype)
            return np.lib.stride_tricks.as_strided(flat, self.shape, self.strides)
        size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        return data[self.offset : self.offset + size].view(self.dtype).reshape(self.shape)


def encode(batch: Any, fresh: Set[int], writer: SlotWriter, extra: Any, *, strided: bool = False) -> bytes:
    """The recipe of a batch whose arrays are in the slot; those that are not yet are written to it, once.

    ``strided``: tensors keep their strides, except the ``fresh`` ones, which torch's worker makes contiguous, and
    arrays Fortran's order, which pickle keeps.
    Text, numbers and other objects are pickled. Raises TypeError naming the column for what does not pickle.
    """

    def leaf(value: Any, path: Path) -> Any:
        if torch_tensors.is_tensor(value):
            plain = value.device.type == "cpu" and not value.requires_grad and not torch_tensors.why_not_numpy(value)
            if not plain:
                return value
            keep = strided and id(value) not in fresh and not value.is_contiguous()
            return (_laid_out if keep else _written)(torch_tensors.to_numpy(value), True, writer)
        if type(value) is np.ndarray and value.dtype.kind not in "OUSmM" and not value.dtype.names:
            native = value.astype(value.dtype.newbyteorder("="), copy=False)  # as a pickled array arrives in torch
            keep = strided and native.flags.f_contiguous and not native.flags.c_contiguous
            return (_laid_out if keep else _written)(native, False, writer)
        return value

    template = map_leaves(leaf, batch)
    try:
        return pickle.dumps((template, extra), protocol=5)
    except Exception as exc:
        raise TypeError(f"the batch cannot be sent by a worker: {_unpicklable(batch)} ({exc})") from exc


def _written(array: np.ndarray[Any, Any], tensor: bool, writer: SlotWriter) -> Ref:
    offset = writer.offset_of(array) if array.flags.c_contiguous else -1
    if offset < 0:
        target = writer.reserve(array.nbytes)
        offset = writer.used - array.nbytes
        np.copyto(target.view(array.dtype).reshape(array.shape), array)
    return Ref(offset, array.dtype, array.shape, tensor)


def _laid_out(array: np.ndarray[Any, Any], tensor: bool, writer: SlotWriter) -> Ref:
    """Written with its strides, gaps and overlaps included."""
    target = writer.reserve(_extent(array.shape, array.strides, array.itemsize))
    offset = writer.used - target.nbytes
    np.copyto(np.lib.stride_tricks.as_strided(target.view(array.dtype), array.shape, array.strides), array)
    return Ref(offset, array.dtype, array.shape, tensor, array.strides)


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


def decode(recipe: bytes, data: np.ndarray[Any, Any], finish: Callable[[Any], Any]) -> tuple[Any, Any]:
    """(batch, extra): the nesting with ``finish(leaf)`` for each leaf, arrays and tensors over ``data``."""
    template, extra = pickle.loads(recipe)

    def leaf(value: Any, path: Path) -> Any:
        try:
            return finish(Filled(value.array(data), value.tensor) if isinstance(value, Ref) else value)
        except SampleError as exc:
            raise exc.at(exc.index, path_name(path, template)) from exc.__cause__

    return map_leaves(leaf, template), extra


class Filled:
    """An array that came in a slot: ours, contiguous, shared with nobody."""

    __slots__ = ("array", "tensor")

    def __init__(self, array: np.ndarray[Any, Any], tensor: bool) -> None:
        self.array, self.tensor = array, tensor


class WorkerTraceback(Exception):
    """The cause of an exception that was raised in a worker: its traceback there, as text.

    >>> print(WorkerTraceback("Traceback ..."))
    Traceback ...
    """


def encode_error(exc: BaseException, worker: int) -> bytes:
    """An exception as bytes: its class, arguments and attributes; its constructor is never called again."""
    text = f"in worker {worker}:\n" + "".join(traceback.format_exception(exc))
    cls = type(exc)
    place = getattr(exc, "dsb_index", None), getattr(exc, "dsb_position", None)
    state = {key: value for key, value in exc.__dict__.items() if key not in ("dsb_index", "dsb_position")}
    if "_dsb_original" in cls.__dict__:
        cls = cls._dsb_original  # type: ignore[attr-defined]
    data = _sendable((cls, exc.args, state, place, text)) or _sendable((cls, exc.args, {}, place, text))
    if data:
        return data
    plain = SampleError(f"{type(exc).__qualname__} in a worker: {exc}")
    return pickle.dumps((SampleError, plain.args, plain.__dict__, place, text))


def _sendable(value: Any) -> bytes:
    try:
        data = pickle.dumps(value)
        pickle.loads(data)
    except Exception:  # whatever a user's class does
        return b""
    return data


def decode_error(data: bytes) -> BaseException:
    """The exception again, with its place in attributes and message and the worker's traceback as its cause."""
    cls, args, state, place, text = pickle.loads(data)
    exc: BaseException = cls.__new__(cls, *args)
    exc.args = args
    exc.__dict__.update(state)
    nowhere = place[0] is None or "[dataset index" in str(exc)  # worker_init_fn has no sample
    located = exc if nowhere else locate(exc, *place)
    located.dsb_index, located.dsb_position = place  # type: ignore[attr-defined]
    located.__cause__ = WorkerTraceback(text)
    return located
