"""What to call a user's function or object in a message."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any


def name_of(value: Any) -> str:
    """A function as ``name @ file:line``, anything else by its class's name.

    >>> def double(x): return 2 * x
    >>> name_of(double).startswith("double @ ")
    True
    >>> name_of([]), name_of(functools.partial(int, base=2))
    ('list', 'partial(int)')
    """
    if isinstance(value, functools.partial):
        return f"partial({name_of(value.func)})"
    inner = getattr(value, "lambd", None)  # torchvision's Lambda
    if callable(inner):
        return f"{type(value).__name__}({name_of(inner)})"
    code = getattr(value, "__code__", None) or getattr(getattr(value, "__func__", None), "__code__", None)
    if code is not None:
        return f"{value.__name__} @ {Path(code.co_filename).name}:{code.co_firstlineno}"
    return (
        getattr(value, "__name__", type(value).__name__) if isinstance(value, type) or callable(value) else type(value).__name__
    )
