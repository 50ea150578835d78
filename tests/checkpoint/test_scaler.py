"""Loss scales after the same overflows."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch

from dsbridge.checkpoint.scaler import convert_scaler, scaler_options, scaler_to_torch
from dsbridge.errors import CheckpointError
from dsbridge.report import Report

STATE = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 4, "_growth_tracker": 3}


def torch_scaler(state: dict[str, Any]) -> Any:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.load_state_dict(state)
    return scaler


def torch_update(scaler: Any, overflow: bool) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scaler.scale(torch.zeros(1))  # it makes its tensor on first use
    weight.grad = torch.tensor([float("inf") if overflow else 1.0])
    scaler.step(optimizer)
    scaler.update()


def test_forty_random_overflows() -> None:
    flags = np.random.default_rng(5).random(40) < 0.25
    theirs = torch_scaler(STATE)
    ours = convert_scaler(theirs)
    seen = set()
    for flag in flags:
        torch_update(theirs, bool(flag))
        ours.adjust(ms.Tensor(not flag))
        state = theirs.state_dict()
        assert float(ours.scale_value.asnumpy()) == state["scale"]
        assert int(ours.counter.asnumpy()) == state["_growth_tracker"]
        seen.add(state["scale"])
    assert len(seen) > 4
    assert scaler_to_torch(ours) == theirs.state_dict()


def test_there_and_back() -> None:
    assert scaler_to_torch(convert_scaler(STATE)) == STATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backoff_factor": 0.25}, "backs off|one whole factor"),
        ({"growth_factor": 1.5, "backoff_factor": 1 / 1.5}, "one whole factor"),
        ({"scale": 0.5}, "needs at least 1"),
        ({"scale": float("inf")}, "needs at least 1"),
    ],
)
def test_what_mindspore_cannot_do(change: dict[str, float], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        scaler_options({**STATE, **change})


def test_a_disabled_scaler_has_no_state() -> None:
    with pytest.raises(CheckpointError, match="not the state of an enabled GradScaler"):
        convert_scaler(torch.amp.GradScaler("cpu", enabled=False))


def test_the_floor_is_said() -> None:
    report = Report("scaler")
    scaler_options({**STATE, "scale": 16.0}, report)
    assert "scale-floor" in report
