"""The training state that MindSpore's formats cannot hold, in a JSON file."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore.experimental import optim as experimental

from dsbridge.checkpoint.sidecar import Sidecar, capture, read_sidecar, restore, sidecar_path, write_sidecar
from dsbridge.errors import CheckpointError

FULL = Sidecar(
    epoch=3,
    step=300,
    optimizer="experimental.NAdam",
    scheduler="StepLR",
    values={"lr": [0.1, 1 / 3, 5e-324, -0.0, math.inf, -math.inf], "none": []},
    scaler={"scale_value": 65536.0, "counter": 3},
    param_groups=[{"params": ["w"], "betas": [0.9, 0.999], "amsgrad": False}],
    extra={"note": "café", "nested": {"best": math.inf, "list": [1, None, True]}},
)


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sidecar(path, FULL)
    assert read_sidecar(path) == FULL
    assert math.copysign(1, read_sidecar(path).values["lr"][3]) == -1
    assert '"epoch": 3' in path.read_text() and "0.3333333333333333" in path.read_text()
    write_sidecar(path, Sidecar(values={"x": [math.nan]}))
    assert math.isnan(read_sidecar(path).values["x"][0])
    assert path.stat().st_mode & 0o777 == 0o644
    assert sidecar_path("x/y.ckpt") == Path("x/y.ckpt.training.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": -1}, "epoch must be a whole number from 0, got '-1'"),
        ({"step": 1.0}, "step must be"),
        ({"step": True}, "step must be"),
        ({"values": {"a": 1.0}}, "values must be lists of numbers"),
        ({"values": {"a": ["1.0"]}}, "values must be lists of numbers"),
        ({"scaler": {"a": [1]}}, "scaler must be"),
        ({"param_groups": {}}, "param_groups must be"),
        ({"version": 2}, "has version 2, this dsbridge reads 1"),
        ({"format": "other"}, "expected format 'dsbridge-training-state', got 'other'"),
        ({"surplus": 1}, r"missing \[\], unknown \['surplus'\]"),
    ],
)
def test_the_schema_is_checked(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.json"
    write_sidecar(path, FULL)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        read_sidecar(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100000, '{"a": {"$float": "x"}}', "\x00"]
)
def test_what_is_no_sidecar(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="no training state"):
        read_sidecar(path)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_sidecar(tmp_path / "b.json")


def test_corruptions(tmp_path: Path) -> None:
    """500 seeded: a CheckpointError, or a state that passes the schema; never another exception."""
    path = tmp_path / "a.json"
    write_sidecar(path, FULL)
    good, rng, refused = path.read_bytes(), random.Random(1), 0
    for _ in range(500):
        bad = bytearray(good)
        match rng.randrange(3):
            case 0:
                del bad[rng.randrange(len(bad)) :]
            case 1:
                bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            case _:
                at = rng.randrange(len(bad))
                bad[at : at + rng.randrange(8)] = rng.randbytes(rng.randrange(8))
        path.write_bytes(bad)
        try:
            read_sidecar(path)
        except CheckpointError:
            refused += 1
    assert refused > 250


@pytest.mark.parametrize("value", [np.float32(0.1), np.ones(2), object(), {1: 2}, {"$float": 1}, 1j])
def test_what_json_has_not_leaves_the_old_file(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.json"
    write_sidecar(path, FULL)
    with pytest.raises(CheckpointError, match="extra: x|must be text|extra"):
        write_sidecar(path, Sidecar(extra={"x": value} if not isinstance(value, dict) else value))
    assert read_sidecar(path) == FULL and os.listdir(tmp_path) == ["a.json"]


def training() -> tuple[ms.Parameter, Any, Any, Any]:
    parameter = ms.Parameter(ms.Tensor(np.ones(3, np.float32)), name="w")
    optimizer = experimental.NAdam([parameter], lr=0.1)
    scheduler = experimental.lr_scheduler.StepLR(optimizer, 2, 0.5)
    return parameter, optimizer, scheduler, ms.amp.DynamicLossScaler(1024, 2, 3)


def steps(optimizer: Any, scheduler: Any, scaler: Any, count: int) -> None:
    for _ in range(count):
        optimizer((ms.Tensor(np.full(3, 0.5, np.float32)),))
        scheduler.step()
        scaler.adjust(ms.Tensor(True))


def test_what_save_checkpoint_leaves_out(tmp_path: Path) -> None:
    """NAdam's mu_product (a Python list), group rates, scheduler and loss scale: with them a restart goes on exactly."""
    parameter, *parts = training()
    steps(*parts, 5)
    optimizer, scheduler, scaler = parts
    saved = [
        {"name": p.name, "data": ms.Tensor(p.asnumpy().copy())}
        for p in {id(p): p for p in [*optimizer.get_parameters(), parameter]}.values()
    ]
    ms.save_checkpoint(saved, str(tmp_path / "a.ckpt"))
    write_sidecar(tmp_path / "a.json", capture(optimizer, scheduler, epoch=1, step=5, scaler=scaler))
    steps(*parts, 5)
    again, *others = training()
    steps(*others, 1)  # in use, and so compiled, already
    held = {p.name: p for p in [*others[0].get_parameters(), again]}
    for name, value in ms.load_checkpoint(str(tmp_path / "a.ckpt")).items():
        ms.ops.assign(held[name], value)
    sidecar = read_sidecar(tmp_path / "a.json")
    assert set(sidecar.values) == {"group.0.lr", "optimizer.mu_product.w", "scheduler.last_epoch"}
    restore(sidecar, others[0], others[1], scaler=others[2])
    steps(*others, 5)
    assert np.array_equal(again.asnumpy(), parameter.asnumpy())
    assert float(others[2].scale_value.asnumpy()) == float(scaler.scale_value.asnumpy())


def test_a_training_that_was_built_otherwise(tmp_path: Path) -> None:
    _, optimizer, scheduler, scaler = training()
    state = capture(optimizer, scheduler)
    with pytest.raises(CheckpointError, match="StepLR.*the training has"):
        restore(state, optimizer)
    with pytest.raises(CheckpointError, match="no loss scale"):
        restore(state, optimizer, scheduler, scaler=scaler)
    two = [ms.Parameter(ms.Tensor(np.ones(3, np.float32)), name=name) for name in "wv"]
    wider = experimental.NAdam(two, lr=0.1)
    with pytest.raises(CheckpointError) as error:
        restore(state, wider, experimental.lr_scheduler.StepLR(wider, 2, 0.5))
    assert error.value.missing == ["optimizer.mu_product.v"]
