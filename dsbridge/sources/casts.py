"""Which dtype each column is delivered in: the ``dtypes=`` argument and what MindSpore cannot carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dsbridge.errors import SampleError, SchemaError
from dsbridge.report import Report
from dsbridge.schema.columns import Column, Schema
from dsbridge.schema.dtypes import lookup, plain_name

LABEL_NAMES = frozenset({"label", "labels", "target", "targets", "class", "y"})


@dataclass(frozen=True, slots=True)
class Cast:
    """Convert one column; integers are checked, so that no value changes silently.

    >>> Cast("label", np.dtype("int64"), np.dtype("int32"))(np.array(7)).dtype
    dtype('int32')
    """

    column: str
    source: np.dtype[Any]
    target: np.dtype[Any]

    def __call__(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self.target.kind in "iu" and array.size:
            limits = np.iinfo(self.target)
            low, high = array.min(), array.max()
            if low < limits.min or high > limits.max:
                raise SampleError(
                    "value does not fit the dtype asked for",
                    column=self.column,
                    expected=f"{self.target} within [{limits.min}, {limits.max}]",
                    got=f"{low if low < limits.min else high}",
                    hint="choose a wider dtype in dtypes=",
                )
        return array.astype(self.target)


def plan_casts(schema: Schema, dtypes: Any, report: Report, *, batched: bool = False) -> tuple[Schema, dict[int, Cast]]:
    """The delivered schema and the casts that lead there, by column position; each cast is reported.

    ``dtypes`` is "keep", "mindspore" or a mapping column -> dtype. ``batched`` says that a scalar label
    has one dimension already. Raises ``SampleError`` naming a column that mindspore.dataset cannot carry,
    ``SchemaError`` for a wrong ``dtypes``.

    >>> schema = Schema((Column("x", np.dtype("float64"), (2,)), Column("label", np.dtype("int64"), ())))
    >>> delivered, casts = plan_casts(schema, "mindspore", Report("source"))
    >>> print(delivered)
    column  dtype    shape
    x       float32  2
    label   int32    scalar
    """
    wanted = _wanted(schema, dtypes, batched)
    columns, casts = [], {}
    for position, column in enumerate(schema):
        target = _carried(column, wanted.get(column.name, column.dtype))
        if target != column.dtype and not (target.kind == column.dtype.kind and target.kind in "US"):
            casts[position] = Cast(column.name, column.dtype, target)
            reason = _reason(column, target, dtypes)
            report.add("cast", "info", column.name, f"{plain_name(column.dtype)} becomes {plain_name(target)}: {reason}")
        columns.append(replace(column, dtype=target))
    return Schema(tuple(columns)), casts


def _wanted(schema: Schema, dtypes: Any, batched: bool) -> dict[str, np.dtype[Any]]:
    if isinstance(dtypes, str) and dtypes == "keep":
        return {}
    if isinstance(dtypes, str) and dtypes == "mindspore":
        wanted: dict[str, np.dtype[Any]] = {}
        for column in schema:
            if column.dtype == np.float64:
                wanted[column.name] = np.dtype(np.float32)
            elif column.dtype == np.int64 and _is_label(column, batched):
                wanted[column.name] = np.dtype(np.int32)
        return wanted
    if isinstance(dtypes, Mapping):
        unknown = [name for name in dtypes if name not in schema.names]
        if unknown:
            raise SchemaError(f"dtypes names the unknown column(s) {unknown}; there are {list(schema.names)}")
        return {name: lookup(dtype).numpy for name, dtype in dtypes.items()}
    raise SchemaError(f"dtypes must be 'keep', 'mindspore' or a dict of column to dtype, got {dtypes!r}")


def _is_label(column: Column, batched: bool) -> bool:
    return len(column.shape) == int(batched) or column.name.rsplit(".", 1)[-1] in LABEL_NAMES


def _carried(column: Column, target: np.dtype[Any]) -> np.dtype[Any]:
    row = lookup(target)
    if row.in_mindspore_dataset and (column.dtype.kind != "c" or row.numpy.kind == "c"):
        return target
    if row.name == "bfloat16":
        return np.dtype(np.float32)
    hint = "store real and imaginary parts as floats: torch.view_as_real(x)"
    if row.name.startswith("float8"):
        hint = f"cast it: dtypes={{{column.name!r}: 'float32'}}"
    got = plain_name(column.dtype)
    raise SampleError("mindspore.dataset cannot carry this dtype", column=column.name, got=got, hint=hint)


def _reason(column: Column, target: np.dtype[Any], dtypes: Any) -> str:
    if column.dtype == lookup("bfloat16").numpy and target == np.float32:
        return "mindspore.dataset has no bfloat16; float32 holds every bfloat16 value exactly"
    return f"asked for by dtypes={dtypes!r}"
