"""Averages of weights, beside them."""

from __future__ import annotations

import mindspore as ms
from mindspore import ops


def keep_averages(optimizer, decay=None, statistics=()):
    """Keep averages of an optimizer's parameters, as torch.optim.swa_utils.AveragedModel does; they train nothing.

    They are ``optimizer.averages``, in the order of ``optimizer.averaged_names``, and ``average.NAME`` in checkpoints.
    ``decay``: what stays of an average in each step; None: all steps count alike. ``statistics``: other parameters that are
    averaged. Returns a function to be called after each step.
    """
    weights = ms.ParameterTuple([*optimizer.parameters, *statistics])
    averages = optimizer.averages = weights.clone(prefix="average")
    optimizer.averaged_names = [weight.name for weight in weights]
    count = optimizer.averaged = ms.Parameter(ms.Tensor(0, ms.int32), name="averaged", requires_grad=False)

    def average():
        done = count.astype(ms.float32)
        part = 1.0 / (done + 1.0) if decay is None else ops.maximum(1.0 - done, 1.0 - decay)  # the first is a copy
        for number in range(len(averages)):
            ops.assign(averages[number], averages[number] + (weights[number] - averages[number]) * part)
        ops.assign_add(count, 1)
        return 0

    return average
