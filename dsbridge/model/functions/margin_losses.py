"""Losses with margins, and of embeddings and sequences. A value that is its margin has torch's gradient, which is not 0."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.linalg import pairwise_distance
from dsbridge.model.functions.losses import loss, reduced, unless
from dsbridge.model.nodes import Node, plain

BATCHED = 3  # axes: time, sample, class


@loss("cosine_embedding_loss")
def cosine_embedding_loss(x: Any, y: Any, target: Any, *, reduction: str, margin: Any = 0.0) -> Code:
    """A helper: MindSpore's divides by zero where torch does not."""
    return reduced(call("cosine_embedding_loss", x, y, target, margin), reduction)


@loss("margin_ranking_loss")
def margin_ranking_loss(x: Any, y: Any, target: Any, *, reduction: str, margin: Any = 0.0) -> Code:
    """max(0, margin - target (x - y)): MindSpore's takes targets of the inputs' dtype only."""
    template = "ops.clamp(t * (y - x), min=0.0)" if plain(margin) == 0 else "ops.clamp(m - t * (x - y), min=0.0)"
    return reduced(code(template, m=margin, t=target, x=x, y=y), reduction)


@loss("hinge_embedding_loss")
def hinge_embedding_loss(x: Any, target: Any, *, reduction: str, margin: Any = 1.0) -> Code:
    """A helper: MindSpore's takes the sign of the target, torch what is 1 and what is -1."""
    return reduced(call("hinge_embedding_loss", x, target, margin), reduction)


@loss("soft_margin_loss")
def soft_margin_loss(x: Any, target: Any, *, reduction: str) -> Code:
    """log(1 + exp(-target x)), which does not overflow as torch's does in float32; MindSpore's has no gradient."""
    return reduced(code("softplus(-t * x, 1.0, 20.0)", t=target, x=x), reduction)


@loss("multi_margin_loss")
def multi_margin_loss(x: Any, target: Any, *, reduction: str, p: Any = 1, margin: Any = 1.0, weight: Any = None) -> Code:
    """A helper: the margin of MindSpore's is a whole number."""
    if x.ndim - target.ndim != 1:
        raise Refused(f"{x.ndim}-d inputs with {target.ndim}-d targets")
    return reduced(call("multi_margin_loss", x, target, p, margin, weight), reduction)


@loss("multilabel_margin_loss")
def multilabel_margin_loss(x: Any, target: Any, *, reduction: str) -> Code:
    """A helper: MindSpore's has no kernel on the CPU."""
    return reduced(call("multilabel_margin_loss", x, target), reduction)


@loss("multilabel_soft_margin_loss")
def multilabel_soft_margin_loss(x: Any, target: Any, *, reduction: str, weight: Any = None) -> Code:
    """The mean over classes; MindSpore's overflows."""
    values = code("-(t * log_sigmoid(x) + (1.0 - t) * log_sigmoid(-x))", t=target, x=x)
    if weight is not None:
        values = code("w * v", w=weight, v=values)
    return reduced(code("v.mean(-1)", v=values), reduction)


@loss("triplet_margin_loss")
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, *, reduction: str, margin: Any = 1.0, p: Any = 2.0, eps: Any = 1e-6,
    swap: bool = False,
) -> Code:  # fmt: skip
    """MindSpore's has no kernel on the CPU: it is written out."""
    near, far = (pairwise_distance(anchor, other, p, eps) for other in (positive, negative))
    if swap:
        far = call("ops.minimum", far, pairwise_distance(positive, negative, p, eps))
    return reduced(code("ops.clamp(m + near - far, min=0.0)", m=margin, near=near, far=far), reduction)


@loss("triplet_margin_with_distance_loss")
def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, reduction: str, distance_function: Any = None, margin: Any = 1.0,
    swap: bool = False,
) -> Code:  # fmt: skip
    """With torch's default distance; another one is a function that was not seen."""
    if distance_function not in (None, nn.functional.pairwise_distance):
        raise Refused("a distance_function of your own: write the loss out in forward")
    return triplet_margin_loss(anchor, positive, negative, reduction=reduction, margin=margin, swap=swap)


@loss("ctc_loss")
def ctc_loss(
    x: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    reduction: str,
    blank: Any = 0,
    zero_infinity: bool = False,
) -> Code:
    """Of a batch; targets one after the other are laid in rows.

    Where an input is too short for its target MindSpore stops, and torch's is infinite, or 0 with zero_infinity: a helper.
    """
    if x.ndim != BATCHED:
        raise Refused(f"{x.ndim}-d inputs: a batch only")
    dtype = targets.dtype
    before, after = (_of_dtype(one, dtype) for one in (input_lengths, target_lengths))
    rows = targets if targets.ndim == BATCHED - 1 else call("in_rows", targets, after)
    if zero_infinity:
        values = call("finite_ctc_loss", x, rows, before, after, blank=unless(blank, 0))
        if reduction == "mean":
            values = code("v / ops.clamp(n, min=1).astype(x.dtype)", v=values, n=after, x=x)
        return reduced(values, reduction)
    losses = call(
        "ops.ctc_loss", x, rows, before, after, blank=unless(blank, 0), reduction=unless(reduction, "mean")
    )  # (losses, logarithms of paths)
    return code("l[0]", l=losses)


def _of_dtype(lengths: Any, dtype: torch.dtype) -> Any:
    """A tensor of that dtype: MindSpore wants one for all."""
    if not isinstance(lengths, Node):
        return call("ms.Tensor", tuple(lengths), dtype)
    return lengths if lengths.dtype == dtype else code("n.astype(d)", n=lengths, d=dtype)
