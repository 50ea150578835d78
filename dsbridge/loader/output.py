"""A collated batch -> the user's batch: same nesting, leaves of the framework asked for."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.loader.wire import Extra, decode, is_numeric
from dsbridge.prefetch.buffers import BufferPool
from dsbridge.schema.columns import path_name
from dsbridge.schema.structure import Path, map_leaves
from dsbridge.sources.leaves import describe, refuse_masked

OUTPUTS = ("mindspore", "numpy", "torch")


class Output:
    """Converts batches; counts their bytes.

    Tensor and numeric-array leaves are converted; numbers, text, None and other objects pass through.
    What was not made by us may be shared with the dataset, so it is copied once, into recycled memory:
    a batch that is kept stays valid for ever. With "torch" the batch is returned as it is.

    >>> Output("numpy", BufferPool()).convert([np.arange(2), "text", 3])
    [array([0, 1]), 'text', 3]
    """

    def __init__(self, kind: str, pool: BufferPool) -> None:
        if kind not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {kind!r}")
        self.kind = kind
        self.bytes = 0
        self._pool = pool
        self._finish: Callable[[np.ndarray[Any, Any]], Any] = (
            mindspore_tensors.from_numpy if kind == "mindspore" else lambda array: array
        )

    def convert(self, batch: Any, fresh: Set[int] = frozenset(), *, owned: bool = False) -> Any:
        """The user's batch. ``fresh`` holds ids of tensors that share memory with nobody; ``owned``: none does.

        Raises ``SampleError`` naming the column for leaves that the framework cannot hold.
        """

        def leaf(value: Any, path: Path) -> Any:
            try:
                return self._made_here(value) if owned or id(value) in fresh else self._foreign(value)
            except SampleError as exc:
                raise exc.at(exc.index, path_name(path, batch)) from exc.__cause__

        try:
            return map_leaves(leaf, batch)
        except (TypeError, AttributeError) as exc:  # PackedSequence and other tuples with opinions
            raise SampleError(
                "the batch cannot be rebuilt with other leaves", got=describe(batch), hint="use output='torch'"
            ) from exc

    def received(self, recipe: bytes, data: np.ndarray[Any, Any]) -> tuple[Any, Extra]:
        """(the user's batch, extra) of what came from a worker in a slot: all of it is ours."""
        if self.kind == "torch":
            self.bytes += data.nbytes
            return decode(recipe, data)
        before = self.bytes
        try:
            batch, extra = decode(recipe, data, self._finish_counted)
            if not extra.pickled:
                return batch, extra
        except SampleError:  # has no column yet
            batch, extra = decode(recipe, data)
        self.bytes = before
        return batch if extra.skipped else self.convert(batch, owned=True), extra

    def _finish_counted(self, array: np.ndarray[Any, Any]) -> Any:
        self.bytes += array.nbytes
        return self._finish(array)

    def _made_here(self, value: Any) -> Any:
        is_array = type(value) is np.ndarray
        if not is_array and not torch_tensors.is_tensor(value):
            return self._foreign(value)
        if self.kind == "torch":
            self.bytes += value.nbytes
            return value
        array = value if is_array else torch_tensors.to_numpy(value)
        # torch.stack keeps the memory format of channels_last tensors, and text is no array to MindSpore
        if not array.flags.c_contiguous or not array.dtype.isnative or not is_numeric(array.dtype):
            return self._foreign(value)
        self.bytes += array.nbytes
        return self._finish(array)

    def _foreign(self, value: Any) -> Any:
        if torch_tensors.is_tensor(value):
            if self.kind != "torch":
                return self._copied(torch_tensors.to_numpy(value))
            self.bytes += value.nbytes if not torch_tensors.why_not_numpy(value) else 0
        elif self.kind != "torch" and isinstance(value, np.ndarray):
            refuse_masked(value)
            if value.dtype.kind not in "OUSmM" and not value.dtype.names:
                return self._copied(value)
        elif self.kind == "numpy" and mindspore_tensors.is_tensor(value):
            return mindspore_tensors.to_numpy(value)
        return value

    def _copied(self, array: np.ndarray[Any, Any]) -> Any:
        self.bytes += array.nbytes
        target = self._pool.empty(array.shape, array.dtype.newbyteorder("="))
        np.copyto(target, array)
        return self._finish(target)
