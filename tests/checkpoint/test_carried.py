"""Rows carried out on arrays: all of them, nothing else, and what the plan says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dsbridge.checkpoint.apply import carried
from dsbridge.checkpoint.ops import Permute, Split
from dsbridge.checkpoint.rows import Row
from dsbridge.errors import CheckpointError

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def _row(targets: tuple[str, ...], *operations: Any, shape: tuple[int, ...] = (2, 3), dtype: str = "float32") -> Row:
    return Row(("w",), targets, operations, (shape,) * len(targets), (dtype,) * len(targets), "transformed", "a rule")


def test_what_is_only_renamed_is_not_copied() -> None:
    """The set that is carried over is there once."""
    assert carried([_row(("v",))], {"w": W})["v"] is W


def test_what_is_transposed_is_contiguous() -> None:
    """It may be written as it lies."""
    made = carried([_row(("v",), Permute((1, 0)), shape=(3, 2))], {"w": W})["v"]
    np.testing.assert_array_equal(made, W.T)
    assert made.flags.c_contiguous


def test_one_source_may_make_several_targets() -> None:
    """In the row's order; numbers without dimensions stay so."""
    rows = [_row(("a", "b"), Split(0, 2), shape=(1, 3)), Row(("n",), ("n",), (), ((),), ("int64",), "exact")]
    made = carried(rows, {"w": W, "n": np.array(3)})
    np.testing.assert_array_equal(made["b"], W[1:])
    assert made["n"].shape == ()


def test_a_dropped_source_is_asked_for_too() -> None:
    """Nothing comes of it, but a set without it is another set."""
    row = Row(("w",), (), (), (), (), "dropped", "a rule")
    assert carried([row], {"w": W}) == {}
    with pytest.raises(CheckpointError, match=r"1 are missing \(w\), 0 are in no row") as caught:
        carried([row], {})
    assert caught.value.missing == ["w"]


def test_an_array_in_no_row_is_refused() -> None:
    """By its name."""
    with pytest.raises(CheckpointError, match=r"0 are missing \(\), 1 are in no row \(more\)"):
        carried([_row(("v",))], {"w": W, "more": W})


@pytest.mark.parametrize("row", [_row(("v",), dtype="float64"), _row(("v",), shape=(3, 2)), _row(("v", "u"))])
def test_what_is_made_must_be_what_the_plan_says(row: Row) -> None:
    """Dtype, shape, number."""
    with pytest.raises(CheckpointError, match="rule 'a rule' makes"):
        carried([row], {"w": W})
