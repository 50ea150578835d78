"""The text of train.py: whatever it is made of, no name is missing and none is imported for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from dsbridge.migrate.averages import averages_source
from dsbridge.migrate.optimizer import optimizer_source
from dsbridge.migrate.pattern import Pattern
from dsbridge.migrate.schedule import schedule_source
from dsbridge.migrate.train_source import Parts, train_source

PATTERNS = {
    "plain": Pattern(accumulate=1),
    "clipped by norm": Pattern(accumulate=1, clips=(("norm", 1.0),)),
    "clipped by value, several batches": Pattern(accumulate=2, clips=(("value", 0.5),)),
}


@pytest.mark.parametrize("begun", [False, True], ids=["fresh", "under way"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.RAdam], ids=["SGD", "RAdam"])
def test_no_name_is_missing_or_for_nothing(make: type[torch.optim.Optimizer], pattern: Pattern, begun: bool) -> None:
    """Ruff looks at it as at a user's file."""
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = make([weight], lr=0.1)  # type: ignore[call-arg]
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    pattern.scheduler_every = "epoch"
    averages = averages_source(AveragedModel(torch.nn.Linear(1, 1))) if begun else None
    parts = Parts(
        title="Trains.",
        model="Net",
        arguments=["x", "y"],
        pattern=pattern,
        optimizer=optimizer_source(optimizer, {id(weight): ("fc.weight", 2)}),
        schedule=schedule_source(scheduler, optimizer),
        epochs=1,
        averages=averages,
        begun=begun,
    )
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,I001", "--line-length", "128", "-"]
    done = subprocess.run(command, input=train_source(parts), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
