"""Tensors that are made in forward."""

from __future__ import annotations

from typing import Any

import torch

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import plain

_IGNORED = {"device", "requires_grad", "layout", "pin_memory", "memory_format"}


def dtype_of(dtype: Any, more: dict[str, Any], default: Any = None) -> Any:
    """The dtype asked for, or the default; keywords that would change the values are refused."""
    unknown = set(more) - _IGNORED
    if unknown:
        raise Refused(f"{', '.join(sorted(unknown))}=")
    return dtype or default or torch.get_default_dtype()


def shape_of(size: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sizes, or axes, given one by one or as one tuple."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size


@function("zeros", "empty")
def zeros(*size: Any, dtype: Any = None, **more: Any) -> Code:
    """Of a shape; what empty holds is nobody's business."""
    return call("ops.zeros", shape_of(size or (more.pop("size"),)), dtype_of(dtype, more))


@function("ones")
def ones(*size: Any, dtype: Any = None, **more: Any) -> Code:
    """Of a shape."""
    return call("ops.ones", shape_of(size or (more.pop("size"),)), dtype_of(dtype, more))


@function("eye")
def eye(n: Any, m: Any = None, *, dtype: Any = None, **more: Any) -> Code:
    """ops.eye needs both sizes."""
    return call("ops.eye", n, n if m is None else m, dtype_of(dtype, more))


@function("new_zeros", "new_empty")
def new_zeros(x: Any, *size: Any, dtype: Any = None, **more: Any) -> Code:
    """Of the tensor's dtype."""
    return call("ops.zeros", shape_of(size), dtype_of(dtype, more, x.dtype))


@function("new_ones")
def new_ones(x: Any, *size: Any, dtype: Any = None, **more: Any) -> Code:
    """Of the tensor's dtype."""
    return call("ops.ones", shape_of(size), dtype_of(dtype, more, x.dtype))


@function("full")
def full(size: Any, fill_value: Any, *, dtype: Any = None, **more: Any) -> Code:
    """ops.full makes whole numbers of 1.5 unless told the dtype."""
    kind = {bool: torch.bool, int: torch.int64}.get(type(plain(fill_value)))
    return call("ops.full", tuple(size), fill_value, dtype=dtype_of(dtype, more, kind))


@function("new_full")
def new_full(x: Any, size: Any, fill_value: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Of the tensor's dtype."""
    return call("ops.full", tuple(size), fill_value, dtype=dtype_of(dtype, more, x.dtype))


@function("zeros_like", "empty_like")
def zeros_like(x: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Of the tensor's shape."""
    return call("ops.zeros_like", x, dtype=dtype_of(dtype, more, x.dtype))


@function("ones_like")
def ones_like(x: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Of the tensor's shape."""
    return call("ops.ones_like", x, dtype=dtype_of(dtype, more, x.dtype))


@function("full_like")
def full_like(x: Any, fill_value: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Of the tensor's shape."""
    return code("ops.ones_like(x, dtype=d) * v", x=x, d=dtype_of(dtype, more, x.dtype), v=fill_value)


@function("zero")
def zero(x: Any) -> Code:
    """What is written over with zeros."""
    return call("ops.zeros_like", x)


@function("fill")
def fill(x: Any, value: Any) -> Code:
    """What is written over with a value."""
    return code("ops.ones_like(x) * v", x=x, v=value)


@function("arange")
def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, **more: Any) -> Code:
    """Whole numbers are int64, as in torch."""
    numbers = [start, end, step] if end is not None else [0, start, step]
    whole = all(isinstance(plain(number), int) for number in numbers)
    kind = dtype_of(dtype, more, torch.int64 if whole else None)
    if plain(step) == 1:
        numbers = numbers[1:2] if numbers[0] == 0 else numbers[:2]
    return call("ops.arange", *numbers, dtype=kind)


@function("linspace")
def linspace(start: Any, end: Any, steps: Any, *, dtype: Any = None, **more: Any) -> Code:
    """Both ends included."""
    return code("ops.linspace(a, b, n).astype(d)", a=start, b=end, n=steps, d=dtype_of(dtype, more))


@function("tensor", "scalar_tensor", "as_tensor")
def tensor(data: Any, *, dtype: Any = None, **more: Any) -> Code:
    """From numbers."""
    value = plain(data)
    kind = torch.tensor(value).dtype
    return call("ms.Tensor", data, dtype_of(dtype, more, kind))


@function("meshgrid")
def meshgrid(*tensors: Any, indexing: str | None = None) -> Code:
    """torch's default indexing is "ij"."""
    return call("ops.meshgrid", *shape_of(tensors), indexing=indexing or "ij")
