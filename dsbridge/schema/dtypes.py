"""The one table of dtypes: what each is called by numpy, torch, mindspore, arrow and safetensors.

Names only, so that none of the five has to be imported to ask. bfloat16 and the fp8 family are
numpy dtypes by way of ``ml_dtypes``.

Sources: safetensors' ``Dtype`` enum, ``pyarrow.types``, ``mindspore.common.dtype``, ``torch.dtype``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from dsbridge.errors import SchemaError


@dataclass(frozen=True, slots=True)
class DType:
    """One dtype and its names; None where a library has no such dtype.

    >>> lookup("bfloat16").safetensors
    'BF16'
    """

    name: str
    numpy: np.dtype[Any]
    torch: str | None
    mindspore: str | None
    arrow: str | None
    safetensors: str | None

    @property
    def in_mindspore_dataset(self) -> bool:
        """Whether ``mindspore.dataset`` can carry it (its C++ core knows no bf16, fp8, complex)."""
        return self.numpy.kind in "biufUS" and not self.is_extended

    @property
    def is_extended(self) -> bool:
        """Whether the numpy dtype comes from ``ml_dtypes``."""
        return self.numpy.type.__module__ == "ml_dtypes"


def _row(name: str, arrow: str | None, safetensors: str | None, *, torch: str | None = "", ms: str | None = "") -> DType:
    extended = getattr(ml_dtypes, name, None)
    dtype = np.dtype(extended) if extended is not None else np.dtype(name)
    return DType(name, dtype, name if torch == "" else torch, name if ms == "" else ms, arrow, safetensors)


TABLE: tuple[DType, ...] = (
    _row("bool", "bool", "BOOL"),
    _row("int8", "int8", "I8"),
    _row("int16", "int16", "I16"),
    _row("int32", "int32", "I32"),
    _row("int64", "int64", "I64"),
    _row("uint8", "uint8", "U8"),
    _row("uint16", "uint16", "U16"),
    _row("uint32", "uint32", "U32"),
    _row("uint64", "uint64", "U64"),
    _row("float16", "halffloat", "F16"),
    _row("bfloat16", None, "BF16"),
    _row("float32", "float", "F32"),
    _row("float64", "double", "F64"),
    _row("complex64", None, "C64"),
    _row("complex128", None, None),
    _row("float8_e4m3fn", None, "F8_E4M3"),
    _row("float8_e5m2", None, "F8_E5M2"),
    _row("float8_e4m3fnuz", None, "F8_E4M3FNUZ", ms=None),
    _row("float8_e5m2fnuz", None, "F8_E5M2FNUZ", ms=None),
    _row("float8_e8m0fnu", None, "F8_E8M0", ms=None),
    _row("str", "string", None, torch=None, ms="string"),
    _row("bytes", "binary", None, torch=None, ms=None),
)

_SPELLINGS = {"Float": "float", "Int": "int", "UInt": "uint", "BFloat": "bfloat", "Bool": "bool", "Complex": "complex"}
_BY_NAME = {d.name: d for d in TABLE}
_ALIASES = {
    **{d.arrow: d for d in TABLE if d.arrow},
    **{d.safetensors: d for d in TABLE if d.safetensors},
    "half": _BY_NAME["float16"],
    "long": _BY_NAME["int64"],
    "int": _BY_NAME["int64"],
    "string_": _BY_NAME["str"],
    "String": _BY_NAME["str"],  # as MindSpore prints it; so are the next two
    "float8E4M3FN": _BY_NAME["float8_e4m3fn"],
    "float8E5M2": _BY_NAME["float8_e5m2"],
    "large_string": _BY_NAME["str"],
    "large_binary": _BY_NAME["bytes"],
}


def lookup(dtype: Any) -> DType:
    """The row for a dtype given by any library's object or name.

    A name means what numpy and torch mean by it ("float" is arrow's: 32 bits, as is safetensors' "F32").
    Raises ``SchemaError`` for a dtype that is not in the table.

    >>> lookup(np.float32) is lookup("torch.float32") is lookup("F32") is lookup("mindspore.float32")
    True
    """
    if isinstance(dtype, DType):
        return dtype
    if isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, (np.generic, int, float, str, bytes))):
        found = np.dtype(dtype)
        name = {"U": "str", "S": "bytes"}.get(found.kind, found.name)
    else:
        name = str(dtype).rsplit(".", 1)[-1]
        for long, short in _SPELLINGS.items():  # MindSpore prints its dtypes as Float32, UInt8, ...
            if name.startswith(long):
                name = short + name[len(long) :]
    row = _BY_NAME.get(name) or _ALIASES.get(name)
    if row is None:
        raise SchemaError(f"unknown dtype {dtype!r}", hint=f"known are {', '.join(_BY_NAME)}")
    return row


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """The numpy dtype for any library's dtype object or name.

    >>> numpy_dtype("bfloat16").itemsize
    2
    """
    return lookup(dtype).numpy


def plain_name(dtype: np.dtype[Any]) -> str:
    """The name to print: "str" and "bytes" without their lengths, numpy's name otherwise.

    >>> plain_name(np.dtype("<U12")), plain_name(np.dtype("f4"))
    ('str', 'float32')
    """
    return {"U": "str", "S": "bytes"}.get(dtype.kind, dtype.name)
