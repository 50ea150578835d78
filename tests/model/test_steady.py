"""Weights to compare with are away from ties: what rounding passes or not says nothing about either framework."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from dsbridge.model import oracle
from dsbridge.model import steady as module
from dsbridge.model import verify as proof
from dsbridge.model.convert import draft, load_source
from dsbridge.model.judge import ParityReport
from dsbridge.model.steady import ROUNDING, SHAKES, STEADY, Example, Steady, shake_size, steady
from dsbridge.model.weights import Weights

X = torch.randn((4, 6), generator=torch.Generator().manual_seed(0))


class Near(nn.Module):
    """One unit's ReLU is ``off`` zero for one sample, at the first weights; ``far``: what outputs lose digits to."""

    def __init__(self, off: float = 1.0, far: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("shift", torch.zeros(8, dtype=torch.float64))
        self.far = far
        at = oracle.perturbed(self, (X,), {}, 0).double()
        self.shift[3] = off - at.inner(X.double())[1, 3].detach()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, 6]; returns [N, 3]."""
        x = self.inner(x) + self.shift.to(x.dtype)
        return self.head(torch.relu(x)) + self.far - self.far


def _chosen(model: nn.Module) -> Steady:
    made = draft(model, (X,), {})
    weights = Weights(model, load_source(made.source, made.root), made.unused, made.rules)
    return steady(model, Example((X,), {}, False), weights, 0)


def _seed(model: nn.Module, found: Steady) -> int:
    """Which of the perturbed weights were taken."""
    same = [
        number
        for number in range(module.SEEDS)
        if torch.equal(oracle.perturbed(model, (X,), {}, number).head.weight, found.model.head.weight)
    ]
    return same[0]


def _passed(model: nn.Module, size: float, number: int) -> bool:
    """Whether the ReLU near zero lets its unit through at shaken weights."""
    shaken = oracle.shaken(oracle.perturbed(model, (X,), {}, 0), size, number)
    return bool((shaken.inner(X.double()) + shaken.shift)[1, 3] > 0)


def test_the_first_weights_are_taken_where_nothing_is_near() -> None:
    """One of each run, and a yardstick for float32 and for each shake."""
    model = Near()
    found = _chosen(model)
    assert _seed(model, found) == 0
    assert len(found.yardsticks) == 1 + SHAKES
    assert all(off.keys() == found.expected.keys() for off in found.yardsticks)


def test_one_shake_is_not_enough() -> None:
    """The tie gives way in the third shake only: these weights are passed over."""
    model = Near(-2e-7)
    assert [_passed(model, ROUNDING, number) for number in range(SHAKES)] == [False, False, True]
    assert _seed(model, _chosen(model)) != 0


def test_shakes_are_as_large_as_what_float32_does_to_outputs() -> None:
    """A sum that cancels: outputs are off by 4e-6 in float32, though no gradient is; a rounding of the weights moves less."""
    model = Near(-1e-6, far=64.0)
    assert not any(_passed(model, ROUNDING, number) for number in range(SHAKES))
    found = _chosen(model)
    assert _seed(model, found) != 0
    assert len(found.yardsticks) == 1 + SHAKES  # larger shakes do not make the judge milder


def test_where_nothing_is_steady_the_least_unsteady_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are tried, with all of their yardsticks."""
    monkeypatch.setattr(module, "STEADY", 0.0)
    moved: dict[int, float] = {}
    real: Any = module._tried

    def tried(model: nn.Module, example: Example, weights: Weights, least: float) -> Steady:
        found: Steady = real(model, example, weights, least)
        moved[len(moved)] = found.moved
        return found

    monkeypatch.setattr(module, "_tried", tried)
    model = Near()
    found = _chosen(model)
    assert len(moved) == module.SEEDS
    assert _seed(model, found) == min(moved, key=moved.__getitem__)
    assert 0 < min(moved.values()) < STEADY
    assert len(found.yardsticks) == 1 + SHAKES


def test_the_size_of_shakes_has_a_floor_and_a_cap() -> None:
    """Weights are rounded whatever outputs do; outputs that nothing moves do not count."""
    assert shake_size(1e-9, 1e-6) == shake_size(1e-6, 0.0) == ROUNDING
    assert shake_size(1e-3, 1e-6) == pytest.approx(100 * ROUNDING)


@pytest.mark.parametrize(
    ("differ", "near_ties", "compared", "ok"),
    [
        ((["gradients-differ"], []), True, 2, True),  # a tie, at the first weights only
        ((["gradients-differ"],) * 4, True, 3, False),  # a wrong gradient
        ((["gradients-differ"], []), False, 1, False),  # torch's is steady there, MindSpore's is another
        ((["gradients-differ", "outputs-differ"], []), True, 1, False),
    ],
)
def test_gradients_near_ties_are_compared_at_other_weights(
    differ: tuple[list[str], ...], near_ties: bool, compared: int, ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times at most, and only where nothing else differs and torch's own gradient is not steady."""
    model, seeds = nn.Linear(2, 2), []

    def chosen(model: nn.Module, example: Example, weights: Any, seed: int) -> Any:
        seeds.append(seed)
        return SimpleNamespace(model=model, near_ties=near_ties, moved=1e-3)

    def compare(report: ParityReport, run: Any, found: Any) -> bool:
        for code in differ[len(seeds) - 1]:
            report.add(code, "error", "eval, graph", "off")
        return False

    monkeypatch.setattr(proof, "steady", chosen)
    monkeypatch.setattr(proof, "_compare", compare)
    report, weights = ParityReport(), SimpleNamespace(arrays=lambda state: state)
    subject: Any = SimpleNamespace(model=model, made=SimpleNamespace(unused=()))
    proof._compared(report, subject, weights, Example((X,), {}, False), 5)  # type: ignore[arg-type]
    assert seeds == [5 + module.SEEDS * number for number in range(compared)]
    assert report.ok == ok
    assert ("gradients-unsteady" in report) == (compared > 1)
