"""Emitted schedules have torch's rates and momenta bit for bit: from the start, from the middle, from a saved state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import beside
import mindspore as ms
import numpy as np
import pytest
import torch
from torch import optim
from torch.optim import lr_scheduler as lr

from dsbridge.errors import Unsupported
from dsbridge.frameworks.mindspore_tensors import tensor_type
from dsbridge.migrate.optimizer import optimizer_source
from dsbridge.migrate.schedule import schedule_source
from dsbridge.migrate.source import Source

STEPS = 60

MakeSchedule = Callable[[Any], Any]


@pytest.fixture(scope="module", autouse=True)
def warm_mindspore() -> None:
    tensor_type()  # on numpy 2 the first operation of a process fails


def sgd(rates: tuple[float, ...] = (0.1, 0.0317)) -> optim.Optimizer:
    """An optimizer of a group for each rate."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in rates]
    return optim.SGD(groups, lr=0.1, momentum=0.9)


def adam() -> optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in (0.003, 0.01)]
    return optim.Adam(groups, betas=(0.8, 0.99), weight_decay=0.1)


def warmup(step: int, length: int, total: int = 50) -> float:
    """As transformers has it."""
    if step < length:
        return float(step) / float(max(1, length))
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * float(step - length) / float(max(1, total - length)))))


SCHEDULES: dict[str, MakeSchedule] = {
    "StepLR": lambda o: lr.StepLR(o, 7, 0.3),
    "StepLR, default": lambda o: lr.StepLR(o, 20),
    "MultiStepLR": lambda o: lr.MultiStepLR(o, [3, 3, 11, 40], 0.7),
    "ExponentialLR": lambda o: lr.ExponentialLR(o, 0.93),
    "CosineAnnealingLR": lambda o: lr.CosineAnnealingLR(o, 12, eta_min=0.0013),
    "CosineAnnealingLR, to the end": lambda o: lr.CosineAnnealingLR(o, STEPS),
    "CosineAnnealingWarmRestarts": lambda o: lr.CosineAnnealingWarmRestarts(o, 7),
    "CosineAnnealingWarmRestarts, longer": lambda o: lr.CosineAnnealingWarmRestarts(o, 5, 2, eta_min=1e-4),
    "LinearLR": lambda o: lr.LinearLR(o),
    "LinearLR, down": lambda o: lr.LinearLR(o, 0.9, 0.07, total_iters=23),
    "ConstantLR": lambda o: lr.ConstantLR(o, 0.3, total_iters=9),
    "PolynomialLR": lambda o: lr.PolynomialLR(o, 40, 1.7),
    "LambdaLR": lambda o: lr.LambdaLR(o, [lambda step: 0.9**step, lambda step: min(1.0, (step + 1) / 10)]),
    "LambdaLR, from zero": lambda o: lr.LambdaLR(o, partial(warmup, length=6)),
    "MultiplicativeLR": lambda o: lr.MultiplicativeLR(o, lambda step: 0.97 if step % 2 else 1.01),
    "OneCycleLR": lambda o: lr.OneCycleLR(o, 0.05, total_steps=STEPS + 1),
    "OneCycleLR, three phases, linear": lambda o: lr.OneCycleLR(
        o, [0.2, 0.13], total_steps=STEPS + 3, pct_start=0.23, anneal_strategy="linear", three_phase=True
    ),
    "OneCycleLR, rates only": lambda o: lr.OneCycleLR(o, 0.05, epochs=7, steps_per_epoch=10, cycle_momentum=False),
    "CyclicLR": lambda o: lr.CyclicLR(o, 0.01, [0.2, 0.3], step_size_up=7, step_size_down=4),
    "CyclicLR, triangular2": lambda o: lr.CyclicLR(o, 0.01, 0.2, step_size_up=3, mode="triangular2", cycle_momentum=False),
    "CyclicLR, exp_range": lambda o: lr.CyclicLR(o, [0.01, 0.02], 0.2, step_size_up=6, mode="exp_range", gamma=0.98),
    "CyclicLR, own scale": lambda o: lr.CyclicLR(
        o, 0.01, 0.2, step_size_up=5, scale_fn=lambda x: 0.9**x, scale_mode="iterations"
    ),
    "SequentialLR": lambda o: lr.SequentialLR(o, [lr.LinearLR(o, 0.1, total_iters=5), lr.CosineAnnealingLR(o, 20, 0.001)], [5]),
    "SequentialLR of many": lambda o: lr.SequentialLR(
        o,
        [
            lr.ConstantLR(o, 0.1, total_iters=3),
            lr.MultiStepLR(o, [0, 2], 0.7),
            lr.StepLR(o, 3, 0.5),
            lr.ExponentialLR(o, 0.9),
            lr.PolynomialLR(o, 9),
            lr.LambdaLR(o, lambda step: 0.8**step),
            lr.LinearLR(o, 0.5, total_iters=4),
            lr.ConstantLR(o, 0.6, total_iters=3),
            lr.CosineAnnealingWarmRestarts(o, 3, 2),
            lr.MultiplicativeLR(o, lambda step: 0.95),
        ],
        [4, 9, 15, 20, 26, 31, 37, 43, 53],
    ),
    "SequentialLR, OneCycleLR last": lambda o: lr.SequentialLR(
        o, [lr.ConstantLR(o, 0.5, total_iters=9), lr.OneCycleLR(o, 0.3, total_steps=70)], [9]
    ),
    "ChainedScheduler": lambda o: lr.ChainedScheduler([lr.LinearLR(o, 0.5, total_iters=5), lr.ExponentialLR(o, 0.95)]),
    "ChainedScheduler of a SequentialLR": lambda o: lr.ChainedScheduler(
        [lr.SequentialLR(o, [lr.ConstantLR(o), lr.StepLR(o, 4)], [6]), lr.ExponentialLR(o, 0.99)]
    ),
    "ReduceLROnPlateau": lambda o: lr.ReduceLROnPlateau(o, factor=0.3, patience=2, cooldown=1, min_lr=[1e-3, 1e-2]),
    "ReduceLROnPlateau, max": lambda o: lr.ReduceLROnPlateau(
        o, mode="max", factor=0.7, patience=1, threshold=0.01, threshold_mode="abs", eps=1e-3
    ),
    "ReduceLROnPlateau, max, rel": lambda o: lr.ReduceLROnPlateau(o, mode="max", patience=3, min_lr=1e-4),
}  # fmt: skip


