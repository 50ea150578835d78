"""Samples -> rows: the one place where a sample is checked against the schema and copied."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.report import Report
from dsbridge.schema.columns import Column, Schema, checked_names, default_names, path_name
from dsbridge.schema.dtypes import plain_name
from dsbridge.schema.structure import LEAF, Structure, StructureMismatch
from dsbridge.sources.casts import plan_casts
from dsbridge.sources.leaves import as_array, owned

Row = tuple[np.ndarray[Any, Any], ...]


class RowMaker:
    """Turns samples into rows of owned arrays, and says where a sample differs from the first one.

    Built from one probed sample. ``schema`` is the delivered schema; it is replaced (never changed)
    when a dimension is seen to vary. Safe to call from several threads.

    >>> maker = RowMaker((1.5, 2), index=0)
    >>> maker((2.5, 3), 1)
    (array(2.5), array(3))
    """

    def __init__(
        self,
        sample: Any,
        index: Any,
        column_names: Any = None,
        dtypes: Any = "keep",
        report: Report | None = None,
        *,
        batched: bool = False,
    ) -> None:
        self.report = Report("source") if report is None else report
        self.structure = Structure.of(sample)
        leaves = self.structure.flatten(sample)
        if not leaves:
            raise SampleError("has no values, so there are no columns", index=index, got=repr(sample))
        names = default_names(self.structure) if column_names is None else checked_names(column_names, len(leaves))
        arrays = [self._array(leaf, name, index) for leaf, name in zip(leaves, names, strict=True)]
        paths = self.structure.paths
        self._seen = Schema(
            tuple(Column(n, _open_text(a.dtype), a.shape, p) for n, a, p in zip(names, arrays, paths, strict=True))
        )
        try:
            self.schema, self._casts = plan_casts(self._seen, dtypes, self.report, batched=batched)
        except SampleError as exc:
            raise exc.at(index) from None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __call__(self, sample: Any, index: Any, *, copy: bool = True) -> Row:
        """The row for a sample. ``copy=False`` trusts the caller that the arrays are owned already.

        Raises ``SampleError`` naming index and column.
        """
        try:
            leaves = self.structure.flatten(sample)
        except StructureMismatch as exc:
            raise SampleError(
                "is nested differently from the first sample",
                index=index,
                column=path_name(exc.path, sample) if exc.path else None,
                expected=exc.expected,
                got=exc.got,
                hint="return the same keys and lengths for every sample",
            ) from None
        row = []
        for position, leaf in enumerate(leaves):
            column = self._seen.columns[position]
            array = self._array(leaf, column.name, index)
            if not column.accepts(array):
                self._reconcile(position, column, array, index)
            cast = self._casts.get(position)
            if cast is None:
                row.append(owned(array) if copy or not _is_ready(array) else array)
                continue
            try:
                row.append(np.ascontiguousarray(cast(array)).reshape(array.shape))
            except SampleError as exc:
                raise exc.at(index) from None
        return tuple(row)

    @staticmethod
    def _array(leaf: Any, name: str, index: Any) -> np.ndarray[Any, Any]:
        try:
            return as_array(leaf)
        except SampleError as exc:
            raise exc.at(index, name) from exc.__cause__

    def _reconcile(self, position: int, column: Column, array: np.ndarray[Any, Any], index: Any) -> None:
        """Accept a dimension that varies by widening the schema; refuse another dtype or rank."""
        same_text = array.dtype.kind == column.dtype.kind and array.dtype.kind in "US"
        if array.dtype != column.dtype and not same_text:
            raise SampleError(
                "dtype differs from the first sample's",
                index=index,
                column=column.name,
                expected=plain_name(column.dtype),
                got=plain_name(array.dtype),
                hint="convert it in the dataset",
            )
        if array.ndim != len(column.shape):
            raise SampleError(
                "rank differs from the first sample's",
                index=index,
                column=column.name,
                expected=f"{len(column.shape)} dimensions",
                got=f"shape {array.shape}",
                hint="a varying size is fine, a varying number of dimensions is not",
            )
        with self._lock:
            self._seen = _replace_column(self._seen, position, self._seen[position].widened(array.shape))
            self.schema = _replace_column(self.schema, position, self.schema[position].widened(array.shape))


def _replace_column(schema: Schema, position: int, column: Column) -> Schema:
    columns = list(schema.columns)
    columns[position] = column
    return replace(schema, columns=tuple(columns))


def _open_text(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(dtype.kind) if dtype.kind in "US" else dtype


def _is_ready(array: np.ndarray[Any, Any]) -> bool:
    return array.flags.c_contiguous and array.dtype.isnative and array.flags.writeable


class Described:
    """What every source says about its rows; before a sample was seen, only the names given."""

    dataset: Any
    report: Report
    _maker: RowMaker | None = None
    _names: tuple[str, ...] = ("data",)

    def _describe_empty(self, column_names: Any) -> None:
        if column_names is not None:
            names = [column_names] if isinstance(column_names, str) else list(column_names)
            self._names = tuple(checked_names(names, len(names)))
        self.report.add("empty", "warning", "dataset", "the dataset is empty: zero rows, no schema")

    @property
    def schema(self) -> Schema:
        """The columns; a dimension seen to vary is None. Empty if the dataset is."""
        return Schema() if self._maker is None else self._maker.schema

    @property
    def column_names(self) -> list[str]:
        """The column names, as GeneratorDataset wants them."""
        return list(self._names if self._maker is None else self._maker.schema.names)

    @property
    def structure(self) -> Structure:
        """How the user's sample is nested; ``structure.unflatten(row)`` gives it back."""
        return LEAF if self._maker is None else self._maker.structure

    def __repr__(self) -> str:
        return f"<dsbridge source: {type(self.dataset).__name__}, columns {self.column_names}>"
