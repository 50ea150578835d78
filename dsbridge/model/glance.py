"""A first look at a converted model: does it run, and are its outputs roughly the original's. ``verify`` is the proof."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dsbridge.model.calls import passed
from dsbridge.model.copies import copied
from dsbridge.model.frames import leaves
from dsbridge.model.judge import relative

ROUGHLY = 1e-2


def glance(model: Any, cell: Any, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Run both in eval mode, PyNative, in this process; what is wrong, or "". MindSpore's mode is left as it was."""
    import mindspore as ms

    from dsbridge.model.child.run_cell import tensors

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        own, own_args, own_kwargs = copied(model), *copy.deepcopy((tuple(args), dict(kwargs)))
        generator = torch.get_rng_state()
        expected = [one.numpy() for one in leaves(own.eval()(*own_args, **own_kwargs)) if isinstance(one, torch.Tensor)]
        random = not torch.equal(torch.get_rng_state(), generator)

    def given(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return ms.Tensor(value.detach().numpy())
        if isinstance(value, (tuple, list)):
            return tuple(map(given, value))
        return {key: given(one) for key, one in value.items()} if isinstance(value, Mapping) else value

    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        outputs = cell.set_train(False)(*map(given, passed(model.forward, names, args, kwargs)))
        got = [one.asnumpy() for one in tensors(outputs)]
    except Exception as exc:
        return f"it does not run: {type(exc).__name__}: {str(exc).strip().splitlines()[0]}"
    finally:
        ms.set_context(mode=mode)
    if [one.shape for one in expected] != [one.shape for one in got]:
        return f"outputs have shapes {[one.shape for one in got]}, expected {[one.shape for one in expected]}"
    if random:
        return ""  # the proof puts constants in the place of random numbers
    worst = max((relative(a.astype(np.float64), b) for a, b in zip(expected, got, strict=True)), default=0.0)
    return f"outputs are off by {worst:.2g}, relative" if worst > ROUGHLY else ""