def metric(step: int) -> float:
    """It gets better, stays, gets worse."""
    return 1.0 / (1 + step // 4) + 0.3 * math.sin(step * step)


def stepped(scheduler: Any, optimizer: Any, begin: int, end: int) -> list[tuple[list[float], list[float]]]:
    """(rates, momenta) after each step of torch's."""
    found = []
    for step in range(begin, end):
        optimizer.step()
        if isinstance(scheduler, lr.ReduceLROnPlateau):
            scheduler.step(metric(step))
        else:
            scheduler.step()
        found.append(now(optimizer))
    return found


def now(optimizer: Any) -> tuple[list[float], list[float]]:
    groups = optimizer.param_groups
    momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in groups]
    return single([group["lr"] for group in groups]), single(momenta)


def single(values: list[float]) -> list[float]:
    """As float32 has them."""
    return np.array(values, np.float64).astype(np.float32).tolist()


class Emitted:
    """The optimizer and the schedule of emitted sources, live."""

    def __init__(self, optimizer: Any, scheduler: Any) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        names = {id(parameter): (f"p{number}", 1) for number, parameter in enumerate(parameters)}
        made = [ms.Parameter(ms.Tensor(np.ones(2, np.float32)), name=f"p{number}") for number in range(len(parameters))]
        self.text = beside.joined([optimizer_source(optimizer, names), schedule_source(scheduler, optimizer)])
        space: dict[str, Any] = {}
        exec(self.text, space)
        self.optimizer = space["make_optimizer"](SimpleNamespace(trainable_params=lambda: made))
        self.scheduler = space["make_scheduler"](self.optimizer)

    def now(self) -> tuple[list[float], list[float]]:
        """(rates, momenta)."""
        groups = self.optimizer.param_groups
        momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in groups]
        momenta = [float(one.asnumpy()) if isinstance(one, ms.Tensor) else one for one in momenta]
        return [float(group["lr"].asnumpy()) for group in groups], single(momenta)

    def stepped(self, begin: int, end: int) -> list[tuple[list[float], list[float]]]:
        """(rates, momenta) after each step."""
        found = []
        for step in range(begin, end):
            if type(self.scheduler).__name__ == "ReduceLROnPlateau":
                self.scheduler.step(ms.Tensor(metric(step), ms.float64))
            else:
                self.scheduler.step()
            found.append(self.now())
        return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_and_momenta_are_torchs_bit_for_bit(name: str) -> None:
    """For 60 steps; and from the middle on, by a source written there; and from a saved state."""
    for make in (sgd, adam) if "Cyc" in name else (sgd,):  # a momentum, and a beta1
        optimizer = make()
        scheduler = SCHEDULES[name](optimizer)
        begun = Emitted(optimizer, scheduler)
        assert begun.now() == now(optimizer)
        wanted = stepped(scheduler, optimizer, 0, 8)
        middle = Emitted(optimizer, scheduler)
        assert middle.now() == now(optimizer)
        wanted += stepped(scheduler, optimizer, 8, 44)
        late = Emitted(optimizer, scheduler)
        wanted += stepped(scheduler, optimizer, 44, STEPS)
        assert begun.stepped(0, 20) == wanted[:20]
        saved = json.loads(json.dumps(begun.scheduler.state_dict()))
        assert begun.stepped(20, STEPS) == wanted[20:]
        assert middle.stepped(8, 30) == wanted[8:30]
        assert late.stepped(44, STEPS) == wanted[44:]
        begun.scheduler.load_state_dict(saved)
        assert begun.now() == wanted[19]
        assert begun.stepped(20, 30) == wanted[20:30]
        assert late.scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]  # as Python floats, too


