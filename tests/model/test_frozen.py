"""Parameters that do not train: the source says so, the cell has it, and the proof notices where it is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import dsbridge as dsb
from dsbridge.model.convert import draft, load_source
from dsbridge.model.verify import Subject, verify


class Net(nn.Module):
    """A backbone and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
        self.scale = nn.Parameter(torch.ones(4))
        self.neck = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.neck(self.backbone(x).mean((2, 3)) * self.scale)))


def _backbone(net: Net) -> None:
    for parameter in net.backbone.parameters():
        parameter.requires_grad = False


def _weight(net: Net) -> None:
    net.neck.weight.requires_grad_(False)


def _norms(net: Net) -> None:
    for module in (net.backbone[1], net.neck):
        module.requires_grad_(False)


def _all(net: Net) -> None:
    net.requires_grad_(False)


def _own(net: Net) -> None:
    net.scale.requires_grad_(False)


# what is frozen, and what the source says of it
CASES: list[tuple[Callable[[Net], None], str]] = [
    (
        _backbone,
        """        for parameter in self.backbone.get_parameters():
            parameter.requires_grad = False
""",
    ),
    (_weight, "        self.neck.weight.requires_grad = False\n"),
    (
        _norms,
        """        for cell in (self.backbone[1], self.neck):
            for parameter in cell.get_parameters():
                parameter.requires_grad = False
""",
    ),
    (
        _all,
        """        for parameter in self.get_parameters():
            parameter.requires_grad = False
""",
    ),
    (_own, "        self.scale = ms.Parameter(ops.zeros((4,), ms.float32), requires_grad=False)\n"),
]


@pytest.mark.parametrize(("freeze", "said"), CASES, ids=[freeze.__name__[1:] for freeze, _ in CASES])
def test_what_is_frozen_stays_frozen(freeze: Callable[[Net], None], said: str) -> None:
    """In the source, as a MindSpore user writes it, and in the live cell."""
    net = Net()
    freeze(net)
    made = dsb.model.convert(net, torch.randn(2, 3, 8, 8))
    assert said in made.source, made.source
    trained = {parameter.name for parameter in made.cell.trainable_params()}
    expected = {made.name_map[name] for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == expected
    assert made.report.ok, str(made.report)


def test_a_trained_model_says_nothing() -> None:
    """No line for what is as it always is."""
    assert "requires_grad" not in draft(Net(), (torch.randn(2, 3, 8, 8),), {}).source


def test_a_part_of_a_cell_s_parameter_cannot_be_frozen_in_silence() -> None:
    """Frozen by another name than the cell has, or not at all: the cell is compared with the model at once."""
    model = nn.Sequential(nn.LSTM(3, 4))

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = model[0], nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0])

    model[0].weight_ih_l0.requires_grad_(False)
    made = dsb.model.convert(Last(), torch.randn(5, 2, 3))
    frozen = {name for name, parameter in made.cell.parameters_and_names() if not parameter.requires_grad}
    assert made.name_map["lstm.weight_ih_l0"] in frozen or "frozen-trains" in {finding.code for finding in made.report}


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [_backbone, _all])
def test_the_proof_notices_what_trains_although_it_is_frozen(freeze: Callable[[Net], None]) -> None:
    """With the line it holds, without it does not."""
    torch.manual_seed(0)
    net, inputs = Net(), (torch.randn(2, 3, 8, 8),)
    freeze(net)
    made = draft(net, inputs, {})
    report = verify(Subject(net, made, load_source(made.source, made.root)), inputs, {})
    assert report.ok, str(report)
    if freeze is _all:
        return
    source = made.source.replace("parameter.requires_grad = False", "pass")
    report = verify(Subject(net, replace(made, source=source), load_source(source, made.root)), inputs, {})
    assert {finding.code for finding in report if finding.severity == "error"} == {"frozen-trains"}, str(report)
    assert not report.ok
