"""Learning rates: every step from scratch and resumed, as a list and as MindSpore's own scheduler."""

from __future__ import annotations

import math
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn
from mindspore.experimental import optim as experimental
from torch.optim import lr_scheduler as theirs

from dsbridge.checkpoint.scheduler import ARGUMENTS, REPLAYED, convert_scheduler, next_rates
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.mindspore_tensors import tensor_type

STEPS = 20
BASE = (0.1, 0.025)  # two groups


@pytest.fixture(scope="module", autouse=True)
def warm_mindspore() -> None:
    tensor_type()


def optimizer_of(lrs: tuple[float, ...] = BASE) -> Any:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def ms_optimizer_of(lrs: tuple[float, ...] = BASE) -> Any:
    groups = [{"params": [ms.Parameter(ms.Tensor([0.0], ms.float32), name=f"p{i}")], "lr": lr} for i, lr in enumerate(lrs)]
    return experimental.SGD(groups, lr=1.0, momentum=0.9)


MAKE = {
    "StepLR": lambda o: theirs.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: theirs.MultiStepLR(o, [2, 5, 5, 11], 0.3),
    "ExponentialLR": lambda o: theirs.ExponentialLR(o, 0.9),
    "ConstantLR": lambda o: theirs.ConstantLR(o, 0.25, 9),
    "LinearLR": lambda o: theirs.LinearLR(o, 0.2, 0.9, 12),
    "PolynomialLR": lambda o: theirs.PolynomialLR(o, 15, 2.0),
    "CosineAnnealingLR": lambda o: theirs.CosineAnnealingLR(o, 13, 0.001),
    "CosineAnnealingWarmRestarts": lambda o: theirs.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "LambdaLR": lambda o: theirs.LambdaLR(o, [lambda e: [1.0, 0.5, 0.2][min(e // 4, 2)], lambda e: math.cos(e / 30)]),
    "MultiplicativeLR": lambda o: theirs.MultiplicativeLR(o, lambda e: 0.95 if e % 2 else 0.9),
    "CyclicLR": lambda o: theirs.CyclicLR(
        o, [0.01, 0.02], [0.1, 0.2], 3, 5, mode="exp_range", gamma=0.97, cycle_momentum=False
    ),
    "OneCycleLR": lambda o: theirs.OneCycleLR(o, 0.3, 40, cycle_momentum=False),
    "SequentialLR": lambda o: theirs.SequentialLR(o, [theirs.LinearLR(o, 0.1, 1.0, 5), theirs.CosineAnnealingLR(o, 20)], [5]),
    "ChainedScheduler": lambda o: theirs.ChainedScheduler([theirs.ConstantLR(o, 0.1, 4), theirs.ExponentialLR(o, 0.9)]),
}


def after(kind: str, steps: int) -> tuple[Any, Any]:
    optimizer = optimizer_of()
    scheduler = MAKE[kind](optimizer)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


def rates_of(optimizer: Any) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def ms_rates(optimizer: Any) -> list[float]:
    return [float(group["lr"].asnumpy()) for group in optimizer.param_groups]


def test_all_kinds_are_tried() -> None:
    assert set(MAKE) | {"ReduceLROnPlateau"} == set(ARGUMENTS) | set(REPLAYED)


@pytest.mark.parametrize("done", [0, 8])
@pytest.mark.parametrize("kind", [kind for kind in MAKE if kind in ARGUMENTS])
def test_attached(kind: str, done: int) -> None:
    """MindSpore's scheduler, from scratch and resumed, has torch's rate at every step; so has a look ahead."""
    optimizer, scheduler = after(kind, done)
    schedule = convert_scheduler(scheduler, 1)
    target = ms_optimizer_of((0.7, 0.7))  # the rates are the schedule's
    attached = schedule.attach(target)
    ahead = [schedule.upcoming(3, group) for group in (0, 1)]
    assert np.allclose(ahead, next_rates(attached, 3), rtol=2e-6, atol=1e-9)
    for step in range(STEPS):
        np.testing.assert_allclose(ms_rates(target), rates_of(optimizer), rtol=5e-6, atol=1e-8, err_msg=f"step {step}")
        if step < 3:
            assert [rates[step] for rates in ahead] == rates_of(optimizer)
        optimizer.step()
        scheduler.step()
        attached.step()


@pytest.mark.parametrize("done", [0, 8])
@pytest.mark.parametrize("kind", MAKE)
def test_per_step(kind: str, done: int) -> None:
    """The list for a nn optimizer: exact, indexed by global_step; what is past is NaN, so that a lost step shows."""
    optimizer, scheduler = after(kind, done)
    schedule = convert_scheduler(scheduler, 3)
    lists = [schedule.per_step(3 * (done + STEPS) + 1, group) for group in (0, 1)]
    assert all(math.isnan(rate) for rate in lists[0][: 3 * done])
    for step in range(3 * done, 3 * (done + STEPS)):
        assert [rates[step] for rates in lists] == rates_of(optimizer)
        if step % 3 == 2:
            optimizer.step()
            scheduler.step()
    assert len(lists[0]) == 3 * (done + STEPS) + 1
    built = nn.SGD([ms.Parameter(ms.Tensor([0.0], ms.float32), name="p")], lists[0])
    at = 3 * done + 4
    assert built.learning_rate(ms.Tensor([at], ms.int32)).asnumpy()[0] == np.float32(lists[0][at])


@pytest.mark.parametrize("kind", MAKE)
def test_looking_ahead_changes_nothing(kind: str) -> None:
    optimizer, scheduler = after(kind, 4)
    before = (rates_of(optimizer), scheduler.last_epoch if hasattr(scheduler, "last_epoch") else None)
    schedule = convert_scheduler(scheduler, 1)
    first = schedule.per_step(30)[10:]
    assert (rates_of(optimizer), before[1]) == before
    optimizer.step()
    scheduler.step()  # nor does what torch does afterwards change the schedule
    assert schedule.per_step(30)[10:] == first


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("done", [0, 9])
def test_plateau(done: int, mode: str) -> None:
    """The rate follows the losses to come: best, waiting and cooling down are taken over."""
    losses = np.random.default_rng(3).uniform(0.5, 1.0, 40).tolist()
    optimizer, target = optimizer_of(), ms_optimizer_of((0.7, 0.7))
    scheduler = theirs.ReduceLROnPlateau(optimizer, mode, 0.5, 2, cooldown=1, min_lr=[1e-4, 1e-3])
    for loss in losses[:done]:
        scheduler.step(loss)
    schedule = convert_scheduler(scheduler, 1)
    attached = schedule.attach(target)
    assert schedule.upcoming(3) == (rates_of(optimizer)[0],) * 3
    for loss in losses[done:]:
        np.testing.assert_allclose(ms_rates(target), rates_of(optimizer), rtol=1e-6)
        scheduler.step(loss)
        attached.step(ms.Tensor(loss, ms.float32))
    assert rates_of(optimizer)[0] < 0.05
    with pytest.raises(CheckpointError, match="losses to come.*attach"):
        schedule.per_step(10)


def test_what_cannot_be_attached() -> None:
    for kind in REPLAYED:
        with pytest.raises(CheckpointError, match=f"{kind} has no measured counterpart.*per_step"):
            convert_scheduler(after(kind, 2)[1], 1).attach(ms_optimizer_of())
    schedule = convert_scheduler(after("StepLR", 2)[1], 1)
    with pytest.raises(CheckpointError, match="2 param groups, the MindSpore optimizer 1"):
        schedule.attach(ms_optimizer_of((0.1,)))
    with pytest.raises(CheckpointError, match="SGD, which is no experimental optimizer.*per_step"):
        schedule.attach(nn.SGD([ms.Parameter(ms.Tensor([0.0], ms.float32), name="p")], 0.1))


def test_what_is_no_torch_scheduler() -> None:
    class Mine(theirs.StepLR):
        pass

    for value in (Mine(optimizer_of(), 3), {"last_epoch": 3}):
        with pytest.raises(CheckpointError, match="no known torch scheduler.*LambdaLR"):
            convert_scheduler(value, 1)
    with pytest.raises(CheckpointError, match="steps_per_epoch is 0"):
        convert_scheduler(after("StepLR", 0)[1], 0)


def test_cycled_momentum_is_said() -> None:
    scheduler = theirs.OneCycleLR(optimizer_of(), 0.3, 40)
    assert "momentum-cycles" in convert_scheduler(scheduler, 1).report
    assert len(convert_scheduler(after("OneCycleLR", 1)[1], 1).report) == 0