def test_every_schedule_of_torchs_is_tried() -> None:
    tried = {type(make(sgd())).__name__ for make in SCHEDULES.values()}
    assert tried == set(lr.__all__) - {"LRScheduler"}


@pytest.mark.parametrize("factor", [1, 3])
def test_warm_restarts_go_where_they_are_told(factor: int) -> None:
    """scheduler.step(epoch + batch / batches), as torch's documentation has it."""
    optimizer = sgd()
    scheduler = lr.CosineAnnealingWarmRestarts(optimizer, 4, factor)
    emitted = Emitted(optimizer, scheduler)
    for step in range(50):
        scheduler.step(step / 3)
        emitted.scheduler.step(step / 3)
        assert emitted.now() == now(optimizer)


def test_a_wrong_schedule_would_be_seen() -> None:
    """A last bit in one factor is another rate."""
    optimizer = sgd()
    scheduler = lr.ExponentialLR(optimizer, 0.93)
    emitted = Emitted(optimizer, scheduler)
    emitted.scheduler.gamma = float(np.float32(0.93))
    assert emitted.stepped(0, STEPS) != stepped(scheduler, optimizer, 0, STEPS)


def test_groups_that_are_not_trained_have_no_rates() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2), requires_grad=n != 1) for n in range(3)]
    optimizer = optim.SGD([{"params": [p], "lr": rate} for p, rate in zip(parameters, (0.1, 0.2, 0.3), strict=True)], lr=1.0)
    scheduler = lr.LambdaLR(optimizer, [lambda step: 0.9**step, lambda step: 0.8**step, lambda step: 0.7**step])
    emitted = Emitted(optimizer, scheduler)
    optimizer.step()
    for step in range(1, 4):
        scheduler.step()
        emitted.scheduler.step()
        assert emitted.now()[0] == single([0.1 * 0.9**step, 0.3 * 0.7**step])


