"""Samples -> one batch, by the rules of ``torch.utils.data.default_collate``, into recycled memory.

Same nesting, values and dtypes as torch, whose registry of per-type functions is honoured. What differs is
written in docs/guide/loaders.md: PIL images and dataclass instances collate, masked arrays and samples
with other keys are errors, and a batch that does not stack says which samples differ in which column.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks import torch_data
from dsbridge.frameworks.detect import is_instance
from dsbridge.schema.columns import path_name
from dsbridge.schema.structure import Path, describe_keys, rebuild_dataclass, rebuild_mapping, rebuild_sequence
from dsbridge.sources.leaves import describe

Allocate = Callable[[int], np.ndarray[Any, Any]]
"""Bytes -> a writable uint8 array of that size, whose memory the batch keeps alive."""


class Collator:
    """Collates samples as torch does; stacks of ``min_bytes`` and more go straight into memory from ``allocate``.

    Calling it gives the batch with torch tensors as leaves. ``fresh`` then holds the ids of the tensors
    that were made here, share memory with no sample, and may be handed out without a copy.
    One instance serves one thread.

    >>> Collator()([(1.5, "a"), (2.5, "b")])
    [tensor([1.5000, 2.5000], dtype=torch.float64), ('a', 'b')]
    """

    def __init__(self, allocate: Allocate | None = None, min_bytes: int = 0) -> None:
        self._allocate, self._min_bytes = allocate, min_bytes
        self.fresh: set[int] = set()
        self._root: Any = None
        self._handlers: dict[type, Callable[[Any, Path], Any]] = {}

    def into(self, allocate: Allocate) -> None:
        """Stack into memory from ``allocate`` from now on, whatever the size."""
        self._allocate, self._min_bytes = allocate, 0

    def __call__(self, samples: Sequence[Any]) -> Any:
        """The batch. Raises ``SampleError`` naming column and positions in the batch, TypeError as torch does."""
        self.fresh = set()
        self._root = samples[0]
        return self._collate(samples, ())

    def _collate(self, values: Sequence[Any], path: Path) -> Any:
        kind = type(values[0])
        handler = self._handlers.get(kind)
        if handler is None:
            handler = self._handlers[kind] = self._handler(values[0])
        return handler(values, path)

    def _handler(self, first: Any) -> Callable[[Any, Path], Any]:
        fn = torch_data.collate_function(type(first))
        if fn is not None:
            ours = getattr(self, _REPLACED.get(getattr(fn, "__name__", ""), ""), None)
            if ours is not None and fn.__module__ == "torch.utils.data._utils.collate":
                return ours  # type: ignore[no-any-return]
            return lambda values, path: fn(values, collate_fn_map=torch_data.collate_registry())
        if isinstance(first, Mapping):
            return self._mappings
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            return self._namedtuples
        if isinstance(first, Sequence):
            return self._sequences
        if dataclasses.is_dataclass(first):
            return self._dataclasses
        if is_instance(first, "PIL.Image.Image"):
            return self._images
        return self._unknown

    def _tensors(self, values: Sequence[Any], path: Path) -> Any:
        if self._allocate is not None:
            stacked = torch_data.stack_into(values, self._allocate, self._min_bytes)
            if stacked is not None:
                return self._made(stacked)
        try:
            return self._made(torch_data.stack(values))
        except RuntimeError as exc:
            self._explain_ragged(values, path, exc)
            raise

    def _arrays(self, values: Sequence[Any], path: Path) -> Any:
        for position, value in enumerate(values):
            if isinstance(value, np.ma.MaskedArray):
                raise SampleError(
                    f"sample {position} of the batch is a masked array, whose mask would be lost",
                    column=self._name(path),
                    got=describe(value),
                    hint="return array.filled(value) from the dataset",
                )
        if values[0].dtype.kind in "SUO":
            raise TypeError(f"{_FOUND} {values[0].dtype}{self._in(path)}")
        return self._collate([torch_data.as_tensor(value) for value in values], path)

    def _images(self, values: Sequence[Any], path: Path) -> Any:
        return self._collate([torch_data.as_tensor(np.array(value)) for value in values], path)

    def _numbers(self, values: Sequence[Any], path: Path) -> Any:
        dtype = _ARRAY_DTYPES.get(type(values[0]))
        if dtype is not None and len(set(map(type, values))) == 1:
            with contextlib.suppress(OverflowError):  # torch has its own words for it, below
                return self._made(torch_data.as_tensor(np.array(values, dtype)))  # a third of torch.tensor's time
        return self._made(torch_data.collate_function(type(values[0]))(values, collate_fn_map=None))

    def _texts(self, values: Sequence[Any], path: Path) -> Any:
        return values

    def _mappings(self, values: Sequence[Any], path: Path) -> Any:
        first = values[0]
        keys = first.keys()
        for position, value in enumerate(values):
            if isinstance(value, Mapping) and value.keys() != keys:  # no mapping at all: v[key] raises as in torch
                raise SampleError(
                    f"sample {position} of the batch has other keys than the first",
                    column=self._name(path),
                    expected=f"keys {list(keys)}",
                    got=describe_keys(value, list(keys)),
                    hint="return the same keys for every sample, or pass collate_fn=",
                )
        return rebuild_mapping(first, {key: self._collate([v[key] for v in values], (*path, key)) for key in keys})

    def _namedtuples(self, values: Sequence[Any], path: Path) -> Any:
        columns = zip(*values, strict=False)  # strict as torch is: a shorter one cuts the rest
        names = values[0]._fields
        return type(values[0])(*[self._collate(c, (*path, n)) for c, n in zip(columns, names, strict=False)])

    def _sequences(self, values: Sequence[Any], path: Path) -> Any:
        first = values[0]
        if len(set(map(len, values))) != 1:
            position = next(i for i, value in enumerate(values) if len(value) != len(first))
            raise SampleError(
                f"sample {position} of the batch has another length than the first",
                column=self._name(path),
                expected=f"{len(first)} values",
                got=f"{len(values[position])} values",
                hint="pad in the dataset, or pass collate_fn=",
            )
        parts = [self._collate(c, (*path, i)) for i, c in enumerate(zip(*values, strict=True))]
        return parts if isinstance(first, tuple) else rebuild_sequence(first, parts)

    def _dataclasses(self, values: Sequence[Any], path: Path) -> Any:
        names = [field.name for field in dataclasses.fields(values[0])]
        columns = {name: self._collate([getattr(v, name) for v in values], (*path, name)) for name in names}
        return rebuild_dataclass(values[0], columns)

    def _unknown(self, values: Sequence[Any], path: Path) -> Any:
        raise TypeError(f"{_FOUND} {type(values[0])}{self._in(path)}")

    def _made(self, tensor: Any) -> Any:
        self.fresh.add(id(tensor))
        return tensor

    def _explain_ragged(self, values: Sequence[Any], path: Path, exc: Exception) -> None:
        for position, value in enumerate(values):
            if getattr(value, "shape", None) != values[0].shape:
                raise SampleError(
                    f"samples 0 and {position} of the batch differ in shape and do not stack",
                    column=self._name(path),
                    expected=describe(values[0]),
                    got=describe(value),
                    hint="pad them in a collate_fn, or use batch_size=None",
                ) from exc

    def _in(self, path: Path) -> str:
        return f" in column {self._name(path)!r}" if path else ""

    def _name(self, path: Path) -> str | None:
        return path_name(path, self._root) if path else None


_ARRAY_DTYPES = {int: np.int64, float: np.float64, bool: np.bool_}
_FOUND = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found"
_REPLACED = {
    "collate_tensor_fn": "_tensors",
    "collate_numpy_array_fn": "_arrays",
    "collate_numpy_scalar_fn": "_numbers",
    "collate_float_fn": "_numbers",
    "collate_int_fn": "_numbers",
    "collate_str_fn": "_texts",
}
