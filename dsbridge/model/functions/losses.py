"""Losses of classes, probabilities and numbers. What MindSpore computes otherwise, or not at all, is a helper or an expression.

Settings come by name: so ``torch.nn.functional`` hands them over. ``torch.kl_div`` and the like, which say by number how they
reduce, are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.nn import _reduction

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import Express, function
from dsbridge.model.nodes import plain

REDUCTIONS = ("mean", "sum", "none")
HALF_LOG_2_PI = 0.9189385332046727


def loss(name: str) -> Callable[[Express], Express]:
    """Register a loss. Its entry gets ``reduction`` as a word, whichever way torch was told."""

    def add(express: Express) -> Express:
        @function(name)
        @wraps(express)
        def told(*args: Any, size_average: Any = None, reduce: Any = None, reduction: Any = "mean", **settings: Any) -> Code:
            if size_average is not None or reduce is not None:
                reduction = _reduction.legacy_get_string(size_average, reduce, emit_warning=False)
            if reduction not in REDUCTIONS and (name, reduction) != ("kl_div", "batchmean"):
                raise Refused(f"reduction={reduction!r}")
            return express(*args, reduction=reduction, **settings)

        return told

    return add


def reduced(values: Any, reduction: str) -> Code:
    """The values of a loss as they are, or their mean or sum.

    >>> reduced(code("x * x"), "mean"), reduced(code("x * x"), "none")
    ((x * x).mean(), x * x)
    """
    return code("v", v=values) if reduction == "none" else code(f"v.{reduction}()", v=values)


def unless(value: Any, default: Any) -> Any:
    """A setting that is written only if it is another than MindSpore's default.

    >>> unless("sum", "mean"), unless(1.0, 1.0)
    ('sum', None)
    """
    return None if plain(value) == default else value


@loss("cross_entropy")
def cross_entropy(
    x: Any, target: Any, *, reduction: str, weight: Any = None, ignore_index: Any = -100, label_smoothing: Any = 0.0
) -> Code:
    """Labels without smoothing with a helper, as a logit that is -inf makes MindSpore's nan, and torch's is not."""
    if not target.dtype.is_floating_point and plain(label_smoothing) == 0.0:
        log_p = call("log_softmax", x, axis=min(1, x.ndim - 1))
        return nll_loss(log_p, target, reduction=reduction, weight=weight, ignore_index=ignore_index)
    return call(
        "ops.cross_entropy", x, _labels(target), weight=weight, ignore_index=unless(ignore_index, -100),
        reduction=unless(reduction, "mean"), label_smoothing=unless(label_smoothing, 0.0),
    )  # fmt: skip


@loss("nll_loss")
def nll_loss(x: Any, target: Any, *, reduction: str, weight: Any = None, ignore_index: Any = -100) -> Code:
    """A helper."""
    return call(
        "nll_loss", x, _labels(target), weight=weight, ignore_index=unless(ignore_index, -100),
        reduction=unless(reduction, "mean"),
    )  # fmt: skip


def _labels(target: Any) -> Any:
    """As int64, as gathering takes them; probabilities as float32: ops.cross_entropy takes others for labels."""
    if target.dtype.is_floating_point:
        return target if target.dtype == torch.float32 else code("t.astype(ms.float32)", t=target)
    return target if target.dtype == torch.int64 else code("t.astype(ms.int64)", t=target)


@loss("binary_cross_entropy")
def binary_cross_entropy(x: Any, target: Any, *, reduction: str, weight: Any = None) -> Code:
    """A helper: MindSpore's is another where probabilities are 0 or 1, and garbage where a weight is broadcast."""
    values = call("binary_cross_entropy", x, target)
    return reduced(values if weight is None else code("v * w", v=values, w=weight), reduction)


@loss("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    x: Any, target: Any, *, reduction: str, weight: Any = None, pos_weight: Any = None
) -> Code:
    """Weights are broadcast in both."""
    return call(
        "ops.binary_cross_entropy_with_logits", x, target, weight=weight, pos_weight=pos_weight,
        reduction=unless(reduction, "mean"),
    )  # fmt: skip


@loss("kl_div")
def kl_div(x: Any, target: Any, *, reduction: str, log_target: bool = False) -> Code:
    """A helper: the target's gradient of MindSpore's is wrong. batchmean divides by the number of samples."""
    values = code("ops.exp(t) * (t - x)", t=target, x=x) if log_target else call("kl_div", x, target)
    if reduction != "batchmean":
        return reduced(values, reduction)
    return code("v.sum() / x.shape[0]", v=values, x=x) if x.ndim else reduced(values, "sum")


@loss("mse_loss")
def mse_loss(x: Any, target: Any, *, reduction: str, weight: Any = None) -> Code:
    """A weighted mean is over the weights."""
    if weight is None:
        return call("ops.mse_loss", x, target, reduction=unless(reduction, "mean"))
    weighted = code("w * ops.square(x - t)", w=weight, x=x, t=target)
    return code("v.sum() / w.sum()", v=weighted, w=weight) if reduction == "mean" else reduced(weighted, reduction)


@loss("l1_loss")
def l1_loss(x: Any, target: Any, *, reduction: str) -> Code:
    """|x - target|."""
    return call("ops.l1_loss", x, target, reduction=unless(reduction, "mean"))


@loss("smooth_l1_loss")
def smooth_l1_loss(x: Any, target: Any, *, reduction: str, beta: Any = 1.0) -> Code:
    """MindSpore reduces nothing unless told; beta=0 is |x - target|, and has no kernel there."""
    if plain(beta) == 0.0:
        return l1_loss(x, target, reduction=reduction)
    return call("ops.smooth_l1_loss", x, target, beta=unless(beta, 1.0), reduction=unless(reduction, "none"))


@loss("huber_loss")
def huber_loss(x: Any, target: Any, *, reduction: str, delta: Any = 1.0, weight: Any = None) -> Code:
    """A weighted mean is over the values."""
    if weight is None:
        return call("ops.huber_loss", x, target, reduction=unless(reduction, "mean"), delta=unless(delta, 1.0))
    values = call("ops.huber_loss", x, target, reduction="none", delta=unless(delta, 1.0))
    return reduced(code("w * v", w=weight, v=values), reduction)


@loss("poisson_nll_loss")
def poisson_nll_loss(
    x: Any, target: Any, *, reduction: str, log_input: bool = True, full: bool = False, eps: Any = 1e-8
) -> Code:
    """The rate or its logarithm, less counts times the logarithm; with ``full`` a helper for log(count!)."""
    if not target.dtype.is_floating_point:
        target = code("t.astype(x.dtype)", t=target, x=x)
    template = "ops.exp(x) - t * x" if log_input else "x - t * ops.log(x + e)"
    values = code(template, x=x, t=target, e=eps)
    return reduced(code("v + stirling(t)", v=values, t=target) if full else values, reduction)


@loss("gaussian_nll_loss")
def gaussian_nll_loss(x: Any, target: Any, var: Any, *, reduction: str, full: bool = False, eps: Any = 1e-6) -> Code:
    """A helper: a variance below eps has a gradient in torch. One variance for a row gets an axis."""
    if isinstance(plain(var), float):
        var = code("ops.ones_like(x) * v", x=x, v=var)
    elif var.shape != x.shape and var.shape == x.shape[:-1]:
        var = code("v.unsqueeze(-1)", v=var)
    values = call("gaussian_nll_loss", x, target, var, eps)
    return reduced(code("v + c", v=values, c=HALF_LOG_2_PI) if full else values, reduction)
