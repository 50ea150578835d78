"""A schedule that went on in MindSpore goes on in torch, as if it had never left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_scheduler import MAKE, after, ms_optimizer_of, optimizer_of, rates_of, theirs

from dsbridge.checkpoint import convert_scheduler, scheduler_to_torch
from dsbridge.checkpoint.scheduler import ARGUMENTS
from dsbridge.errors import CheckpointError
from dsbridge.frameworks.mindspore_tensors import tensor_type


@pytest.fixture(scope="module", autouse=True)
def warm_mindspore() -> None:
    tensor_type()


@pytest.mark.parametrize("kind", [kind for kind in MAKE if kind in ARGUMENTS])
def test_there_and_back(kind: str) -> None:
    """4 steps in torch, 5 in MindSpore, 10 more in torch: the rates of 19 torch steps, bit for bit."""
    _, scheduler = after(kind, 4)
    attached = convert_scheduler(scheduler, 1).attach(ms_optimizer_of())
    for _ in range(5):
        attached.step()
    optimizer = optimizer_of()
    back = MAKE[kind](optimizer)
    assert scheduler_to_torch(attached, back).ok and back.last_epoch == 9
    want, reference = after(kind, 9)
    for _ in range(10):
        assert rates_of(optimizer) == rates_of(want)
        for one, stepper in ((optimizer, back), (want, reference)):
            one.step()
            stepper.step()
    assert back.state_dict().keys() == reference.state_dict().keys()


def plateau(optimizer: Any) -> Any:
    return theirs.ReduceLROnPlateau(optimizer, "min", 0.5, 2, cooldown=1, min_lr=[1e-4, 1e-3])


def test_plateau_keeps_what_it_has_seen() -> None:
    losses = np.random.default_rng(3).uniform(0.5, 1.0, 40).astype(np.float32).tolist()
    reference, first = optimizer_of(), optimizer_of()
    whole, start = plateau(reference), plateau(first)
    for loss in losses[:9]:
        start.step(loss)
    attached = convert_scheduler(start, 1).attach(ms_optimizer_of())
    for loss in losses[9:20]:
        attached.step(loss)
    optimizer = optimizer_of()
    back = plateau(optimizer)
    scheduler_to_torch(attached, back)
    for loss in losses[:20]:
        whole.step(loss)
    for loss in losses[20:]:
        np.testing.assert_allclose(rates_of(optimizer), rates_of(reference), rtol=1e-6)
        whole.step(loss)
        back.step(loss)


def test_what_is_refused() -> None:
    _, scheduler = after("StepLR", 4)
    attached = convert_scheduler(scheduler, 1).attach(ms_optimizer_of())
    with pytest.raises(CheckpointError, match="a MindSpore StepLR and a torch ExponentialLR are no known pair"):
        scheduler_to_torch(attached, MAKE["ExponentialLR"](optimizer_of()))
    with pytest.raises(CheckpointError, match="stepped 4 times already"):
        scheduler_to_torch(attached, scheduler)
    with pytest.raises(CheckpointError, match="has 1 param groups, MindSpore's 2"):
        scheduler_to_torch(attached, theirs.StepLR(optimizer_of((0.1,)), 3, 0.5))
    optimizer = optimizer_of()
    with pytest.raises(CheckpointError, match="after as many steps torch's StepLR has rates"):
        scheduler_to_torch(attached, theirs.StepLR(optimizer, 2, 0.5))
    assert rates_of(optimizer) == [0.1, 0.025]
