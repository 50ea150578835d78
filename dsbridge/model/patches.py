"""What of torch is another while a model is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def autograd_functions(call_of: Callable[[str, Callable[..., Any], Any, Any], Any]) -> Iterator[None]:
    """Have calls of ``torch.autograd.Function`` classes go through ``call_of(name, call, args, kwargs)``."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return call_of(cls.__name__, original.__get__(None, cls), args, kwargs)

    torch.autograd.Function.apply = classmethod(apply)
    try:
        yield
    finally:
        torch.autograd.Function.apply = original


@contextmanager
def masks_as_given() -> Iterator[None]:
    """Keep transformers from looking at a mask's values for whether it is the causal one, which only saves time."""
    transformer: Any = torch.nn.modules.transformer
    original = transformer._detect_is_causal_mask
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: bool(is_causal)
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = original
