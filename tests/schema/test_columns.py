"""Columns and schemas: names, printing, lookup."""

from __future__ import annotations

import dataclasses
import pickle
from collections import namedtuple
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import dsbridge as dsb
from dsbridge.schema.columns import Column, Schema, checked_names, default_names, path_name
from dsbridge.schema.structure import Structure

Pair = namedtuple("Pair", ["image", "target"])


@dataclasses.dataclass
class Item:
    """A dataclass sample."""

    image: Any
    label: Any


IMAGE = Column("image", np.dtype("float32"), (3, None, 4), ("image",))
LABEL = Column("label", np.dtype("int64"), (), ("label",))
TEXT = Column("text", np.dtype("<U7"), (), ("text",))


@pytest.mark.parametrize(
    ("sample", "names"),
    [
        (1, ["data"]),
        ((1,), ["column_0"]),
        ((1, 2), ["data", "label"]),
        ([1, 2], ["data", "label"]),
        ((1, 2, 3), ["column_0", "column_1", "column_2"]),
        ({"a": 1, "b": {"c": 2, "d": (3, 4)}}, ["a", "b.c", "b.d.0", "b.d.1"]),
        (((1, 2), 3), ["data.0", "data.1", "label"]),
        (({"x": 1}, 2), ["data.x", "label"]),
        (Pair(1, {"box": 2}), ["image", "target.box"]),
        (Item(1, 2), ["image", "label"]),
        ({0: 1, "a": 2}, ["0", "a"]),
    ],
)
def test_default_names(sample: Any, names: list[str]) -> None:
    """Keys and fields joined by dots; data and label for a pair, column_n for other tuples."""
    structure = Structure.of(sample)
    assert default_names(structure) == names
    assert [path_name(path, sample) for path in structure.paths] == names


def test_duplicate_names() -> None:
    """Two columns of one name are a SchemaError naming it and saying what to do."""
    with pytest.raises(dsb.SchemaError, match=r"'a\.b' appears twice.*column_names="):
        dsb.wrap([{"a": {"b": 1}, "a.b": 2}]).schema
    with pytest.raises(dsb.SchemaError, match="'label' appears twice"):
        Schema((LABEL, IMAGE, LABEL))


def test_schema_is_a_sequence_of_columns() -> None:
    """Length, order, iteration, lookup by name and position."""
    schema = Schema((IMAGE, LABEL))
    assert (len(schema), list(schema), schema.names) == (2, [IMAGE, LABEL], ("image", "label"))
    assert schema["label"] is schema[1] is LABEL
    assert schema == Schema((IMAGE, LABEL)) == pickle.loads(pickle.dumps(schema))
    with pytest.raises(KeyError, match=r"no column 'x'; there are \['image', 'label'\]"):
        schema["x"]
    with pytest.raises(IndexError):
        schema[2]


def test_immutable() -> None:
    """Neither a column nor a schema can be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        IMAGE.name = "x"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schema((IMAGE,)).columns = ()  # type: ignore[misc]


def test_printing() -> None:
    """str() is an aligned table; a varying dimension is a question mark, text has no length."""
    half = Column("half", np.dtype(ml_dtypes.bfloat16), (2,))
    assert str(Schema((IMAGE, LABEL, TEXT, half))).splitlines() == [
        "column  dtype     shape",
        "image   float32   3 x ? x 4",
        "label   int64     scalar",
        "text    str       scalar",
        "half    bfloat16  2",
    ]
    assert repr(TEXT) == "Column('text', str, shape=())"
    assert str(Schema()) == "column  dtype  shape"


@pytest.mark.parametrize(
    ("column", "array", "fits"),
    [
        (IMAGE, np.zeros((3, 9, 4), "f4"), True),
        (IMAGE, np.zeros((3, 9, 5), "f4"), False),
        (IMAGE, np.zeros((3, 4), "f4"), False),
        (IMAGE, np.zeros((3, 9, 4), "f8"), False),
        (LABEL, np.int64(3), True),
        (LABEL, np.zeros(1, "i8"), False),
        (TEXT, np.array("a longer text"), True),
        (TEXT, np.array(b"a"), False),
    ],
)
def test_accepts(column: Column, array: Any, fits: bool) -> None:
    """A column accepts its dtype, rank and fixed dimensions; text of any length."""
    assert column.accepts(np.asarray(array)) is fits


def test_widened() -> None:
    """A dimension seen to vary becomes None, and stays so."""
    column = Column("x", np.dtype("f4"), (2, 3)).widened((2, 5))
    assert column.shape == (2, None)
    assert column.widened((2, 3)).shape == (2, None)


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b")])
def test_checked_names(names: Any) -> None:
    """A list or tuple of distinct strings is fine; one name may come alone."""
    assert checked_names(names, 2) == ["a", "b"]
    assert checked_names("a", 1) == ["a"]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a"], "1 column names .* for 2 columns"),
        (["a", "b", "c"], "3 column names"),
        (["a", "a"], "duplicate"),
        (["a", ""], "non-empty"),
        (["a", 3], "non-empty strings"),
        (5, "must be a list"),
        ("ab", "1 column names"),
    ],
)
def test_wrong_names(names: Any, match: str) -> None:
    """Names that do not fit are a SchemaError."""
    with pytest.raises(dsb.SchemaError, match=match):
        checked_names(names, 2)
