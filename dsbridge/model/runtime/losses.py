"""Losses: what MindSpore lacks on the CPU, or computes otherwise at its edges. Most return values, for the caller to reduce."""

from __future__ import annotations

import math

from mindspore import ops


def nll_loss(log_probability, target, weight=None, ignore_index=-100, reduction="mean"):
    """torch.nn.functional.nll_loss; MindSpore's is nan where any class has the logarithm -inf, as masked ones do."""
    axis = min(1, log_probability.ndim - 1)
    ignored = target == ignore_index
    index = target.masked_fill(ignored, 0)
    own = ops.gather_elements(log_probability, axis, index.unsqueeze(axis)).squeeze(axis)
    share = ops.ones_like(own) if weight is None else ops.gather(weight, index, 0)
    share = share.masked_fill(ignored, 0.0)
    values = (-own * share).masked_fill(ignored, 0.0)
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.sum() / share.sum()


def binary_cross_entropy(probability, target):
    """torch.nn.functional.binary_cross_entropy: logarithms end at -100, where MindSpore's end at -27.6; slopes end at 1e12."""
    p = ops.stop_gradient(probability)
    log_p, log_q = ops.clamp(ops.log(p), min=-100.0), ops.clamp(ops.log1p(-p), min=-100.0)
    slope = (p - ops.stop_gradient(target)) / ops.clamp(p * (1.0 - p), min=1e-12)
    return slope * (probability - p) - target * log_p - (1.0 - target) * log_q


def kl_div(log_probability, target):
    """target (log(target) - log_probability), 0 where target is 0; ops.kl_div has no gradient for the target."""
    log_target = ops.log(target.masked_fill(target == 0, 1.0))
    return target * (log_target - log_probability)


def stirling(count):
    """log(count!) by Stirling's formula, 0 for counts up to 1 (torch.nn.functional.poisson_nll_loss, full=True)."""
    few = count <= 1
    n = count.masked_fill(few, 1.0)
    return (n * ops.log(n) - n + 0.5 * ops.log(2.0 * math.pi * n)).masked_fill(few, 0.0)


def gaussian_nll_loss(x, target, variance, eps):
    """(log(variance) + (x - target)^2 / variance) / 2; a variance below eps counts as eps, and has a gradient nevertheless."""
    variance = variance + ops.stop_gradient(ops.clamp(variance, min=eps) - variance)
    return 0.5 * (ops.log(variance) + ops.square(x - target) / variance)


def cosine_embedding_loss(x, y, target, margin):
    """1 - cosine where the target is 1, max(0, cosine - margin) where it is -1; torch adds 1e-12 to squared lengths."""
    lengths = ops.sqrt((ops.sum(x * x, -1) + 1e-12) * (ops.sum(y * y, -1) + 1e-12))
    cosine = ops.sum(x * y, -1) / lengths
    apart = ops.clamp(cosine - margin, min=0.0).masked_fill(target != -1, 0.0)
    return (1.0 - cosine).masked_fill(target != 1, 0.0) + apart


def hinge_embedding_loss(x, target, margin):
    """x where the target is 1, max(0, margin - x) where it is -1, and for any other target the sum of both, as in torch."""
    return x.masked_fill(target == -1, 0.0) + ops.clamp(margin - x, min=0.0).masked_fill(target == 1, 0.0)


def multi_margin_loss(x, target, p, margin, weight):
    """The mean over classes of max(0, margin - x[target] + x) ** p, without the target's own."""
    index = target.unsqueeze(-1)
    over = ops.relu(margin - ops.gather_elements(x, -1, index) + x)
    if p == 2:
        over = over * over
    if weight is not None:
        over = over * ops.gather(weight, index, 0)
    return over.masked_fill(ops.arange(x.shape[-1]) == index, 0.0).mean(-1)


def multilabel_margin_loss(x, target):
    """The sum of max(0, 1 - x[label] + x[other]) over labels and other classes; labels end at the first negative one."""
    classes = x.shape[-1]
    listed = (ops.cumsum((target < 0).astype(target.dtype), -1) == 0).unsqueeze(-1)
    index = target.masked_fill(target < 0, 0)
    hits = ops.logical_and(index.unsqueeze(-1) == ops.arange(classes), listed)
    other = ops.logical_not(ops.any(hits, -2, True))
    over = ops.relu(1.0 - ops.gather_elements(x, -1, index).unsqueeze(-1) + x.unsqueeze(-2))
    return over.masked_fill(ops.logical_not(ops.logical_and(listed, other)), 0.0).sum((-2, -1)) / classes


def in_rows(targets, lengths):
    """Targets that lie one after the other, a row for each; what is behind a row's length counts for nothing."""
    places = (ops.cumsum(lengths, 0) - lengths).unsqueeze(-1) + ops.arange(targets.shape[0]).astype(lengths.dtype)
    return ops.gather(targets, ops.clamp(places, max=targets.shape[0] - 1), 0)


def finite_ctc_loss(log_probability, targets, input_lengths, target_lengths, blank=0):
    """Each sample's, 0 where the input is too short for its target (zero_infinity=True), at which MindSpore's stops."""
    inside = ops.arange(1, targets.shape[1]).astype(target_lengths.dtype) < target_lengths.unsqueeze(-1)
    repeated = ops.logical_and(targets[:, 1:] == targets[:, :-1], inside)
    fits = input_lengths >= target_lengths + repeated.astype(target_lengths.dtype).sum(-1)
    taken = ops.where(fits, target_lengths, ops.zeros_like(target_lengths))
    losses = ops.ctc_loss(log_probability, targets, input_lengths, taken, blank=blank, reduction="none")[0]
    return losses.masked_fill(ops.logical_not(fits), 0.0)
