"""The order in which both models run their modules, for the alignment that proposes where tensors go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from dsbridge.checkpoint.forward import both_run, evaluated
from dsbridge.checkpoint.pairing import modules
from dsbridge.errors import CheckpointError


class Execution(NamedTuple):
    """Paths of the modules that ran, in the order of their first call.

    >>> Execution(("conv1", "fc"), ("0", "2")).cells
    ('0', '2')
    """

    modules: tuple[str, ...]
    cells: tuple[str, ...]


def execution(model: Any, network: Any, inputs: Any) -> Execution:
    """Run a torch model and a MindSpore network once, in eval mode, and note in which order their modules are called.

    ``inputs`` as for ``verify``: an array, a tuple or list of arrays, or a dict of them by argument name. Training modes are
    left as they were. Raises ``CheckpointError`` where no module is seen to run (a network compiled as a whole).
    """
    ran: tuple[list[str], list[str]] = ([], [])
    with contextlib.ExitStack() as stack:
        for side, calls in zip((model, network), ran, strict=True):
            for path, module in modules(side).items():
                stack.callback(module.register_forward_pre_hook(_noting(path, calls)).remove)
        with evaluated(model, network):
            both_run(model, network, inputs)
    for name, calls in (("model", ran[0]), ("network", ran[1])):
        if len(calls) < 2:
            raise CheckpointError(
                f"inputs=: no module inside the {name} was seen to run, so there is no order of execution",
                hint="run it uncompiled (PyNative mode, no jit), or leave inputs= out",
            )
    return Execution(*(tuple(dict.fromkeys(calls)) for calls in ran))


def _noting(path: str, calls: list[str]) -> Callable[[Any, Any], None]:
    def hook(module: Any, given: Any) -> None:
        calls.append(path)

    return hook
