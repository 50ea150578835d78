"""Losses as they are written, and that their proofs would notice a wrong helper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import loss_cases
import proofs
import pytest
import torch
import training_cases
from loss_cases import labels, logits, ones, other, weights
from torch import nn

from dsbridge.errors import Unsupported
from dsbridge.model import helpers
from dsbridge.model.convert import draft
from dsbridge.model.jobs import PYNATIVE

# of a helper: what is taken out, what is put in its place, and how a case that must notice begins
WRONG = {
    "nll_loss": ("share.masked_fill(ignored, 0.0)", "share", "nll_loss(ignore_index=1, weight)"),
    "binary_cross_entropy": ("min=-100.0", "min=-27.6", "binary_cross_entropy of certainties"),
    "kl_div": ("log_target = ops.log(", "log_target = ops.stop_gradient(ops.log)(", "kl_div mean"),
    "stirling": ("0.5 * ", "", "poisson_nll_loss(full=True)"),
    "gaussian_nll_loss": (
        "variance + ops.stop_gradient(ops.clamp(variance, min=eps) - variance)", "ops.clamp(variance, min=eps)",
        "gaussian_nll_loss of small variances",
    ),
    "cosine_embedding_loss": (" + 1e-12", "", "cosine_embedding_loss of zeros"),
    "hinge_embedding_loss": ("target == -1", "target < 0", "hinge_embedding_loss(margin=0.7)"),
    "multi_margin_loss": (".masked_fill(ops.arange(x.shape[-1]) == index, 0.0)", "", "multi_margin_loss()"),
    "multilabel_margin_loss": ("== 0).unsqueeze", "<= 1).unsqueeze", "multilabel_margin_loss()"),
    "log_softmax": (
        "return below - ops.log(ops.exp(below).sum(axis, keepdims=True))", "return ops.log_softmax(x, axis)",
        "cross_entropy of sure logits",
    ),
    "log_sigmoid": ("return -softplus(-x, 1.0, 20.0)", "return ops.logsigmoid(x)", "multilabel_soft_margin_loss far out"),
    "root": (
        "return ops.sqrt(x.masked_fill(zero, 1.0)).masked_fill(zero, 0.0)", "return ops.sqrt(x)", "norms of zeros",
    ),
}  # fmt: skip


def test_a_wrong_helper_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each helper of losses is broken in one place, where MindSpore's own differs if it does; none of the cases may pass."""
    known = {**loss_cases.FUNCTIONS, **training_cases.FUNCTIONS}
    broken, cases = dict(helpers.sources()), []
    for name, (right, wrong, begins) in WRONG.items():
        assert right in broken[name], name
        broken[name] = broken[name].replace(right, wrong)
        case = next(one for one in known if one.startswith(begins))
        cases.append(proofs.Case(case, proofs.Calls(known[case][0]), known[case][1]))
    monkeypatch.setattr(helpers, "sources", lambda: broken)
    unnoticed = {case.name for case in cases} - set(proofs.failures(cases, [PYNATIVE]))
    assert not unnoticed


def _source(loss: nn.Module, *inputs: Any, flavour: str = "nn") -> str:
    return draft(loss_cases.Step(loss), inputs, {}, flavour=flavour).source


WRITTEN: list[tuple[nn.Module, tuple[torch.Tensor, ...], str]] = [
    (nn.MSELoss(), (other,), "self.loss = nn.MSELoss()"),
    (nn.SmoothL1Loss(), (other,), 'self.loss = nn.SmoothL1Loss(reduction="mean")'),
    (nn.HuberLoss("sum", 0.5), (other,), 'self.loss = nn.HuberLoss(reduction="sum", delta=0.5)'),
    (nn.BCEWithLogitsLoss(), (ones,), "self.loss = nn.BCEWithLogitsLoss()"),
    (nn.CrossEntropyLoss(), (other.softmax(1),), "self.loss = nn.CrossEntropyLoss()"),
    (nn.CrossEntropyLoss(), (labels,), "return nll_loss(log_softmax(input, axis=1), target)"),
    (nn.CrossEntropyLoss(weights), (labels,), "self.weight = ms.Parameter(ops.zeros((5,), ms.float32), requires_grad=False)"),
    (nn.TripletMarginLoss(0.5), (other, logits), "self.loss = TripletMarginLoss(margin=0.5)"),
]


@pytest.mark.parametrize(("loss", "inputs", "line"), WRITTEN, ids=[line for *_, line in WRITTEN])
def test_losses_are_written_as_by_hand(loss: nn.Module, inputs: tuple[torch.Tensor, ...], line: str) -> None:
    """MindSpore's cells where they are right, with what differs from MindSpore's defaults and nothing else."""
    assert line in _source(loss, logits, *inputs)


def test_weights_of_classes_are_tensors_for_mint() -> None:
    """They are the cell's own, and given to the function; what is the default is not written."""
    source = _source(nn.BCEWithLogitsLoss(pos_weight=weights), logits, ones, flavour="mint")
    assert "pos_weight=self.pos_weight" in source
    assert "size_average" not in source
    assert "self.loss = mint.nn.CrossEntropyLoss()" in _source(nn.CrossEntropyLoss(), logits, labels, flavour="mint")


class Given(nn.Module):
    """A loss with a distance that is a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.distance, self._function = nn.PairwiseDistance(), function

    def forward(self, a: Any, b: Any, c: Any) -> Any:
        return self._function(a, b, c, distance_function=self.distance)


def test_a_module_that_a_function_is_given_is_refused() -> None:
    """Who calls it, and how often, is not seen."""
    with pytest.raises(Unsupported, match="it is given a PairwiseDistance to call") as caught:
        draft(Given(nn.functional.triplet_margin_with_distance_loss), (logits, other, logits.flip(0)), {})
    assert "test_losses.py:" in caught.value.where
