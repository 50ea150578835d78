"""Losses that MindSpore's own cells compute as torch does; all others are opened, and written as the function they call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Make, Seen, layer

REDUCED = {"reduction": "mean"}
EUCLIDEAN = 2


def _loss(cell: str, defaults: Mapping[str, Any]) -> Make:
    """A cell with the original's settings; ``defaults`` are MindSpore's."""

    def make(module: Any, seen: Seen) -> Construct:
        _by_position(seen)
        weights = [name for name, buffer in module.named_buffers() if buffer is not None]
        if weights:
            raise Refused(f"{' and '.join(weights)} cannot be parameters of MindSpore's")
        return Construct(cell, {name: getattr(module, name) for name in defaults}, 0, defaults)

    return make


def _by_position(seen: Seen) -> None:
    if any(call.kwargs for call in seen.calls):
        raise Refused("it is called with arguments by name, which have other names there")


for _torch, _cell, _defaults in (
    (nn.MSELoss, "nn.MSELoss", REDUCED),
    (nn.L1Loss, "nn.L1Loss", REDUCED),
    (nn.HuberLoss, "nn.HuberLoss", {**REDUCED, "delta": 1.0}),
    (nn.BCEWithLogitsLoss, "nn.BCEWithLogitsLoss", REDUCED),
):
    layer(_torch)(_loss(_cell, _defaults))


@layer(nn.SmoothL1Loss)
def smooth_l1_loss(module: nn.SmoothL1Loss, seen: Seen) -> Construct:
    """MindSpore reduces nothing unless told."""
    if module.beta == 0.0:
        raise Refused("beta=0 has no kernel on the CPU")
    return _loss("nn.SmoothL1Loss", {"beta": 1.0, "reduction": "none"})(module, seen)


@layer(nn.CrossEntropyLoss)
def cross_entropy_loss(module: nn.CrossEntropyLoss, seen: Seen) -> Construct:
    """Of probabilities only: MindSpore's takes labels of int32, torch's takes int64, and a logit of -inf makes it nan."""
    labels = {call.args[1].dtype for call in seen.calls if len(call.args) > 1} - {torch.float32}
    if labels:
        raise Refused(f"targets of {', '.join(map(str, labels))}: MindSpore's takes int32")
    return _loss("nn.CrossEntropyLoss", {"ignore_index": -100, **REDUCED, "label_smoothing": 0.0})(module, seen)


@layer(nn.TripletMarginLoss)
def triplet_margin_loss(module: nn.TripletMarginLoss, seen: Seen) -> Construct:
    """A helper for the Euclidean distance: MindSpore's has no kernel on the CPU."""
    if module.p != EUCLIDEAN:
        raise Refused(f"p={module.p}")
    return _triplet(module, module.eps, seen)


@layer(nn.TripletMarginWithDistanceLoss)
def triplet_margin_with_distance_loss(module: nn.TripletMarginWithDistanceLoss, seen: Seen) -> Construct:
    """With torch's default distance the same."""
    distance = module.distance_function
    if type(distance) is not nn.PairwiseDistance or distance.norm != EUCLIDEAN or distance.keepdim:
        raise Refused(f"distance_function={distance}: write the loss out in forward")
    return _triplet(module, distance.eps, seen)


def _triplet(module: Any, eps: float, seen: Seen) -> Construct:
    _by_position(seen)
    args = {"margin": float(module.margin), "eps": eps, "swap": module.swap, "reduction": module.reduction}
    return Construct("TripletMarginLoss", args, 0, {"margin": 1.0, "eps": 1e-6, "swap": False, "reduction": "mean"})
