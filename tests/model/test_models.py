"""Whole models: converted and proven; changes that a proof must notice are noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import small_models
import torch

from dsbridge.model.convert import draft, load_source
from dsbridge.model.judge import ParityReport
from dsbridge.model.verify import Subject, verify


def _proof(model: torch.nn.Module, inputs: Any, change: Any = lambda source: source) -> ParityReport:
    made = draft(model, inputs, {})
    source = change(made.source)
    assert change is _same or source != made.source, "the change changes nothing"
    return verify(Subject(model, replace(made, source=source), load_source(source, made.root)), inputs, {})


def _same(source: str) -> str:
    return source


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(1200)  # vgg11 has 130 million parameters
@pytest.mark.parametrize("name", [*small_models.OWN, *small_models.TORCHVISION])
def test_whole_models(name: str) -> None:
    """Forward and gradients, in both modes, both ways of running."""
    torch.manual_seed(0)
    make, inputs = {**small_models.OWN, **small_models.TORCHVISION}[name]
    report = _proof(make(), inputs, _same)
    assert report.ok, str(report)
    assert len(report.measured) >= 8


# name -> (model, what is replaced, by what, the finding)
CHANGES: dict[str, tuple[str, str, str, str]] = {
    "untie a weight": ("tied", "self.head.weight = self.embedding.embedding_table", "pass", "gradients-differ"),
    "change an eps": ("tied", "epsilon=0.001", "epsilon=1e-05", "outputs-differ"),
    "drop a dropout": ("tied", "self.dropout = nn.Dropout(p=0.3)", "self.dropout = nn.Identity()", "dropout-differs"),
    "add a dropout": ("tiny", "self.norm(self.conv(x))", "ops.dropout(self.norm(self.conv(x)), 0.2, True)", "dropout-differs"),
    "weaken a dropout": ("tied", "p=0.3", "p=0.1", "dropout-differs"),
    "freeze a weight": (
        "tied", "        self.dropout =", "        self.mix.weight.requires_grad = False\n        self.dropout =",
        "gradients-missing",
    ),
    "stop a gradient": ("tied", "self.mix(self.norm(x))", "self.mix(ops.stop_gradient(self.norm(x)))", "gradients-differ"),
    "another momentum": ("tiny", "eps=0.001", "eps=0.001, momentum=0.5", "statistics-differ"),
    "swap statistics": ("tiny", "eps=0.001", "eps=0.001, use_batch_statistics=True", "outputs-differ"),
    "freeze a size": ("tiny", "x.mean((2, 3))", "x.reshape((2, 8, 64)).mean(2)", "run-fails"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_model_is_not_verified(name: str) -> None:
    """Each change is an error in the report."""
    torch.manual_seed(0)
    model, before, after, code = CHANGES[name]
    make, inputs = small_models.OWN[model]
    report = _proof(make(), inputs, lambda source: source.replace(before, after))
    assert not report.ok
    if code == "outputs-differ":
        assert [one.where for one in report if one.code == "diverges"] == ["norm"], str(report)
    assert code in {finding.code for finding in report}, str(report)
