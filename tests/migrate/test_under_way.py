"""A training that is under way: moments, counts and schedule go on where they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import dsbridge as dsb
from dsbridge.migrate.setup_plan import verify_written


def setup_after(steps: int, make: Any = torch.optim.AdamW) -> dsb.migrate.TrainingSetup:
    """A small training that has done some steps of its second epoch."""
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    optimizer = make(net.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1).long() % 3), batch_size=8, shuffle=True)
    loss = torch.nn.CrossEntropyLoss()
    for _, (inputs, labels) in zip(range(steps), loader, strict=False):
        optimizer.zero_grad()
        loss(net(inputs), labels).backward()
        optimizer.step()
        scheduler.step()
    return dsb.migrate.TrainingSetup(
        model=net,
        loss=loss,
        optimizer=optimizer,
        loader=loader,
        scheduler=scheduler,
        scheduler_every="step",
        epoch=1,
        step=steps,
    )


def test_files_hold_the_state_of_the_optimizer_and_how_far_it_is() -> None:
    """A fresh one has none, and nothing is loaded."""
    plan = dsb.migrate.plan(setup_after(5), steps=4)
    assert 'load_optimizer(optimizer, dict(np.load(HERE / "optimizer.npz")))' in plan.files["train.py"]
    assert json.loads(plan.files["state.json"]) == {"epoch": 1, "step": 5}
    assert plan.report.ok, plan.report
    fresh = dsb.migrate.plan(setup_after(0), steps=4)
    assert "load_optimizer" not in fresh.files["train.py"]


def test_a_state_without_a_place_is_refused_by_name() -> None:
    """Here: a state that somebody added."""
    setup = setup_after(5)
    state = setup.optimizer.state[setup.optimizer.param_groups[0]["params"][0]]
    state["mine"] = torch.ones(2)
    plan = dsb.migrate.plan(setup, steps=2)
    (error,) = [one for one in plan.report if one.severity == "error"]
    assert error.code == "optimizer-unsupported" and "mine" in error.message


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.NAdam], ids=lambda make: make.__name__)
def test_it_goes_on_as_torch_does(tmp_path: Path, make: Any) -> None:
    """Verified in both modes; without the state it is not."""
    plan = dsb.migrate.plan(setup_after(5, make), steps=10)
    report = plan.verify(10)
    assert report.ok, report
    plan.write(tmp_path)
    text = (tmp_path / "train.py").read_text()
    (line,) = re.findall(r"    load_optimizer\(.*\n", text)
    (tmp_path / "train.py").write_text(text.replace(line, ""))
    assert verify_written(tmp_path, 10).stage == "optimizer"
