"""Arrow tables, Parquet and Arrow IPC files as map-style datasets of dict samples."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.errors import MissingDependencyError, SampleError, SchemaError

Reader = Callable[[int], Any]


class ArrowTable:
    """A pyarrow Table as a map-style dataset: ``table[i]`` is a dict of numpy values.

    Numbers and lists of numbers are views of Arrow's buffers (a memory-mapped file is not read as a
    whole), structs are nested dicts, text and everything else goes through ``as_py``. A null raises
    ``SampleError`` naming the column.

    >>> import pyarrow as pa
    >>> ArrowTable(pa.table({"x": [1.5, 2.5], "t": [[1, 2], [3]]}))[1]["t"]
    array([3])
    """

    def __init__(self, table: Any) -> None:
        self.table = table
        self._batches = [batch for batch in table.to_batches() if batch.num_rows]
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))
        self._readers: dict[int, dict[str, Reader]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"table": self.table}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["table"])  # type: ignore[misc]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a table of {len(self)} rows")
        number = bisect_right(self._ends, index)
        if number not in self._readers:
            batch = self._batches[number]
            names = batch.schema.names
            self._readers[number] = {name: _reader(batch.column(i), name) for i, name in enumerate(names)}
        row = index - (self._ends[number - 1] if number else 0)
        try:
            return {name: read(row) for name, read in self._readers[number].items()}
        except SampleError as exc:
            raise exc.at(index) from None


def open_path(path: Any) -> ArrowTable:
    """Open a Parquet or Arrow IPC file (or a directory of Parquet files); IPC is memory-mapped.

    Recognised by content, not by name. Raises ``SchemaError`` for anything else, FileNotFoundError if it is missing.
    """
    pa = require_pyarrow()
    path = Path(os.fspath(path))
    if path.is_dir():
        import pyarrow.dataset

        return ArrowTable(pyarrow.dataset.dataset(path, format="parquet").to_table())
    with path.open("rb") as file:
        magic = file.read(8)
    if magic.startswith(b"PAR1"):
        import pyarrow.parquet

        return ArrowTable(pyarrow.parquet.read_table(path, memory_map=True))
    memory = pa.memory_map(str(path))
    try:
        reader = pa.ipc.open_file(memory) if magic.startswith(b"ARROW1") else pa.ipc.open_stream(memory)
        return ArrowTable(reader.read_all())
    except pa.ArrowInvalid as exc:
        raise SchemaError(f"{path} is neither Parquet nor Arrow IPC", hint=f"pyarrow says: {exc}") from exc


def require_pyarrow() -> Any:
    """Import and return pyarrow; raises ``MissingDependencyError`` where it is not installed."""
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as exc:
        raise MissingDependencyError("pyarrow", "reading Arrow and Parquet files") from exc
    return pyarrow


def _reader(array: Any, name: str) -> Reader:
    """A function row -> value for one column of one batch."""
    if not array.null_count:
        return _plain_reader(array, name)
    plain, valid = _plain_reader(array, name), np.asarray(array.is_valid())

    def read(row: int) -> Any:
        if not valid[row]:
            raise SampleError("is null", column=name, hint="fill or drop nulls: table.drop_null()")
        return plain(row)

    return read


def _plain_reader(array: Any, name: str) -> Reader:
    import pyarrow as pa

    kind = array.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return array.to_numpy_ndarray().__getitem__  # type: ignore[no-any-return]
    if isinstance(kind, pa.BaseExtensionType):
        return _reader(array.storage, name)
    if pa.types.is_dictionary(kind):
        return _reader(array.dictionary_decode(), name)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        filled = array.fill_null(pa.scalar(0).cast(kind)) if array.null_count else array
        return filled.to_numpy(zero_copy_only=False).__getitem__  # type: ignore[no-any-return]
    if pa.types.is_struct(kind):
        fields = {field.name: _reader(part, f"{name}.{field.name}") for field, part in zip(kind, array.flatten(), strict=True)}
        return lambda row: {field: read(row) for field, read in fields.items()}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list_reader(array, name)
    return lambda row: array[row].as_py()


def _list_reader(array: Any, name: str) -> Reader:
    import pyarrow as pa

    inner = array.type.value_type
    simple = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)
    if simple and not array.values.null_count:
        values = array.values.to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(array.type):
            size, start = array.type.list_size, array.offset
            return lambda row: values[(start + row) * size : (start + row + 1) * size]
        offsets = array.offsets.to_numpy()
        return lambda row: values[offsets[row] : offsets[row + 1]]
    dtype = _leaf_dtype(array.type)

    def read(row: int) -> Any:
        value = array[row].as_py()
        return value if dtype is None else np.asarray(value, dtype=dtype)

    return read


def _leaf_dtype(kind: Any) -> np.dtype[Any] | None:
    import pyarrow as pa

    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return np.dtype(kind.to_pandas_dtype()) if numeric else None
