"""Losses to be tried, as layers and as functions: every setting, and the inputs at which implementations part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import proofs
import torch
from torch import nn
from torch.nn import functional as F

Cases = dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]]
REDUCTIONS = ("mean", "sum", "none")

made = torch.Generator().manual_seed(3)


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=made)


def _labels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 5, shape, generator=made)


logits, other, third = _normal(6, 5), _normal(6, 5), _normal(6, 5)
labels = torch.tensor([0, 3, 1, 4, 1, 2])
rows, row_labels = _normal(3, 5, 7), _labels(3, 7)
maps, map_labels = _normal(2, 5, 3, 4), _labels(2, 3, 4)
volumes, volume_labels = _normal(2, 5, 3, 2, 2), _labels(2, 3, 2, 2)
chances = logits.softmax(1)
weights = torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0])
ones = (_normal(6, 5) > 0).float()
signs = torch.tensor([1, -1, 1, -1, -1, 1])
halves = torch.rand(6, 5, generator=made) * 0.4 + 0.3  # stay probabilities when a few per cent larger
soft = halves.flip(0)
certain = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]])
truths = torch.tensor([[0, 0, 1, 1], [1, 0, 0, 1]])
far = torch.tensor([[100.0, -100.0, 60.0, -60.0], [-100.0, 100.0, 20.0, -20.0]])
counts = torch.tensor([[0.0, 1.0, 2.0, 5.0, 11.0], [3.0, 0.0, 1.0, 1.0, 4.0]])
listed = torch.tensor(
    [[3, 0, -1, 1, 0], [2, -1, 0, 0, 0], [0, 1, 2, 3, 4], [-1, 0, 0, 0, 0], [4, 4, -1, 2, 2], [1, 2, 3, -1, -1]]
)
sounds = _normal(10, 3, 5)
words = torch.tensor([[1, 2, 3], [2, 2, 1], [4, 1, 1]])


def exactly(values: torch.Tensor, through: torch.Tensor) -> torch.Tensor:
    """Values as they are, with the gradient of another tensor: what is exactly 0 or 1 stays so while weights are perturbed."""
    return through - through.detach() + values.to(through.dtype)


def quiet(function: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
    """Without torch's word on old arguments, and on what the mean of a divergence is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*inputs, **settings)


def _each(function: Callable[..., Any], *inputs: torch.Tensor, **settings: Any) -> Cases:
    """A function with settings, for all ways to reduce; tensors among the settings have no gradient in torch."""
    tensors = {name: value for name, value in settings.items() if isinstance(value, torch.Tensor)}
    numbers = {name: value for name, value in settings.items() if name not in tensors}

    def all_ways(*given: Any) -> Any:
        told = {name: one.detach() for name, one in zip(tensors, given[len(inputs) :], strict=True)}
        return tuple(function(*given[: len(inputs)], **told, **numbers, reduction=one) for one in REDUCTIONS)

    told = ", ".join([*(f"{name}={getattr(value, '__name__', value)}" for name, value in numbers.items()), *tensors])
    given = (*inputs, *tensors.values())
    return {f"{function.__name__}({told}) of {', '.join(map(_said, given))}": (all_ways, given)}


def _said(tensor: torch.Tensor) -> str:
    whole = "" if tensor.dtype.is_floating_point else str(tensor.dtype).removeprefix("torch.")
    return f"{whole}{list(tensor.shape)}"


