"""The headers of Parquet and Arrow IPC files: schema, rows, bytes of each column; no values are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsbridge.errors import SchemaError
from dsbridge.sources.arrow import require_pyarrow

_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow-ipc", b"\xff\xff\xff\xff": "arrow-stream"}


@dataclass(frozen=True, slots=True)
class Header:
    """One file: ``schema`` is a pyarrow Schema; ``sizes`` the stored bytes of each column, where the format says so."""

    path: str
    format: str
    schema: Any
    rows: int
    sizes: Mapping[str, int] = field(default_factory=dict)


def format_of(path: Path) -> str:
    """The format by a file's first bytes; empty for another one.

    >>> format_of(Path("/dev/null"))
    ''
    """
    with path.open("rb") as file:
        begin = file.read(8)
    return next((name for magic, name in _MAGIC.items() if begin.startswith(magic)), "")


def files_of(path: Path) -> list[Path]:
    """The file, or a directory's Parquet files in order."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


def read_header(path: Path) -> Header:
    """The header of one file. Raises ``SchemaError`` for what is neither Parquet nor Arrow IPC, or is cut short."""
    pa = require_pyarrow()
    kind = format_of(path)
    if not kind:
        raise SchemaError(f"{path} is neither Parquet nor Arrow IPC")
    try:
        if kind == "parquet":
            return _parquet(path)
        with pa.memory_map(str(path)) as memory:
            if kind == "arrow-ipc":
                reader = pa.ipc.open_file(memory)
                rows = sum(reader.get_batch(n).num_rows for n in range(reader.num_record_batches))
            else:
                reader = pa.ipc.open_stream(memory)
                rows = sum(batch.num_rows for batch in reader)
            return Header(str(path), kind, reader.schema, rows)
    except (pa.ArrowInvalid, OSError) as exc:
        raise SchemaError(f"{path} cannot be read as {kind}", hint=f"pyarrow says: {exc}") from exc


def _parquet(path: Path) -> Header:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        metadata, sizes = file.metadata, Counter[str]()
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(number)
                sizes[chunk.path_in_schema.split(".")[0]] += chunk.total_compressed_size
        return Header(str(path), "parquet", file.schema_arrow, metadata.num_rows, sizes)
