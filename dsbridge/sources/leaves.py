"""One leaf of a sample -> one numpy array: what is accepted, and why the rest is not."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks import mindspore_tensors, torch_tensors
from dsbridge.frameworks.detect import is_instance
from dsbridge.schema.dtypes import lookup

_SCALARS = (int, float, np.generic)


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """The leaf as a native-endian numpy array; it may share memory with the dataset.

    Python numbers follow torch: int -> int64, float -> float64. Raises ``SampleError`` (without a
    place; the caller knows index and column) for None, masked, object, sparse, meta, quantised and
    everything else that would silently become something else.

    >>> as_array(3), as_array("a").dtype.kind, as_array([1.5, 2]).shape
    (array(3), 'U', (2,))
    """
    if torch_tensors.is_tensor(value):
        return torch_tensors.to_numpy(value)
    if isinstance(value, np.ndarray):
        return _checked(value)
    if isinstance(value, (str, bytes)):
        return _text(value)
    if isinstance(value, _SCALARS):
        return _number(value)
    if is_instance(value, "PIL.Image.Image"):
        return np.asarray(value)
    if mindspore_tensors.is_tensor(value):
        return _checked(mindspore_tensors.to_numpy(value))
    if isinstance(value, list):
        return _vector(value)
    raise SampleError("not a value a column can hold", got=describe(value), hint=_hint(value))


def owned(array: np.ndarray[Any, Any], dtype: np.dtype[Any] | None = None) -> np.ndarray[Any, Any]:
    """A C-contiguous copy that shares memory with nobody, cast to ``dtype`` if given.

    >>> a = np.arange(4)[::-1]; b = owned(a); b.flags.c_contiguous, np.shares_memory(a, b)
    (True, False)
    """
    return np.array(array, dtype=dtype, order="C", copy=True, subok=False)


def describe(value: Any) -> str:
    """A short name for a value's type, with dtype and shape where there is one.

    >>> describe(None), describe(np.zeros((2, 3)))
    ('None', 'float64[2, 3]')
    """
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        kind = "masked " if isinstance(value, np.ma.MaskedArray) else ""
        return f"{kind}{value.dtype}{list(value.shape)}"
    if torch_tensors.is_tensor(value):
        return f"torch.Tensor {value.dtype}{list(value.shape)}"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def refuse_masked(value: Any) -> None:
    """Raise ``SampleError`` for a masked array, whose mask numpy and torch drop silently.

    >>> refuse_masked(np.zeros(2))
    """
    if isinstance(value, np.ma.MaskedArray):
        raise SampleError(
            "a masked array would lose its mask", got=describe(value), hint="return array.filled(value) from the dataset"
        )


def _checked(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    refuse_masked(array)
    if array.dtype.kind == "O":
        raise SampleError("an object array has no dtype", got=describe(array), hint="use a numeric or string dtype")
    if array.dtype.kind in "mMV" and array.dtype.type.__module__ != "ml_dtypes":
        hint = "store it as array.astype('int64')" if array.dtype.kind in "mM" else "make each field a column"
        raise SampleError("no tensor has this dtype", got=describe(array), hint=hint)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind not in "US":
        try:
            lookup(array.dtype)
        except ValueError:
            raise SampleError("no tensor has this dtype", got=describe(array), hint="use float64 or complex128") from None
    return array


def _number(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.generic):
        return _checked(np.asarray(value))
    if isinstance(value, (float, bool)):
        return np.asarray(value)
    try:
        return np.asarray(int(value), dtype=np.int64)
    except OverflowError:
        raise SampleError("does not fit in int64", got=value, hint="use numpy.uint64 or a float") from None


def _text(value: str | bytes) -> np.ndarray[Any, Any]:
    # numpy pads text with NULs and cannot tell padding from data
    if value and value[-1] in ("\0", 0):
        raise SampleError(
            "text that ends in NUL would lose it",
            got=f"{type(value).__name__} of length {len(value)}",
            hint="return numpy.frombuffer(value, numpy.uint8) for binary data",
        )
    return np.asarray(value)


def _vector(value: list[Any]) -> np.ndarray[Any, Any]:
    flat: set[type] = set()
    _types(value, flat)
    if flat & {str, bytes} and len(flat) > 1:
        raise SampleError("a list mixes text and numbers", got=f"list of {sorted(t.__name__ for t in flat)}")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind == "O":
        raise SampleError(
            "a nested list is ragged or holds too large a number",
            got="list",
            hint="make it a flat list, or pad it in the dataset",
        )
    return array


def _types(value: list[Any], found: set[type]) -> None:
    for item in value:
        if isinstance(item, list):
            _types(item, found)
        else:
            found.add(type(item))


def _hint(value: Any) -> str:
    if value is None:
        return "return a value for every field, or drop the sample before"
    if isinstance(value, (dict, tuple)):
        return "every sample must be nested like the first one"
    if hasattr(value, "__next__"):
        return "return a list or an array instead of a generator"
    if "numpy" in sys.modules and hasattr(value, "__array__"):
        return "return numpy.asarray(value) from the dataset"
    return "return a tensor, an array, a number, text or a PIL image"
