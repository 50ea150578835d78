"""Learning rates that scripts set by hand: read as functions of the step where they are, refused with the reason where not."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from helpers import lint

import dsbridge as dsb

HEAD = """
import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(48, 4)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8, shuffle=True)
net = nn.Linear(4, 1)
optimizer = torch.optim.SGD([{"params": [net.weight], "scale": 0.5}, {"params": [net.bias]}], lr=0.05, momentum=0.9)


def train(batch):
    inputs, targets = batch
    optimizer.zero_grad()
    loss = ((net(inputs) - targets) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss.item()
"""
LENGTH = 6  # steps of an epoch

UNDERSTOOD = {
    "each epoch, in a function": """
        def adjust_learning_rate(optimizer, epoch, args):
            lr = args.lr * (0.1 ** (epoch // 2))
            for param_group in optimizer.param_groups:
                param_group["lr"] = lr

        args = SimpleNamespace(lr=0.04)
        for epoch in range(1, 7):
            adjust_learning_rate(optimizer, epoch, args)
            for batch in loader:
                train(batch)
    """,
    "each step, a function with several returns": """
        warmup_iters, max_iters, learning_rate, min_lr = 5, 40, 0.05, 0.005

        def get_lr(it):
            if it < warmup_iters:
                return learning_rate * (it + 1) / (warmup_iters + 1)
            if it > max_iters:
                return min_lr
            ratio = (it - warmup_iters) / (max_iters - warmup_iters)
            assert 0 <= ratio <= 1
            coeff = 0.5 * (1.0 + math.cos(math.pi * ratio))
            return min_lr + coeff * (learning_rate - min_lr)

        decay_lr, iter_num = True, 0
        for epoch in range(5):
            for batch in loader:
                lr = get_lr(iter_num) if decay_lr else learning_rate
                for param_group in optimizer.param_groups:
                    param_group["lr"] = lr
                train(batch)
                iter_num += 1
    """,
    "each step, by parts of epochs and a number of the group": """
        def adjust(optimizer, epoch, args):
            if epoch < args["warmup"]:
                lr = args["lr"] * epoch / args["warmup"]
            else:
                lr = args["lr"] * 0.5 * (1.0 + math.cos(math.pi * (epoch - args["warmup"]) / (args["epochs"] - args["warmup"])))
            for g in optimizer.param_groups:
                g["lr"] = lr * g.get("scale", 1.0)

        def main(args):
            for epoch in range(args["epochs"]):
                for it, batch in enumerate(loader):
                    adjust(optimizer, it / len(loader) + epoch, args)
                    train(batch)

        main({"lr": 0.1, "warmup": 1, "epochs": 5})
    """,
    "after each step, in an object": """
        class Cosine:
            def __init__(self, optimizer, total, floor=1e-4):
                self.optimizer, self.total, self.floor, self.count = optimizer, total, floor, 0
                for group in optimizer.param_groups:
                    group.setdefault("initial_lr", group["lr"])

            def rate(self, base):
                return self.floor + 0.5 * (base - self.floor) * (1 + math.cos(math.pi * self.count / self.total))

            def step(self):
                self.count += 1
                for group in self.optimizer.param_groups:
                    group["lr"] = self.rate(group["initial_lr"])

        schedule = Cosine(optimizer, 5 * len(loader))
        for epoch in range(5):
            for batch in loader:
                train(batch)
                schedule.step()
    """,
    "after each step, once it is counted": """
        count = 0
        for epoch in range(5):
            for batch in loader:
                train(batch)
                count += 1
                for group in optimizer.param_groups:
                    group["lr"] = 0.05 / (1 + count)
    """,
    "after each step, before it is counted": """
        step, lrate = 0, 0.05
        while step < 30:
            for batch in loader:
                train(batch)
                new = lrate * (0.1 ** (step / 20))
                for number, group in enumerate(optimizer.param_groups):
                    group["lr"] = new * [0.1, 1.0][number]
                step += 1
    """,
}

REFUSED = {
    "by the loss": (
        """
        best, lr = 1e9, 0.05
        for epoch in range(6):
            loss = sum(train(batch) for batch in loader)
            if loss > best:
                lr *= 0.5
            best = min(best, loss)
            for group in optimizer.param_groups:
                group["lr"] = lr
        """,
        "lr ",
    ),
    "while it warms up": (
        """
        step = 0
        for epoch in range(6):
            for batch in loader:
                if step < 10:
                    optimizer.param_groups[0]["lr"] = 0.01 * (step + 1)
                train(batch)
                step += 1
        """,
        "",
    ),
    "in several places": (
        """
        for epoch in range(6):
            for it, batch in enumerate(loader):
                if epoch:
                    optimizer.param_groups[0]["lr"] = 0.01 / epoch
                else:
                    optimizer.param_groups[0]["lr"] = 0.02
                train(batch)
        """,
        "",
    ),
    "momentum": (
        """
        step = 0
        for epoch in range(6):
            for batch in loader:
                optimizer.param_groups[0]["momentum"] = 0.9 - 0.01 * step
                train(batch)
                step += 1
        """,
        "only learning rates",
    ),
    "an epoch that does not end": (
        """
        def forever():
            while True:
                for batch in loader:
                    yield batch

        lr = 0.05
        batches = forever()
        for epoch in range(3):
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.1 ** (epoch // 2)
            for _ in range(1000):
                train(next(batches))
        """,
        "",
    ),
}


def some_slow(names: Iterable[str], fast: int) -> list[Any]:
    """All, the first ``fast`` in each run of the tests."""
    return [pytest.param(name, marks=[] if number < fast else pytest.mark.slow) for number, name in enumerate(names)]


def captured(body: str, folder: Path, steps: int = 15) -> dsb.migrate.TrainingSetup:
    path = folder / "train.py"
    path.write_text(HEAD + textwrap.dedent(body))
    return dsb.migrate.capture(path, steps=steps)


@pytest.mark.parametrize("name", some_slow(UNDERSTOOD, fast=4))
def test_rates_are_read_as_functions(name: str, tmp_path: Path) -> None:
    """They give each recorded rate, and the text of train.py has them."""
    setup = captured(UNDERSTOOD[name], tmp_path)
    assert setup.report.ok, str(setup.report)
    recording = setup.recorded()
    assert recording.rates is not None
    functions = recording.rates.functions()
    for number, step in enumerate(recording.steps):
        count = number if recording.rates.every == "step" else number // LENGTH
        assert [rate(count) for rate in functions] == [options["lr"] for options in step.options]
    assert all(math.isfinite(rate(99)) for rate in functions)
    text = dsb.migrate.plan(setup).files["train.py"]
    assert "LambdaLR(" in text and "def rate(" in text, text


@pytest.mark.parametrize("name", some_slow(REFUSED, fast=1))
def test_others_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    body, reason = REFUSED[name]
    setup = captured(body, tmp_path)
    said = [one for one in setup.report if one.code == "rates-unexplained" and one.severity == "error"]
    assert said and any(reason in one.message for one in said), str(setup.report)
    assert all(one.where.startswith(str(tmp_path / "train.py")) for one in said), said


@pytest.mark.slow
def test_a_rate_that_is_set_once_is_the_first_one(tmp_path: Path) -> None:
    body = """
        for group in optimizer.param_groups:
            group["lr"] = 0.02
        for epoch in range(4):
            for batch in loader:
                train(batch)
    """
    setup = captured(body, tmp_path)
    assert setup.report.ok and setup.recorded().rates is None, str(setup.report)


@pytest.mark.parametrize("options", some_slow(["T_0=1, T_mult=2, eta_min=1e-4", "T_0=2", "T_0=3, T_mult=3"], fast=1))
def test_warm_restarts_by_parts_of_epochs(options: str, tmp_path: Path) -> None:
    """As torch's page has it: ``step(epoch + i / iters)``."""
    body = f"""
        scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, {options})
        for epoch in range(6):
            for i, batch in enumerate(loader):
                train(batch)
                scheduler.step(epoch + i / len(loader))
    """
    setup = captured(body, tmp_path, steps=27)
    assert setup.report.ok, str(setup.report)
    recording = setup.recorded()
    assert recording.rates is not None
    functions = recording.rates.functions()
    for number, step in enumerate(recording.steps):
        assert [rate(number) for rate in functions] == [one["lr"] for one in step.options]
    plan = dsb.migrate.plan(setup)
    assert plan.report.ok
    plan.write(tmp_path / "out")
    lint(tmp_path / "out")
