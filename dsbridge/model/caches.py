"""Caches that a forward fills with what does not depend on its inputs: the next call finds what it would make itself."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import torch

from dsbridge.model.held import Tensor, held
from dsbridge.model.nodes import CALL, INPUT, ITEM, MODULE, SIZE, STATE, Node
from dsbridge.model.source import functions

Origin = Callable[[torch.Tensor], Node | None]
_RANDOM = ("rand", "bernoulli", "dropout")


def fills(cls: type, name: str, before: Any, value: Any, origin: Origin) -> bool:
    """Whether an attribute was None, a dict or of another shape, and got tensors that are made of parameters and buffers alone.

    ``before``: what was held. Sizes and numbers may go into a tensor that is made anew where its shape is another's.
    """
    if isinstance(value, torch.Tensor) and (before == held(None) or isinstance(before, Tensor)):
        by_shape = _asks_for_shape(cls, name)
        anew = not isinstance(before, Tensor) or (before.tensor is not value and by_shape)
        return anew and _fixed(value, origin, numbers=by_shape)
    if not isinstance(value, dict) or not isinstance(before, tuple) or not isinstance(before[1], list):
        return False
    old = len(before[1])
    new = list(value.values())[old:]
    same = held(dict(list(value.items())[:old]))[1] == before[1]
    return same and all(isinstance(one, torch.Tensor) and _fixed(one, origin, numbers=False) for one in new)


def _fixed(tensor: torch.Tensor, origin: Origin, numbers: bool) -> bool:
    node = origin(tensor)
    waiting = [node]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or one.op in (INPUT, MODULE) or any(word in str(one.target) for word in _RANDOM):
            return False
        if not numbers and one.op != STATE and (one.op not in (CALL, ITEM) or _holds_number((one.args, one.kwargs))):
            return False  # float(x.shape[0]) does not remember that it is a size
        if one.op != SIZE and id(one) not in seen:
            seen.add(id(one))
            waiting += one.inputs()
    return True


def _holds_number(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, (tuple, list)):
        return any(map(_holds_number, value))
    return isinstance(value, (int, float, complex)) and not isinstance(value, bool)


def _asks_for_shape(cls: type, name: str) -> bool:
    """Whether a condition reads ``self.name.shape``."""
    tests = (part.test for _, function in functions(cls) for part in ast.walk(function) if isinstance(part, ast.If))
    asked = (part for test in tests for part in ast.walk(test) if isinstance(part, ast.Attribute))
    return any(
        one.attr in ("shape", "size") and isinstance(one.value, ast.Attribute) and one.value.attr == name for one in asked
    )
