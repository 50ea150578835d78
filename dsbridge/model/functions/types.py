"""Casts and moves."""

from __future__ import annotations

from typing import Any

import torch

from dsbridge.model.code import code
from dsbridge.model.functions.registry import function
from dsbridge.model.nodes import Node


def _cast(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else code("x.astype(d)", x=x, d=dtype)


@function("to")
def to(x: Any, *args: Any, **kwargs: Any) -> Any:
    """A dtype, or another tensor's; devices are MindSpore's business."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.dtype):
            return _cast(x, value)
        if isinstance(value, Node):
            return _cast(x, value.dtype)
    return x


@function("type_as")
def type_as(x: Any, other: Any) -> Any:
    """Another tensor's dtype."""
    return _cast(x, other.dtype)


@function("type")
def type_(x: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """A dtype."""
    return _cast(x, dtype)


def _method(name: str, dtype: torch.dtype) -> None:
    @function(name)
    def cast(x: Any, memory_format: Any = None) -> Any:
        return _cast(x, dtype)


for _name, _dtype in (
    ("float", torch.float32), ("double", torch.float64), ("half", torch.float16), ("bfloat16", torch.bfloat16),
    ("long", torch.int64), ("int", torch.int32), ("bool", torch.bool),
):  # fmt: skip
    _method(_name, _dtype)


@function("cpu")
def cpu(x: Any) -> Any:
    """MindSpore moves tensors itself."""
    return x
