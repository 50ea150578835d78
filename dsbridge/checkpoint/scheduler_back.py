"""The way back: a torch scheduler stands where a MindSpore one does."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from dsbridge.checkpoint.param_groups import number
from dsbridge.checkpoint.scheduler import ARGUMENTS, COUNTERS
from dsbridge.errors import CheckpointError
from dsbridge.report import Report

_RELATIVE = 1e-4
"""MindSpore computes rates in float32, some of them step by step."""


def scheduler_to_torch(ms_scheduler: Any, torch_scheduler: Any) -> Report:
    """Bring a fresh torch scheduler, built with the same arguments, to where an experimental MindSpore one stands.

    torch's own steps are repeated, so that its rates are those of an uninterrupted torch training, bit for bit;
    ReduceLROnPlateau gets MindSpore's counters and rates, for they depend on losses. The torch optimizer's groups get the
    rates. Raises ``CheckpointError`` for other classes, a scheduler that was stepped already, and rates that then differ.
    """
    kind = type(torch_scheduler).__name__
    if type(ms_scheduler).__name__ != kind or kind not in ARGUMENTS:
        raise CheckpointError(
            f"a MindSpore {type(ms_scheduler).__name__} and a torch {kind} are no known pair",
            hint=f"build torch's {type(ms_scheduler).__name__}; known are {', '.join(ARGUMENTS)}",
        )
    if torch_scheduler.last_epoch != 0:
        raise CheckpointError(
            f"the torch {kind} was stepped {torch_scheduler.last_epoch} times already", hint="pass one that was just built"
        )
    theirs, ours = torch_scheduler.optimizer.param_groups, ms_scheduler.optimizer.param_groups
    if len(theirs) != len(ours):
        raise CheckpointError(f"the torch optimizer has {len(theirs)} param groups, MindSpore's {len(ours)}")
    steps = int(number(ms_scheduler.last_epoch))
    rates = [float(number(group["lr"])) for group in ours]
    if kind == "ReduceLROnPlateau":
        _set_plateau(ms_scheduler, torch_scheduler, steps, rates)
    else:
        before = [group["lr"] for group in theirs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "step() before optimizer.step()": those were MindSpore's
            for _ in range(steps):
                torch_scheduler.step()
        _compare(kind, theirs, rates, before)
    return Report(f"scheduler {kind}: {steps} steps")


def _set_plateau(ms_scheduler: Any, torch_scheduler: Any, steps: int, rates: list[float]) -> None:
    torch_scheduler.last_epoch = steps
    for theirs, ours in COUNTERS["ReduceLROnPlateau"]:
        value = number(getattr(ms_scheduler, ours))
        setattr(torch_scheduler, theirs, float(value) if theirs == "best" else int(value))
    for group, rate in zip(torch_scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    torch_scheduler._last_lr = list(rates)


def _compare(kind: str, groups: list[dict[str, Any]], rates: list[float], before: list[float]) -> None:
    got = [float(group["lr"]) for group in groups]
    if np.allclose(got, rates, rtol=_RELATIVE, atol=1e-9):
        return
    for group, rate in zip(groups, before, strict=True):
        group["lr"] = rate
    raise CheckpointError(
        f"after as many steps torch's {kind} has rates {got}, MindSpore's has {rates}",
        hint="build it with the same arguments and base rates; the scheduler that was passed is spent",
    )
