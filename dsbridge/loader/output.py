"""A collated batch -> the user's batch: same nesting, leaves of the framework asked for."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
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

    def convert(self, batch: Any, fresh: Set[int] = frozenset()) -> Any:
        """The user's batch. ``fresh`` holds ids of tensors that share memory with nobody.

        Raises ``SampleError`` naming the column for leaves that the framework cannot hold.
        """

        def leaf(value: Any, path: Path) -> Any:
            if torch_tensors.is_tensor(value):
                if self.kind == "torch":
                    self.bytes += value.nbytes if not torch_tensors.why_not_numpy(value) else 0
                    return value
                return self._deliver(torch_tensors.to_numpy(value), id(value) in fresh)
            if isinstance(value, np.ndarray) and self.kind != "torch":
                refuse_masked(value)
                return value if value.dtype.kind in "OUSmM" or value.dtype.names else self._deliver(value, False)
            if self.kind == "numpy" and mindspore_tensors.is_tensor(value):
                return mindspore_tensors.to_numpy(value)
            return value

        def named(value: Any, path: Path) -> Any:
            try:
                return leaf(value, path)
            except SampleError as exc:
                exc.column = path_name(path, batch)
                raise exc.at(exc.index) from exc.__cause__

        try:
            return map_leaves(named, batch)
        except (TypeError, AttributeError) as exc:  # PackedSequence and other tuples with opinions
            raise SampleError(
                "the batch cannot be rebuilt with other leaves", got=describe(batch), hint="use output='torch'"
            ) from exc

    def _deliver(self, array: np.ndarray[Any, Any], is_fresh: bool) -> Any:
        self.bytes += array.nbytes
        if not (is_fresh and array.flags.c_contiguous):
            dtype = array.dtype.newbyteorder("=")
            target = self._pool.empty(array.shape, dtype)
            np.copyto(target, array)
            array = target
        return self._finish(array)
