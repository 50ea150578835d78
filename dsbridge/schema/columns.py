"""Columns and schemas: the leaves of a sample, named, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dsbridge.errors import SchemaError
from dsbridge.schema.dtypes import plain_name
from dsbridge.schema.structure import Path, Structure
from dsbridge.styles import repr_html

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A named leaf: ``dtype`` is a numpy dtype, ``shape`` has None for a dimension seen to vary.

    ``path`` leads to the leaf in the user's sample: dict keys, field names, positions.

    >>> Column("label", np.dtype("int64"), (), (1,))
    Column('label', int64, shape=())
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    path: Path = ()

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {plain_name(self.dtype)}, shape={self.shape})"

    def accepts(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether an array fits as it is: the dtype (any length of text), and every fixed dimension."""
        if self.dtype != array.dtype and not (self.dtype.kind in "US" and array.dtype.kind == self.dtype.kind):
            return False
        shape = array.shape
        return self.shape == shape or (
            len(self.shape) == len(shape) and all(a is None or a == b for a, b in zip(self.shape, shape, strict=True))
        )

    def widened(self, shape: tuple[int, ...]) -> Column:
        """This column with None for each dimension in which ``shape`` differs."""
        return replace(self, shape=tuple(a if a == b else None for a, b in zip(self.shape, shape, strict=True)))


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a source, in order. Immutable; ``str()`` of it is a table.

    >>> schema = Schema((Column("data", np.dtype("float32"), (1, 28, 28), (0,)),
    ...                  Column("label", np.dtype("int64"), (), (1,))))
    >>> print(schema)
    column  dtype    shape
    data    float32  1 x 28 x 28
    label   int64    scalar
    >>> schema["label"].dtype.name, schema.names
    ('int64', ('data', 'label'))
    """

    columns: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for name in self.names:
            if name in seen:
                raise SchemaError(
                    f"column name {name!r} appears twice among {list(self.names)}",
                    hint="pass column_names= with a different name for each column",
                )
            seen.add(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, key: int | str) -> Column:
        if isinstance(key, int):
            return self.columns[key]
        for column in self.columns:
            if column.name == key:
                return column
        raise KeyError(f"no column {key!r}; there are {list(self.names)}")

    _repr_html_ = repr_html

    def __str__(self) -> str:
        rows = [("column", "dtype", "shape")]
        for c in self.columns:
            shape = " x ".join("?" if d is None else str(d) for d in c.shape) or "scalar"
            rows.append((c.name, plain_name(c.dtype), shape))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def default_names(structure: Structure) -> list[str]:
    """Column names from a structure: keys and fields joined by dots; data, label for a pair.

    >>> default_names(Structure.of((1, 2))), default_names(Structure.of((1, 2, 3))), default_names(Structure.of(1))
    (['data', 'label'], ['column_0', 'column_1', 'column_2'], ['data'])
    >>> default_names(Structure.of({"image": 1, "meta": {"id": 2}}))
    ['image', 'meta.id']
    """
    width = len(structure.keys) if structure.kind in ("tuple", "list") else None
    return [_joined(path, width) for path in structure.paths]


def path_name(path: Path, sample: Any) -> str:
    """The column name of one path in a sample, whatever the rest of the sample holds.

    >>> path_name((1,), (None, None)), path_name(("meta", "id"), {})
    ('label', 'meta.id')
    """
    plain = isinstance(sample, (tuple, list)) and not hasattr(sample, "_fields")
    return _joined(path, len(sample) if plain else None)


def _joined(path: Path, width: int | None) -> str:
    """``width`` is the number of values of a tuple at the top, whose positions have names."""
    if not path:
        return "data"
    top = str(path[0]) if width is None else ("data", "label")[path[0]] if width == 2 else f"column_{path[0]}"
    return ".".join([top, *map(str, path[1:])])


def checked_names(names: Any, count: int) -> list[str]:
    """The user's ``column_names`` as a list, checked: ``count`` distinct, non-empty strings.

    >>> checked_names(("a", "b"), 2)
    ['a', 'b']
    """
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Sequence) or not all(isinstance(n, str) and n for n in names):
        raise SchemaError(f"column_names must be a list of non-empty strings, got {names!r}")
    if len(names) != count:
        raise SchemaError(
            f"{len(names)} column names {list(names)} for {count} columns",
            hint="name every column once, in order; print(dsbridge.wrap(dataset).schema) shows them",
        )
    if len(set(names)) != len(names):
        raise SchemaError(f"column_names has a duplicate: {list(names)}")
    return list(names)
