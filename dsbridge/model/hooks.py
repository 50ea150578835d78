"""Hooks, and backward runs within a forward: nothing of them is seen among the functions that a forward calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dsbridge.errors import Unsupported
from dsbridge.model.nodes import Place

HINT = "remove them, or write them into forward"
_OF_MODULES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OF_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_CALLS = {
    "register_hook": "a hook changes the gradient, which is not seen in forward",
    "register_post_accumulate_grad_hook": "a hook runs after backward, which is not seen in forward",
}


def refuse_hooks(model: torch.nn.Module) -> None:
    """Raise ``Unsupported`` for hooks on modules, on parameters, and on all modules of the process."""
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.modules.lazy.LazyModuleMixin):
            text = "its parameters have no shape before the first call"
            raise Unsupported(path, type(module).__name__, "", text, "run the model once before it is converted")
        for kind in _OF_MODULES:
            if getattr(module, kind, None):
                raise Unsupported(path, kind.strip("_"), "", "what hooks do is not seen in forward", HINT)
    for path, parameter in model.named_parameters():
        for kind in _OF_TENSORS:
            if getattr(parameter, kind, None):
                raise Unsupported(path, kind.strip("_"), "", "what hooks do to a gradient is not seen in forward", HINT)
    for kind in _OF_MODULES:
        if getattr(torch.nn.modules.module, f"_global{kind}", None):
            raise Unsupported("", f"global{kind}", "", "what hooks on all modules do is not seen in forward", HINT)


def refuse_hooking(path: str, name: str, place: Place) -> None:
    """Raise ``Unsupported`` for a call that hooks something onto a tensor."""
    if name in _CALLS:
        raise Unsupported(path, name, str(place), _CALLS[name], "write it as a torch.autograd.Function with an entry")


@contextmanager
def no_engine(where: Callable[[], tuple[str, Place]]) -> Iterator[None]:
    """Refuse ``backward`` and ``torch.autograd.grad`` meanwhile: what they compute would be taken for a constant."""
    autograd: Any = torch.autograd
    original = autograd._engine_run_backward

    def refuse(*_: Any, **__: Any) -> None:
        path, place = where()
        raise Unsupported(path, "backward", str(place), "its forward computes gradients", "compute them in the training step")

    autograd._engine_run_backward = refuse
    try:
        yield
    finally:
        autograd._engine_run_backward = original
