"""What is in a dataset on disk, by its headers: rows, columns, sizes; no row is read."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dsbridge.report import Report, Reported
from dsbridge.sources.arrow_headers import files_of, format_of, read_header
from dsbridge.styles import aligned, printable, repr_html


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """A column as it is stored: its Arrow type, and its bytes in the file where the format says so."""

    name: str
    type: str
    nbytes: int | None = None


@dataclass(frozen=True, slots=True)
class DatasetReport(Reported):
    """The outcome of ``inspect_dataset``.

    >>> print(DatasetReport("a.parquet", "parquet", 3, 200, 1, (ColumnLine("label", "int64", 90),)))
    a.parquet: parquet, 3 rows in 1 file, 200 bytes
      label  int64  90
    """

    path: str
    format: str
    rows: int
    nbytes: int
    files: int
    columns: tuple[ColumnLine, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report("dataset"))

    @property
    def ok(self) -> bool:
        """Whether no finding is worse than "info"."""
        return self.report.clean

    @property
    def title(self) -> str:
        """The first line."""
        files = f"{self.files} file" + ("s" if self.files != 1 else "")
        return f"{printable(self.path)}: {self.format}, {self.rows:,} rows in {files}, {self.nbytes:,} bytes"

    def matching(self, pattern: str) -> DatasetReport:
        """The same of those columns whose names the regular expression is found in. Raises re.error."""
        return replace(self, columns=tuple(c for c in self.columns if re.search(pattern, c.name)))

    def __str__(self) -> str:
        lines = aligned([(printable(c.name), c.type, "" if c.nbytes is None else f"{c.nbytes:,}") for c in self.columns])
        findings = [str(self.report)] if len(self.report) else []
        return "\n".join([self.title, *lines, *findings])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``."""
        found = {name: getattr(self, name) for name in ("path", "format", "rows", "nbytes", "files", "metadata", "ok")}
        return {**found, "columns": [asdict(c) for c in self.columns], "findings": self.report.to_dict()["findings"]}


def is_dataset(path: str | os.PathLike[str]) -> bool:
    """Whether a path is Parquet or Arrow IPC by its first bytes, or a directory of Parquet files.

    >>> is_dataset("/dev/null")
    False
    """
    path = Path(path)
    if path.is_dir():  # two levels are enough to know: big trees of other files are not walked
        return any(next(path.glob(pattern), None) for pattern in ("*.parquet", "*/*.parquet", "*/*/*.parquet"))
    return bool(format_of(path))


def inspect_dataset(path: str | os.PathLike[str]) -> DatasetReport:
    """The header of a Parquet or Arrow IPC file, or of a directory of Parquet files.

    Raises ``SchemaError`` for anything else, ``MissingDependencyError`` without pyarrow.

    >>> import pyarrow as pa, pyarrow.parquet, tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     pa.parquet.write_table(pa.table({"x": [1.5, 2.5], "y": [1, 2]}), file.name)
    ...     found = inspect_dataset(file.name)
    >>> found.rows, [(column.name, column.type) for column in found.columns]
    (2, [('x', 'double'), ('y', 'int64')])
    """
    found = [read_header(file) for file in files_of(Path(path))]
    schema, report = found[0].schema, Report("dataset")
    sizes: Counter[str] = Counter()
    for part in found:
        sizes.update(part.sizes)
        if not part.schema.equals(schema):
            report.add(
                "schemas-differ", "warning", part.path, f"its columns are not those of {found[0].path}", "dsbridge inspect A B"
            )
    columns = tuple(ColumnLine(f.name, str(f.type), sizes.get(f.name)) for f in schema)
    metadata = {_text(key): _text(value) for key, value in (schema.metadata or {}).items() if key != b"ARROW:schema"}
    nbytes = sum(os.path.getsize(part.path) for part in found)
    return DatasetReport(
        str(path), found[0].format, sum(part.rows for part in found), nbytes, len(found), columns, metadata, report
    )


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class DatasetDifference:
    """How two datasets differ by their headers; values are not compared. ``types``: (column, of the first, of the second).

    >>> print(DatasetDifference("a", "b", (3, 4), 1, ("x",), (), ()))
    a and b: 1 column alike by name and type, 1 differs, 3 and 4 rows (values were not compared)
      only in a  x
    """

    first: str
    second: str
    rows: tuple[int, int]
    alike: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    types: tuple[tuple[str, str, str], ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs, the number of rows included."""
        return not (self.only_first or self.only_second or self.types) and self.rows[0] == self.rows[1]

    def text(self, limit: int | None = None) -> str:
        """The differences, at most ``limit`` of them."""
        rows = [(f"only in {self.first}", printable(name)) for name in self.only_first]
        rows += [(f"only in {self.second}", printable(name)) for name in self.only_second]
        rows += [("type", f"{printable(name)}  {a}  {b}") for name, a, b in self.types]
        lines = aligned(rows)
        plural, verb = ("", "s")[self.alike != 1], ("", "s")[len(lines) == 1]
        first, second = self.rows
        counts = f"{first:,} rows each" if first == second else f"{first:,} and {second:,} rows"
        title = f"{printable(self.first)} and {printable(self.second)}: {self.alike} column{plural} alike by name and type"
        more = [f"  ... and {len(lines) - limit:,} more"] if limit is not None and limit < len(lines) else []
        return "\n".join([f"{title}, {len(lines)} differ{verb}, {counts} (values were not compared)", *lines[:limit], *more])

    _repr_html_ = repr_html

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The differences as plain data."""
        return {**asdict(self), "equal": self.equal}


def difference(first: DatasetReport, second: DatasetReport) -> DatasetDifference:
    """Columns only in one, types that differ, and the numbers of rows.

    >>> one = DatasetReport("a", "parquet", 3, 200, 1, (ColumnLine("label", "int64"),))
    >>> difference(one, one).equal
    True
    """
    a, b = ({column.name: column.type for column in report.columns} for report in (first, second))
    types = tuple((name, a[name], b[name]) for name in a if name in b and a[name] != b[name])
    only = tuple(name for name in a if name not in b), tuple(name for name in b if name not in a)
    alike = sum(name in b and a[name] == b[name] for name in a)
    return DatasetDifference(first.path, second.path, (first.rows, second.rows), alike, *only, types)
