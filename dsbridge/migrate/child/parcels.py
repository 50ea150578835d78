"""Live objects on their way out of the script's process: pickled by value, so that classes of the script go with them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import cloudpickle
import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from dsbridge.frameworks import pickling
from dsbridge.migrate.child.slicing import Slice
from dsbridge.migrate.child.where import is_users


def by_value(value: Any) -> bytes:
    """A pickle that holds the code of the user's own modules."""
    named = [module for module in list(sys.modules.values()) if _is_users(module)]
    for module in named:
        cloudpickle.register_pickle_by_value(module)
    try:
        return pickling.dumps(value)
    finally:
        for module in named:
            cloudpickle.unregister_pickle_by_value(module)


def _is_users(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file) and getattr(module, "__name__", "") != "__main__" and module.__name__ in sys.modules and is_users(file)


def users_modules() -> list[tuple[str, str]]:
    """Name of each of the user's modules that can be imported, and the folder in which it is found."""
    found = []
    for name, module in list(sys.modules.items()):
        if _is_users(module) and "." not in name:
            file = os.path.abspath(str(module.__file__))
            folder = os.path.dirname(file)
            found.append((name, os.path.dirname(folder) if os.path.basename(file) == "__init__.py" else folder))
    return found


def loader(live: Any) -> bytes | str:
    """A loader as it is before it is iterated, or why it cannot be pickled."""
    kept = live._iterator
    live._iterator = None  # of persistent workers
    try:
        return by_value(live)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    finally:
        live._iterator = kept


def start(
    step: Slice,
    optimizer: Any,
    schedulers: Iterable[Any],
    buffers: dict[int, tuple[torch.Tensor, torch.Tensor]],
    averages: tuple[str, Any] | None,
) -> bytes | str:
    """Everything that trains, with buffers as they were before the first forward; or why it cannot be pickled."""
    now = [(live, live.detach().clone()) for live, _ in buffers.values()]
    _write(buffers.values())
    try:
        with _unhooked():
            return by_value(
                {
                    "program": step.program,
                    "modules": step.modules,
                    "tensors": step.tensors,
                    "optimizer": optimizer,
                    "schedulers": {id(one): one for one in schedulers},
                    "averages": averages,
                }
            )
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    finally:
        _write(now)


@contextlib.contextmanager
def _unhooked() -> Iterator[None]:
    """Without our hooks on optimizers: the step of a class of the script's own holds torch's table of them."""
    tables = _global_optimizer_pre_hooks, _global_optimizer_post_hooks
    held = [dict(table) for table in tables]
    for table in tables:
        table.clear()
    try:
        yield
    finally:
        for table, hooks in zip(tables, held, strict=True):
            table.update(hooks)


def _write(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for live, value in pairs:
        live.data.copy_(value)  # data: a graph that holds it, of another backward to come, is not to notice


def state(step: Slice, optimizer: Any) -> dict[str, Any]:
    """Weights and buffers by name, and the optimizer's state, as they are now."""
    weights = {
        f"{name}.{path}": tensor.detach().clone() for name, module in step.modules.items() for path, tensor in _held(module)
    }
    weights |= {name: tensor.detach().clone() for name, tensor in step.tensors.items()}
    kept = {
        number: {key: _copy(value) for key, value in slots.items()} for number, slots in optimizer.state_dict()["state"].items()
    }
    return {"weights": weights, "optimizer": kept}


def _held(module: Any) -> Iterable[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
