"""torch.amp.GradScaler <-> mindspore.amp.DynamicLossScaler: the same scales after the same overflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsbridge.checkpoint.param_groups import assign, number
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.detect import require_mindspore
from dsbridge.frameworks.mindspore_tensors import tensor_type
from dsbridge.report import Report

KEYS = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")


def scaler_options(state: Mapping[str, Any], report: Report | None = None) -> dict[str, Any]:
    """The arguments of a DynamicLossScaler, and its ``counter``, from ``GradScaler.state_dict()``.

    MindSpore has one whole factor both ways and no scale below 1: raises ``CheckpointError`` where torch's are others.

    >>> state = {"scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 100, "_growth_tracker": 7}
    >>> scaler_options(state)
    {'scale_value': 1024.0, 'scale_factor': 2, 'scale_window': 100, 'counter': 7}
    """
    lost = [key for key in KEYS if key not in state]
    if lost:
        raise CheckpointError(
            f"not the state of an enabled GradScaler: it has no {', '.join(lost)}, but {sorted(state)}",
            hint="a disabled GradScaler has no state; leave it out",
        )
    growth, backoff, scale = (float(state[key]) for key in ("growth_factor", "backoff_factor", "scale"))
    if growth != int(growth) or growth < 1 or growth * backoff != 1:
        raise CheckpointError(
            f"growth_factor {growth} and backoff_factor {backoff}: DynamicLossScaler has one whole factor and its inverse",
            hint="use growth_factor=2.0, backoff_factor=0.5",
        )
    if not 1 <= scale < float("inf"):
        raise CheckpointError(f"the scale is {scale}, but DynamicLossScaler needs at least 1", hint="the training had diverged")
    if report is not None and scale < growth**10:
        report.add("scale-floor", "warning", "scale", f"it is {scale}; MindSpore's never falls below 1, torch's does")
    return {
        "scale_value": scale,
        "scale_factor": int(growth),
        "scale_window": int(state["growth_interval"]),
        "counter": int(state["_growth_tracker"]),
    }


def convert_scaler(torch_scaler_or_state: Any, report: Report | None = None) -> Any:
    """A ``mindspore.amp.DynamicLossScaler`` that goes on where torch's GradScaler (or its ``state_dict()``) stands."""
    mindspore = require_mindspore("convert_scaler")
    tensor_type()  # the first operation of a process is behind us
    state = torch_scaler_or_state if isinstance(torch_scaler_or_state, Mapping) else torch_scaler_or_state.state_dict()
    options = scaler_options(state, report)
    counter = options.pop("counter")
    scaler = mindspore.amp.DynamicLossScaler(**options)
    assign(scaler.counter, counter)
    return scaler


def scaler_to_torch(ms_scaler: Any) -> dict[str, Any]:
    """What ``GradScaler.load_state_dict`` takes, from a DynamicLossScaler."""
    factor = float(number(ms_scaler.scale_factor))
    return {
        "scale": float(number(ms_scaler.scale_value)),
        "growth_factor": factor,
        "backoff_factor": 1 / factor,
        "growth_interval": int(number(ms_scaler.scale_window)),
        "_growth_tracker": int(number(ms_scaler.counter)),
    }
