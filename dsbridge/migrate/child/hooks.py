"""Torch's entry points, wrapped so that a session hears of them; a child process ends with them, nothing is put back."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Protocol

import torch
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from dsbridge.migrate.child.files import Saved
from dsbridge.migrate.child.where import called_by_user


class Listener(Protocol):
    """What a session is told. ``aside``: what is done within is not the script's own; ``is_aside``: whether that is so now."""

    @property
    def is_aside(self) -> bool: ...
    def aside(self) -> AbstractContextManager[None]: ...
    def epoch_begins(self, loader: Any) -> None: ...
    def batch_fetched(self, loader: Any, batch: Any) -> None: ...
    def epoch_ended(self, loader: Any) -> None: ...
    def module_begins(self, module: Any, args: Any, kwargs: Any) -> None: ...
    def module_ended(self, module: Any, result: Any) -> None: ...
    def backward_begins(self, loss: Any, options: dict[str, Any]) -> None: ...
    def clipped(self, kind: str, parameters: Any, limit: float, options: dict[str, Any]) -> None: ...
    def step_begins(self, optimizer: Any, args: Any, kwargs: Any) -> None: ...
    def step_ended(self, optimizer: Any) -> None: ...
    def zeroed(self, owner: Any) -> None: ...
    def optimizer_made(self, optimizer: Any) -> None: ...
    def group_added(self, optimizer: Any) -> None: ...
    def scheduler_made(self, scheduler: Any) -> None: ...
    def scheduled(self, scheduler: Any, args: Any) -> None: ...
    def averages_made(self, averaged: Any, model: Any) -> None: ...
    def averages_taken(self, averaged: Any, model: Any) -> None: ...
    def noticed(self, code: str, text: str) -> None: ...
    def not_saved(self, path: Any) -> None: ...


def install(listener: Listener) -> None:
    """Wrap everything. Before the script is run, so that names that it imports are wrapped, too."""
    _loaders(listener)
    _backward(listener)
    _clipping(listener)
    register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: listener.step_begins(optimizer, args, kwargs))
    register_optimizer_step_post_hook(lambda optimizer, args, kwargs: listener.step_ended(optimizer))
    _after(listener, torch.optim.Optimizer, "zero_grad", lambda owner, *args, **kwargs: listener.zeroed(owner))
    _after(listener, torch.nn.Module, "zero_grad", lambda owner, *args, **kwargs: listener.zeroed(owner))
    _after(listener, torch.optim.Optimizer, "__init__", lambda owner, *args, **kwargs: listener.optimizer_made(owner))
    _after(listener, torch.optim.Optimizer, "add_param_group", lambda owner, *args, **kwargs: listener.group_added(owner))
    _schedulers(listener)
    averaged = torch.optim.swa_utils.AveragedModel
    _after(listener, averaged, "__init__", lambda owner, model, *args, **kwargs: listener.averages_made(owner, model))
    _after(listener, averaged, "update_parameters", lambda owner, model: listener.averages_taken(owner, model))
    _notices(listener)
    Saved(listener.not_saved).install()