def _classes() -> Cases:
    found: Cases = {}
    shapes = ((logits, labels), (rows, row_labels), (maps, map_labels), (volumes, volume_labels), (logits[0], labels[0]))
    for x, target in shapes:
        found |= _each(F.cross_entropy, x, target) | _each(F.nll_loss, x, target)
        found |= _each(F.cross_entropy, x, target, weight=weights, ignore_index=1, label_smoothing=0.1)
        found |= _each(F.nll_loss, x, target, weight=weights, ignore_index=1)
    found |= _each(F.cross_entropy, logits, labels, ignore_index=3) | _each(F.cross_entropy, logits, labels, weight=weights)
    found |= _each(F.cross_entropy, logits, labels, label_smoothing=0.2)
    for x, target in ((logits, other), (rows, rows.flip(0)), (maps, maps.flip(0)), (logits[0], other[0])):
        axis = 1 if x.ndim > 1 else 0
        likely = target.softmax(axis)
        found |= _each(F.cross_entropy, x, likely)
        found |= _each(F.cross_entropy, x, likely, weight=weights, label_smoothing=0.1)
    return found | {
        "cross_entropy far out": (lambda a, i: F.cross_entropy(a * 100, i), (logits, labels)),
        "cross_entropy of sure logits": (F.cross_entropy, (logits + 9.0 * F.one_hot(labels, 5), labels)),
        "log_softmax of sure logits": (lambda a: a.log_softmax(1).amax(1).mean(), (logits + 9.0 * F.one_hot(labels, 5),)),
        "cross_entropy of bytes": (lambda a, i: F.cross_entropy(a, i) + F.nll_loss(a, i), (logits, labels.byte())),
        "cross_entropy of wide probabilities": (lambda a, p: F.cross_entropy(a, p.double()), (logits, chances)),
        "cross_entropy of none but ignored": (lambda a, i: F.cross_entropy(a, i, ignore_index=2), (logits, labels * 0 + 2)),
        "cross_entropy summed of none but ignored": (
            lambda a, i: F.cross_entropy(a, i, ignore_index=2, reduction="sum"), (logits, labels * 0 + 2),
        ),
        "cross_entropy of masked logits": (lambda a, i: F.cross_entropy(_masked(a, i), i), (logits, labels)),
        "nll_loss of masked logits": (lambda a, i: F.nll_loss(_masked(a, i).log_softmax(1), i), (logits, labels)),
        "the old way to sum": (lambda a, i: quiet(F.cross_entropy, a, i, size_average=False), (logits, labels)),
        "the old way not to": (lambda a, b: quiet(F.mse_loss, a, b, reduce=False), (logits, other)),
        "accuracy": (lambda a, i: (a.argmax(1) == i).float().mean(), (logits, labels)),
        "how many are right": (lambda a, i: (a.argmax(dim=1) == i).sum(), (logits, labels)),
    }  # fmt: skip


