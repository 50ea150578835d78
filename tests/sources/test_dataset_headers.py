"""Headers of Parquet and Arrow files: rows, columns, sizes, and how two differ."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from dsbridge.errors import SchemaError
from dsbridge.sources.inspect import difference, inspect_dataset, is_dataset

TABLE = pa.table({"image": [[1, 2], [3]], "label": [0, 1], "meta": [{"id": 1, "w": 0.5}] * 2})


def written(path: Path, kind: str) -> Path:
    if kind == "parquet":
        pyarrow.parquet.write_table(TABLE, path)
    elif kind == "arrow-ipc":
        with pa.ipc.new_file(path, TABLE.schema) as writer:
            writer.write_table(TABLE)
    else:
        with pa.ipc.new_stream(path, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return path


@pytest.mark.parametrize("kind", ["parquet", "arrow-ipc", "arrow-stream"])
def test_one_file(kind: str, tmp_path: Path) -> None:
    """Recognised by content; nested columns are one; Parquet says how many bytes each takes."""
    path = written(tmp_path / "data", kind)
    assert is_dataset(path)
    report = inspect_dataset(path)
    assert (report.format, report.rows, report.files, report.nbytes) == (kind, 2, 1, path.stat().st_size)
    assert [column.name for column in report.columns] == ["image", "label", "meta"]
    assert all((column.nbytes or 0) > 0 for column in report.columns) == (kind == "parquet")
    assert "list<" in str(report) and report.ok and report.to_dict()["columns"][1]["type"] == "int64"


def test_no_rows_are_read(tmp_path: Path) -> None:
    """The header of a Parquet file whose data is destroyed is still its header."""
    path = written(tmp_path / "data", "parquet")
    data = bytearray(path.read_bytes())
    data[4:40] = bytes(36)
    path.write_bytes(data)
    assert inspect_dataset(path).rows == 2


def test_a_directory(tmp_path: Path) -> None:
    """All files count; one with other columns is a finding."""
    for name in ("a", "b"):
        written(tmp_path / f"{name}.parquet", "parquet")
    assert is_dataset(tmp_path) and inspect_dataset(tmp_path).rows == 4 and inspect_dataset(tmp_path).ok
    pyarrow.parquet.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    report = inspect_dataset(tmp_path)
    assert not report.ok and "warning schemas-differ" in str(report) and "c.parquet" in str(report)


@pytest.mark.parametrize("kind", ["parquet", "arrow-ipc"])
def test_a_file_that_is_cut_short(kind: str, tmp_path: Path) -> None:
    """Says so, and what pyarrow says."""
    path = written(tmp_path / "data", kind)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SchemaError, match=f"cannot be read as {kind}"):
        inspect_dataset(path)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    """Is left to others."""
    (tmp_path / "x").write_bytes(b"PK\x03\x04")
    assert not is_dataset(tmp_path / "x") and not is_dataset(tmp_path)
    with pytest.raises(SchemaError, match="neither Parquet nor Arrow"):
        inspect_dataset(tmp_path / "x")


def test_two_datasets(tmp_path: Path) -> None:
    """Columns only in one, types, rows."""
    a = inspect_dataset(written(tmp_path / "a", "parquet"))
    pyarrow.parquet.write_table(pa.table({"label": pa.array([1], pa.int32()), "new": [1]}), tmp_path / "b")
    found = difference(a, inspect_dataset(tmp_path / "b"))
    assert (found.only_first, found.only_second, found.types) == (("image", "meta"), ("new",), (("label", "int64", "int32"),))
    assert not found.equal and "2 and 1 rows" in str(found) and "and 3 more" in found.text(1)
    assert difference(a, a).equal and "0 differ, 2 rows each" in str(difference(a, a))


def test_matching(tmp_path: Path) -> None:
    """Columns by a regular expression."""
    report = inspect_dataset(written(tmp_path / "a", "parquet"))
    assert [column.name for column in report.matching("^la").columns] == ["label"]
    with pytest.raises(re.error):
        report.matching("(")


def test_names_of_columns_cannot_steer_a_terminal(tmp_path: Path) -> None:
    """Control characters in a column's name are spelled out."""
    pyarrow.parquet.write_table(pa.table({"a\x1b[31m\nb": [1]}), tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pa.table({"b": [1]}), tmp_path / "b.parquet")
    first, second = (inspect_dataset(tmp_path / f"{name}.parquet") for name in "ab")
    for text in (str(first), str(difference(first, second))):
        assert "\x1b" not in text and r"a\x1b[31m\nb" in text
