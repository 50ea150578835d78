"""Inputs of other sizes, made from an example's: one sample more, and other lengths of the axes behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dsbridge.model.frames import leaves


@dataclass(frozen=True, slots=True)
class Sized:
    """Inputs by position and by name; ``what`` says how they differ; ``batch``: along the first axis."""

    what: str
    inputs: tuple[tuple[Any, ...], dict[str, Any]]
    batch: bool = False


def other_sizes(inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Sized]:
    """One sample more; then each axis behind the first, half as long again for numbers, one shorter for indices.

    >>> [(one.what, one.inputs[0][0].shape) for one in other_sizes([torch.zeros(2, 5, dtype=torch.int64)], {})]
    [('one sample more', torch.Size([3, 5])), ('axis 1 of length 4', torch.Size([2, 4]))]
    """
    tensors = [one for one in leaves((tuple(inputs), dict(kwargs))) if isinstance(one, torch.Tensor) and one.ndim]
    if len({one.shape[0] for one in tensors}) != 1:
        return
    yield Sized("one sample more", _resized(inputs, kwargs, 0, tensors[0].shape[0], tensors[0].shape[0] + 1), batch=True)
    whole = not any(one.dtype.is_floating_point for one in tensors)
    for axis in range(1, max(one.ndim for one in tensors)):
        size = next(one.shape[axis] for one in tensors if one.ndim > axis)
        other = size - 1 if whole else size + (size + 1) // 2
        if other > 0:
            yield Sized(f"axis {axis} of length {other}", _resized(inputs, kwargs, axis, size, other))


def _resized(
    inputs: Sequence[Any], kwargs: Mapping[str, Any], axis: int, size: int, other: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """All tensors of that size on that axis cut, or filled up from their beginning."""

    def resized(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.ndim > axis and value.shape[axis] == size:
            return value.index_select(axis, torch.arange(other) % size)
        return value

    return tuple(map(resized, inputs)), {name: resized(one) for name, one in kwargs.items()}