def _masked(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Without the class after the target's."""
    return x.masked_fill((target.unsqueeze(1) + 1) % 5 == torch.arange(5), float("-inf"))


def _binary() -> Cases:
    found = _each(F.binary_cross_entropy, halves, soft)
    found |= _each(F.binary_cross_entropy, halves, soft, weight=weights)
    found |= _each(F.binary_cross_entropy, halves, soft, weight=weights[:1])
    found |= _each(F.binary_cross_entropy_with_logits, logits, soft)
    found |= _each(F.binary_cross_entropy_with_logits, logits, ones, weight=weights)
    found |= _each(F.binary_cross_entropy_with_logits, logits, ones, pos_weight=weights)
    found |= _each(F.binary_cross_entropy_with_logits, logits, soft, pos_weight=weights, weight=halves)
    found |= _each(F.binary_cross_entropy_with_logits, logits, soft, weight=halves[:, :1], pos_weight=weights[:1])
    found |= _each(F.binary_cross_entropy_with_logits, maps, maps.sigmoid(), pos_weight=weights.reshape(5, 1, 1))
    return found | {
        "binary_cross_entropy of certainties": (
            lambda a, i, t: F.binary_cross_entropy(exactly(i, a), t.to(a.dtype), reduction="none"), (far, certain, truths),
        ),
        "binary_cross_entropy of certainties in doubt": (
            lambda a, i, t: F.binary_cross_entropy(exactly(i, a), t.detach()), (far, certain, halves[:2, :4]),
        ),
        "binary_cross_entropy of saturated sigmoids": (
            lambda a, t: F.binary_cross_entropy((a * 100).sigmoid(), t.to(a.dtype)), (far, certain),
        ),
        "binary_cross_entropy_with_logits far out": (
            lambda a, t: F.binary_cross_entropy_with_logits(a, t.to(a.dtype), reduction="none"), (far, truths),
        ),
    }  # fmt: skip


def _numbers() -> Cases:
    found: Cases = {}
    for function in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        found |= _each(function, logits, other) | _each(function, rows, rows.flip(0))
    for beta in (0.3, 2.0, 0.0):
        found |= _each(F.smooth_l1_loss, logits, other, beta=beta)
    for delta in (0.3, 2.0, 2):
        found |= _each(F.huber_loss, logits, other, delta=delta)
    found |= _each(F.mse_loss, logits, other, weight=halves) | _each(F.huber_loss, logits, other, weight=halves)
    found |= {
        f"{function.__name__} of equals": (lambda a, f=function: f(a, a.detach()), (logits,))
        for function in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
    }
    log_chances, log_other = logits.log_softmax(1), other.log_softmax(1)
    for name in (*REDUCTIONS, "batchmean"):
        found[f"kl_div {name}"] = (partial(quiet, F.kl_div, reduction=name), (log_chances, chances.flip(0)))
        found[f"kl_div {name} of logarithms"] = (
            partial(quiet, F.kl_div, reduction=name, log_target=True),
            (log_chances, log_other),
        )
        found[f"kl_div {name} of zeros"] = (
            lambda a, t, r=name: quiet(F.kl_div, a, t.detach(), reduction=r),
            (log_chances, ones),
        )
    for settings in ({}, {"full": True}, {"log_input": False}, {"log_input": False, "full": True, "eps": 1e-3}):
        found |= _each(_without_gradient_of_target(F.poisson_nll_loss), (halves * 3)[:2], counts, **settings)
    found["poisson_nll_loss of whole counts"] = (lambda a, n: F.poisson_nll_loss(a, n, full=True), (logits[:2], counts.long()))
    for variance in (halves, halves[:, :1], halves[:, 0]):
        found |= _each(F.gaussian_nll_loss, logits, other, variance) | _each(
            F.gaussian_nll_loss, logits, other, variance, full=True
        )
    found |= {
        "gaussian_nll_loss of small variances": (
            lambda a, b, v: F.gaussian_nll_loss(a, b, v * 1e-3, eps=0.0005), (logits, other, halves),
        ),
        "gaussian_nll_loss of one number": (lambda a, b: F.gaussian_nll_loss(a, b, 0.5), (logits, other)),
    }  # fmt: skip
    return found


def _without_gradient_of_target(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch's is no number."""

    @wraps(function)
    def made(x: Any, target: Any, **settings: Any) -> Any:
        return function(x, target.detach(), **settings)

    return made


def _margins() -> Cases:
    found = _each(F.cosine_embedding_loss, logits, other, signs) | _each(
        F.cosine_embedding_loss, logits, other, signs, margin=0.2
    )
    found |= _each(F.cosine_embedding_loss, logits[0], other[0], signs[0])
    found |= _each(F.margin_ranking_loss, logits, other, signs.unsqueeze(1).expand(6, 5).float())
    found |= _each(F.margin_ranking_loss, logits[:, 0], other[:, 0], signs, margin=0.3)
    found |= _each(F.hinge_embedding_loss, logits.abs(), signs.unsqueeze(1)) | _each(
        F.hinge_embedding_loss, logits, labels.unsqueeze(1) - 2, margin=0.7
    )
    found |= _each(F.soft_margin_loss, logits, (2 * ones - 1).long())
    for settings in ({}, {"p": 2}, {"margin": 0.7}, {"weight": weights}, {"p": 2, "margin": 1.5, "weight": weights}):
        found |= _each(F.multi_margin_loss, logits, labels, **settings)
    found |= _each(F.multi_margin_loss, logits[0], labels[0])
    found |= _each(F.multilabel_margin_loss, logits, listed) | _each(F.multilabel_margin_loss, logits[0], listed[0])
    found |= _each(F.multilabel_soft_margin_loss, logits, ones)
    found |= _each(F.multilabel_soft_margin_loss, logits, ones, weight=weights)
    for settings in ({}, {"margin": 0.4, "swap": True}, {"p": 1}, {"p": float("inf"), "eps": 1e-3}):
        found |= _each(F.triplet_margin_loss, logits, other, third, **settings)
    found |= _each(F.triplet_margin_with_distance_loss, logits, other, third)
    found |= _each(
        F.triplet_margin_with_distance_loss, logits, other, third, distance_function=F.pairwise_distance, swap=True, margin=2.0
    )
    for lengths in (torch.tensor([10, 8, 6]), torch.tensor([10, 8, 6], dtype=torch.int32)):
        found |= _each(F.ctc_loss, sounds.log_softmax(2), words, lengths, torch.tensor([3, 0, 1]))
    found |= _each(
        F.ctc_loss, sounds.log_softmax(2), words.int() - 1, torch.tensor([10, 8, 10]), torch.tensor([3, 2, 1]), blank=4
    )
    repeated, flat = torch.tensor([[1, 2, 3], [2, 2, 4], [3, 1, 1]]), torch.tensor([1, 2, 3, 2, 2, 3])
    sizes, short = torch.tensor([3, 2, 1]), torch.tensor([10, 2, 6])  # 2 2 takes three steps
    for targets in (repeated, flat):
        found |= _each(F.ctc_loss, sounds.log_softmax(2), targets, short, sizes, zero_infinity=True)
    found |= _each(F.ctc_loss, sounds.log_softmax(2), flat, torch.tensor([10, 3, 6]), sizes)
    return found | {
        "ctc_loss of logits": (lambda a, t: F.ctc_loss(a.log_softmax(2), t, (a.shape[0],) * 3, (3, 2, 1)), (sounds, words)),
        "cosine_embedding_loss of zeros": (
            lambda a, b, s: F.cosine_embedding_loss(torch.cat([a[:1] * 0, a[1:]]), b, s), (logits, other, signs),
        ),
        "margin_ranking_loss of equals": (lambda a, s: F.margin_ranking_loss(a, a.detach(), s), (logits[:, 0], signs)),
        "hinge_embedding_loss at its margin": (
            lambda a, s: F.hinge_embedding_loss(exactly(s * 0 + 1, a), s), (logits[:, 0], signs),
        ),
        "multi_margin_loss at its margin": (
            lambda a, i: F.multi_margin_loss(exactly(i.unsqueeze(1) == torch.arange(5), a), i), (logits, labels),
        ),
        "soft_margin_loss far out": (lambda a, s: F.soft_margin_loss(a, s, reduction="none"), (far / 2, 1 - 2 * certain)),
        "multilabel_soft_margin_loss far out": (
            lambda a, t: F.multilabel_soft_margin_loss(a, t.to(a.dtype), reduction="none"), (far, truths),
        ),
    }  # fmt: skip


FUNCTIONS: Cases = _classes() | _binary() | _numbers() | _margins()


def _layer(module: nn.Module, *inputs: torch.Tensor) -> proofs.Case:
    settings = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
    buffers = [name for name, _ in module.named_buffers()]
    return proofs.Case(f"{type(module).__name__}({settings}, {buffers}) of {', '.join(map(_said, inputs))}", module, inputs)


class Named(nn.Module):
    """A loss whose arguments are given by name."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: Any, y: Any) -> Any:
        return self.loss(input=x, target=y)


class Step(nn.Module):
    """A model and its loss, as a training step has them."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.model, self.loss = nn.Linear(5, 5), loss

    def forward(self, x: Any, *rest: Any) -> Any:
        out = self.model(x)
        loss = self.loss(out, *rest)
        return loss, out


def cells() -> list[proofs.Case]:
    """Losses that become cells, for all ways to reduce."""
    found = []
    for reduction in REDUCTIONS:
        how = {"reduction": reduction}
        found += [
            _layer(nn.CrossEntropyLoss(label_smoothing=0.1, **how), logits, chances),
            _layer(nn.CrossEntropyLoss(**how), maps, maps.flip(0).softmax(1)),
            _layer(nn.BCEWithLogitsLoss(**how), logits, ones), _layer(nn.MSELoss(**how), logits, other),
            _layer(nn.L1Loss(**how), logits, other), _layer(nn.SmoothL1Loss(**how), logits, other),
            _layer(nn.SmoothL1Loss(beta=0.4, **how), logits, other), _layer(nn.HuberLoss(**how), logits, other),
            _layer(nn.HuberLoss(delta=0.4, **how), logits, other),
            _layer(nn.TripletMarginLoss(0.5, eps=1e-3, swap=True, **how), logits, other, third),
            _layer(nn.TripletMarginWithDistanceLoss(margin=0.5, **how), logits, other, third),
        ]  # fmt: skip
    return found


def opened() -> list[proofs.Case]:
    """Losses that are written as the functions they call, and losses in the steps of trainings."""
    steps = [(nn.CrossEntropyLoss(), labels), (nn.CrossEntropyLoss(weights), labels), (nn.MSELoss(), other)]
    return [
        _layer(nn.CrossEntropyLoss(), logits, labels), _layer(nn.CrossEntropyLoss(reduction="none"), maps, map_labels),
        _layer(nn.CrossEntropyLoss(weights, ignore_index=2, label_smoothing=0.1), logits, labels),
        _layer(nn.NLLLoss(), logits, labels), _layer(nn.NLLLoss(ignore_index=1), maps, map_labels),
        _layer(nn.NLLLoss(weights, reduction="sum"), logits, labels), _layer(nn.BCELoss(), halves, soft),
        _layer(nn.BCELoss(weights, reduction="none"), halves, soft),
        _layer(nn.BCEWithLogitsLoss(weights[:1], pos_weight=weights), logits, ones),
        _layer(nn.SmoothL1Loss(beta=0.0), logits, other),
        _layer(nn.KLDivLoss(reduction="sum"), logits.log_softmax(1), chances.flip(0)),
        _layer(nn.KLDivLoss(reduction="batchmean", log_target=True), logits.log_softmax(1), other.log_softmax(1)),
        _layer(nn.PoissonNLLLoss(full=True), logits[:2], 3 * halves[:2]),
        _layer(nn.GaussianNLLLoss(), logits, other, halves), _layer(nn.SoftMarginLoss(), logits[:, 0], signs),
        _layer(nn.CosineEmbeddingLoss(0.1), logits, other, signs),
        _layer(nn.MarginRankingLoss(0.1), logits[:, 0], other[:, 0], signs),
        _layer(nn.HingeEmbeddingLoss(0.8), logits, signs.unsqueeze(1)),
        _layer(nn.MultiMarginLoss(2, 0.5, weights), logits, labels), _layer(nn.MultiLabelMarginLoss(), logits, listed),
        _layer(nn.CTCLoss(), sounds.log_softmax(2), words, torch.tensor([10, 8, 6]), torch.tensor([3, 2, 1])),
        _layer(nn.MultiLabelSoftMarginLoss(weights), logits, ones), _layer(nn.TripletMarginLoss(p=1), logits, other, third),
        proofs.Case("MSELoss by name", Named(nn.MSELoss()), (logits, other)),
        proofs.Case("SmoothL1Loss by name", Named(nn.SmoothL1Loss(beta=0.5)), (logits, other)),
        *(proofs.Case(f"a step with {type(loss).__name__} {n}", Step(loss), (logits, y)) for n, (loss, y) in enumerate(steps)),
    ]  # fmt: skip


GROUPS = {"losses": cells, "losses as functions": opened}
REFUSED: Cases = {
    "a distance of one's own": (
        lambda a, b, c: F.triplet_margin_with_distance_loss(a, b, c, distance_function=lambda x, y: (x - y).abs().sum(-1)),
        (logits, other, third),
    ),
    "reductions by number": (lambda a, b: torch.kl_div(a, b, reduction=2), (logits, other)),
    "targets of another rank": (lambda a, i: F.multi_margin_loss(a, i), (logits[0], labels[:1])),
    "a sound that is no batch": (lambda a, t: F.ctc_loss(a, t, (10,), (3,)), (sounds[:, 0].log_softmax(1), words[0])),
    "weighted differences": (lambda a, b: F.l1_loss(a, b, weight=a.abs()), (logits, other)),
    "another order of triplets": (lambda a, b, c: F.triplet_margin_loss(a, b, c, p=3), (logits, other, third)),
}  # fmt: skip
