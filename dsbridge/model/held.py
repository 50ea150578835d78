"""What an attribute holds, in a form that compares by value: plain values, in containers too; tensors by identity."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch

from dsbridge.model.frames import facts
from dsbridge.model.nodes import plain

PLAIN = (bool, int, float, str, bytes, complex, type(None), np.generic)
MOST, DEEPEST = 1000, 5  # elements, levels: of what is larger the length


class Tensor:
    """A tensor as it is now: equal to itself while nobody writes to it."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: torch.Tensor) -> None:
        """Keeps the tensor, as an identity is one's own only while it lives."""
        self.tensor, self.version = tensor, facts(tensor)[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and self.tensor is other.tensor and self.version == other.version


def held(value: Any, depth: int = 0) -> Any:
    """A value as it is now; objects of the user's own are all the same.

    >>> seen = [0, {"a": 1.0}]
    >>> before = held(seen)
    >>> seen[1]["a"] = 1
    >>> held(seen) == before
    False
    """
    if isinstance(value, PLAIN):
        return repr(plain(value))
    if isinstance(value, torch.Tensor):
        return Tensor(value)
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes() if value.dtype != object else b""
    if not isinstance(value, (list, tuple, deque, dict, set, frozenset)):
        return object
    kind = type(value).__name__
    if len(value) > MOST or depth == DEEPEST:
        return kind, len(value)
    if isinstance(value, (set, frozenset)):
        return kind, len(value), frozenset(repr(plain(one)) for one in value if isinstance(one, PLAIN))
    if isinstance(value, dict):
        return kind, [(held(key, depth + 1), held(one, depth + 1)) for key, one in value.items()]
    return kind, [held(one, depth + 1) for one in value]
