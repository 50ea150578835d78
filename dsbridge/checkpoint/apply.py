"""A plan's rows carried out on arrays: what ``execute`` does on its way from file to file, and whole sets in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dsbridge.checkpoint.rows import Array, Row
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import lookup


def applied(row: Row, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """What a row makes of its sources' arrays, in the order of its targets; views where nothing is computed.

    Raises ``CheckpointError`` where that is not what the plan says: number, dtypes, shapes.

    >>> applied(Row(("w",), ("v",), (), ((2,),), ("float32",), "renamed"), (np.ones(2, np.float32),))
    (array([1., 1.], dtype=float32),)
    """
    for operation in row.operations:
        arrays = operation.apply(arrays)
    if len(arrays) != len(row.targets):
        raise CheckpointError(f"rule {row.rule!r} makes {len(arrays)} tensors for {len(row.targets)}: {', '.join(row.targets)}")
    agree(row, [(lookup(array.dtype).name, array.shape) for array in arrays])
    return arrays


def agree(row: Row, made: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Raise ``CheckpointError`` unless (dtype, shape) of what was made are those of the row's targets.

    >>> agree(Row(("w",), ("v",), (), ((2,),), ("float32",), "renamed"), [("float32", (2,))])
    """
    for name, dtype, shape, (got_dtype, got_shape) in zip(row.targets, row.dtypes, row.shapes, made, strict=True):
        if (lookup(dtype).name, tuple(shape)) != (got_dtype, tuple(got_shape)):
            origin = ", ".join(row.sources) or "nothing"
            raise CheckpointError(
                f"tensor {name!r}: rule {row.rule!r} makes {got_dtype}{list(got_shape)} of {origin}, "
                f"the plan says {lookup(dtype).name}{list(shape)}",
                hint="the plan does not fit this file; make it again",
            )


def carried(rows: Sequence[Row], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """All targets by name, C-contiguous; what is only renamed is the source's array itself, not a copy.

    ``rows``: of a plan without open questions (``raise_if_failed``). Raises ``CheckpointError`` for arrays that the rows do
    not mention, and for what they mention and is not there.

    >>> carried([Row(("w",), ("v",), (), ((2,),), ("float32",), "renamed")], {"w": np.ones(2, np.float32)})
    {'v': array([1., 1.], dtype=float32)}
    """
    named = {name for row in rows for name in row.sources}
    absent, more = sorted(named - arrays.keys()), sorted(arrays.keys() - named)
    if absent or more:
        raise CheckpointError(
            f"the plan is for other tensors: {len(absent)} are missing ({', '.join(absent[:5])}), "
            f"{len(more)} are in no row ({', '.join(more[:5])})",
            missing=absent,
            unmatched=more,
            hint="make the plan again",
        )
    made: dict[str, Array] = {}
    for row in rows:
        if row.targets:
            parts = applied(row, tuple(arrays[name] for name in row.sources))
            made.update({name: np.asarray(part, order="C") for name, part in zip(row.targets, parts, strict=True)})
    return made