def _after(listener: Listener, owner: Any, name: str, tell: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with listener.aside():
            result = original(*args, **kwargs)
        tell(*args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _loaders(listener: Listener) -> None:
    cls = torch.utils.data.DataLoader
    original = cls.__iter__

    class Heard:
        """An iterator of a loader that tells what it yields; all else is the iterator's."""

        def __init__(self, loader: Any) -> None:
            listener.epoch_begins(loader)
            with listener.aside():
                self._loader, self._inner = loader, original(loader)

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            try:
                with listener.aside():
                    batch = next(self._inner)
            except StopIteration:
                listener.epoch_ended(self._loader)
                raise
            listener.batch_fetched(self._loader, batch)
            return batch

        def __len__(self) -> int:
            return len(self._inner)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    cls.__iter__ = lambda self: Heard(self)


def modules(listener: Listener) -> Callable[[], None]:
    """Tell of every module's call; the result takes that back, as it slows each call."""
    original = torch.nn.Module.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        listener.module_begins(self, args, kwargs)
        result = None
        try:
            result = original(self, *args, **kwargs)
        finally:
            listener.module_ended(self, result)
        return result

    torch.nn.Module.__call__ = call

    def remove() -> None:
        torch.nn.Module.__call__ = original

    return remove


def _backward(listener: Listener) -> None:
    original, plain = torch.Tensor.backward, torch.autograd.backward

    @wraps(original)
    def backward(self: Any, *args: Any, **kwargs: Any) -> Any:
        listener.backward_begins(
            self, {**dict(zip(("gradient", "retain_graph", "create_graph"), args, strict=False)), **kwargs}
        )
        with listener.aside():  # torch's own calls the other one under a mode
            return plain((self,), *args, **kwargs)

    @wraps(plain)
    def many(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        if not listener.is_aside:
            for one in (tensors,) if isinstance(tensors, torch.Tensor) else tensors:
                listener.backward_begins(one, kwargs)
        with listener.aside():
            return plain(tensors, *args, **kwargs)

    torch.Tensor.backward = backward
    torch.autograd.backward = many
    _after(
        listener,
        torch.autograd,
        "grad",
        lambda *args, **kwargs: listener.noticed("second-gradient", "torch.autograd.grad is called in the training step"),
    )


def _clipping(listener: Listener) -> None:
    for kind, limit in (("norm", "max_norm"), ("value", "clip_value")):
        _clip(listener, kind, f"clip_grad_{kind}_", limit)


def _clip(listener: Listener, kind: str, name: str, limit: str) -> None:
    original = getattr(torch.nn.utils, name)
    signature = inspect.signature(original)

    @wraps(original)
    def clip(*args: Any, **kwargs: Any) -> Any:
        options = dict(signature.bind(*args, **kwargs).arguments)
        parameters = options.pop("parameters")
        found = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)  # a generator is read once
        listener.clipped(kind, found, float(options[limit]), {key: one for key, one in options.items() if key != limit})
        with listener.aside():
            return original(found, **options)

    setattr(torch.nn.utils, name, clip)
    setattr(torch.nn.utils.clip_grad, name, clip)


def _schedulers(listener: Listener) -> None:
    depth = [0]  # schedulers call those that they consist of, and their constructors call step

    def guard(owner: Any, name: str, tell: Callable[..., None]) -> None:
        original = owner.__dict__[name]

        @wraps(original)
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            try:
                result = original(self, *args, **kwargs)
            finally:
                depth[0] -= 1
            if depth[0] == 0:
                tell(self, (*args, *kwargs.values()))
            return result

        setattr(owner, name, wrapped)

    for cls in {
        cls for cls in vars(lr_scheduler).values() if isinstance(cls, type) and cls.__module__ == lr_scheduler.__name__
    }:
        if "step" in vars(cls):
            guard(cls, "step", listener.scheduled)
        if "__init__" in vars(cls):
            guard(cls, "__init__", lambda made, args: listener.scheduler_made(made))


def _notices(listener: Listener) -> None:
    """What is not seen in a step's operations, but must be said."""
    tell = listener.noticed
    _after(
        listener,
        torch.distributed,
        "init_process_group",
        lambda *args, **kwargs: tell("distributed", "several processes train together; each file written here trains alone"),
    )

    def registered(*args: Any, **kwargs: Any) -> None:
        if called_by_user(os.path.join("torch", "library.py")):
            tell("custom-operation", "an operation is registered with torch.library: how it is computed is not torch's to say")

    for owner, name in ((torch.library.Library, "__init__"), (torch.library, "custom_op")):
        _after(listener, owner, name, registered)
    scaler = torch.amp.GradScaler

    def scaled(self: Any, *args: Any, **kwargs: Any) -> None:
        if self._enabled:
            tell("mixed-precision", "gradients are scaled for half precision, which is not carried over")

    _after(listener, scaler, "__init__", scaled)

    def lowered(self: Any, *args: Any) -> None:
        if self._enabled:
            tell(
                "mixed-precision", f"it runs in {self.fast_dtype} under autocast, in which nothing can be compared on this CPU"
            )

    _after(listener, torch.amp.autocast_mode.autocast, "__enter__", lowered)
    torch.compile = _uncompiled(listener)


def _uncompiled(listener: Listener) -> Any:
    def compile_(model: Any = None, **kwargs: Any) -> Any:
        listener.noticed("compile-left-out", "torch.compile is left out: MindSpore compiles the training step itself")
        return (lambda one: one) if model is None else model

    return compile_