def source_of(make: MakeSchedule, optimizer: Any = None) -> Source:
    optimizer = optimizer or sgd()
    return schedule_source(make(optimizer), optimizer)


def test_sources_are_short() -> None:
    lines = source_of(lambda o: lr.SequentialLR(o, [lr.LinearLR(o, 0.1, total_iters=5), lr.StepLR(o, 20)], [5])).lines
    assert lines == (
        "def make_scheduler(optimizer):",
        '    """torch.optim.lr_scheduler.SequentialLR."""',
        "    rates = Rates(optimizer, [0.010000000000000002, 0.00317])",
        "    linear_lr = LinearLR(rates, start_factor=0.1)",
        "    step_lr = StepLR(rates, base_lrs=[0.1, 0.0317], step_size=20)",
        "    return SequentialLR([linear_lr, step_lr], milestones=[5])",
    )


def test_functions_come_with_their_values() -> None:
    total = 40
    made = source_of(lambda o: lr.LambdaLR(o, lambda step: 1 - step / total))
    assert "def factor(step, *, total=40):" in made.text and "lr_lambda=[factor, factor]" in made.text
    assert [note.code for note in made.notes] == ["constant"] and "total = 40" in made.notes[0].message


def test_a_function_that_is_called_as_something_else_in_the_file_is_renamed() -> None:
    def build(step: int) -> float:
        return 0.9**step

    assert "lr_lambda=[build_2, build_2]" in source_of(lambda o: lr.LambdaLR(o, build)).text


class Own(lr.StepLR):
    """A user's own."""


class Half:
    def __call__(self, step: int) -> float:
        return 0.5


REFUSED: list[tuple[str, MakeSchedule, Any, str]] = [
    ("own class", lambda o: Own(o, 3), None, r"Own: it is a class of its own, not torch's \(migrate/test_schedule_source.py:"),
    ("tensor", lambda o: lr.StepLR(o, 3), lambda: sgd((torch.tensor(0.1),)), "lr is a tensor: with a schedule"),
    ("callable", lambda o: lr.LambdaLR(o, Half()), None, "only functions can be written as source"),
    ("swa", lambda o: optim.swa_utils.SWALR(o, 0.1), None, "SWALR: it is not known"),
    ("steps", lambda o: lr.CyclicLR(o, 0.1, 0.2, step_size_up=0.9, step_size_down=2.2), None, "step_size_up"),
]


@pytest.mark.parametrize(("make", "optimizer", "message"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_is_not_proven_is_refused(make: MakeSchedule, optimizer: Any, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        source_of(make, optimizer() if optimizer else None)


def test_a_function_whose_source_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What analysis does not see, the comparison does: here, a function that counts its calls by a default."""

    def counting(step: int, seen: list[int] = []) -> float:  # noqa: B006
        seen.append(step)
        return float(len(seen))

    with pytest.raises(Unsupported, match=r"function counting: at step \d+ it gives \d+.0, and its source \d+.0"):
        source_of(lambda o: lr.LambdaLR(o, counting))


@pytest.mark.timeout(600)
def test_compiled_steps_follow_the_schedule(tmp_path: Path) -> None:
    """Weights after 30 compiled steps, beta1 and momentum moving; a schedule without its momenta is seen."""
    cycle: MakeSchedule = lambda o: lr.OneCycleLR(o, 0.05, total_steps=32)  # noqa: E731
    adamw: beside.Make = lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1)  # noqa: E731
    cases = {
        "OneCycleLR, AdamW": beside.Case(adamw, cycle),
        "CyclicLR, SGD": beside.Case(
            lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True), lambda o: lr.CyclicLR(o, 0.01, 0.2, step_size_up=4)
        ),
        "mutant": beside.Case(adamw, cycle, mutate=("self.rates.set_momenta(self.between(", "(self.between(")),
    }
    assert list(beside.wrong(beside.errors(cases, tmp_path, "graph"))) == ["mutant"]
