"""A step at a kink: MindSpore's rounding may be on its other side, which is right; a wrong gradient is on neither."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import dsbridge as dsb
from dsbridge.migrate.apart import Apart, apart, beside
from dsbridge.migrate.points import distance, judge_point
from dsbridge.migrate.replay import Arrays, How, replay
from dsbridge.migrate.setup_report import SetupReport

RATE = 0.1
SLOTS = {"accum": 1.0, "stat": 0.0}  # what SGD gathers in MindSpore, as parts of its first gradient


class Tied:
    """A recorded step of a network, one of whose ReLUs gets 0 but for rounding; torch's gradients on its two sides."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        self.x = torch.randn(8, 4)
        with torch.no_grad():
            net[0].bias[3] -= (self.x[2].double() @ net[0].weight[3].double() + net[0].bias[3].double()).float()
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(self.x, self.x.sum(1, keepdim=True)), batch_size=8)
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9)
        setup = dsb.migrate.TrainingSetup(model=net, loss=torch.nn.MSELoss(), optimizer=optimizer, loader=loader)
        self.plan = dsb.migrate.plan(setup, steps=1)
        self.recording = setup.recorded()
        single = replay(self.recording, setup.pattern, How(points=(0,)))
        self.point = apart(self.recording, single.points[0], 0)
        sides = (self._gradients(net, way) for way in (1e-6, -1e-6))
        self.side = max(sides, key=lambda one: distance(self.point.exact.gradients, one))

    def _gradients(self, net: torch.nn.Module, way: float) -> Arrays:
        wide = copy.deepcopy(net).double()
        with torch.no_grad():
            wide[0].bias[3] += way
        x = self.x.double()
        torch.nn.functional.mse_loss(wide(x), x.sum(1, keepdim=True)).backward()
        own = dict(wide.named_parameters())
        return {name: _np(next(p for key, p in own.items() if name.endswith(key))) for name in self.point.exact.gradients}

    def judged(self, gradients: Arrays, rate: float = RATE) -> SetupReport:
        """The step of a MindSpore that has these gradients."""
        after = {name: array - rate * gradients[name] for name, array in self.point.before.items()}
        weights = self.plan._made.migrated.weights  # type: ignore[union-attr]
        by_path = weights.by_path(gradients)
        names = {path: name for name, path in weights.paths.items()}
        by_name = {names.get(path, path): array for path, array in by_path.items()}
        got: dict[str, Any] = {
            "loss": self.point.exact.loss,
            "gradients": {weights.pairs.get(name, name): array for name, array in by_name.items()},
            "after": weights.by_path(after),
            "state": {f"{slot}.{name}": share * array for name, array in by_name.items() for slot, share in SLOTS.items()},
        }
        report = SetupReport()
        judge_point(report, self.recording, "graph", 0, self.point, got, weights)
        return report


def _np(parameter: torch.Tensor) -> Any:
    return parameter.grad.numpy()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def tied() -> Tied:
    return Tied()


def test_the_other_side_of_a_tie_is_found_and_steps_from_the_same_weights(tied: Tied) -> None:
    assert distance(tied.point.exact.gradients, tied.side) > 1e-2, "the sides differ"
    found = beside(tied.recording, 0, tied.point, lambda theirs: distance(theirs, tied.side) < 1e-5)
    assert isinstance(found, Apart)
    for name, gradient in found.exact.gradients.items():
        taken = found.exact.after[name] - tied.point.before[name]
        np.testing.assert_allclose(taken, -RATE * gradient, rtol=1e-9, atol=1e-12)
    assert found.off("gradients") == tied.point.off("gradients"), "the yardstick is what it was"


def test_a_step_on_either_side_is_right(tied: Tied) -> None:
    same, other = tied.judged(tied.point.exact.gradients), tied.judged(tied.side)
    assert same.ok and "gradient-unsteady" not in same, str(same)
    assert other.ok and "gradient-unsteady" in other, str(other)
    assert all(one.fine for one in other.measured), str(other)


def test_a_wrong_gradient_is_on_neither(tied: Tied) -> None:
    wrong = tied.judged({name: 1.01 * array for name, array in tied.side.items()})
    assert wrong.stage == "gradient" and "gradient-unsteady" not in wrong, str(wrong)


def test_a_wrong_step_on_the_other_side_is_seen(tied: Tied) -> None:
    wrong = tied.judged(tied.side, rate=1.001 * RATE)
    assert wrong.stage == "optimizer" and "gradient-unsteady" in wrong, str(wrong)
