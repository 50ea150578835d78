"""Normalizations. MindSpore's momentum is what is kept, torch's what is taken anew; its default epsilons differ."""

from __future__ import annotations

from typing import Any

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer

_AFFINE = {"weight": "gamma", "bias": "beta"}


def _batch_norm(cell: str, module: Any) -> Construct:
    if module.momentum is None:
        raise Refused("momentum=None: MindSpore has no cumulative average")
    if not module.track_running_stats or module.running_mean is None:
        raise Refused("track_running_stats=False")
    args = {
        "num_features": module.num_features, "eps": module.eps, "momentum": round(1.0 - module.momentum, 12),
        "affine": module.affine,
    }  # fmt: skip
    return Construct(cell, args, 1, {"eps": 1e-5, "momentum": 0.9, "affine": True})


@layer(nn.BatchNorm1d)
def batch_norm1d(module: nn.BatchNorm1d, seen: Seen) -> Construct:
    """For [N, C]; [N, C, L] is a helper's."""
    if seen.input is not None and seen.input.ndim == 3:
        made = _batch_norm("BatchNorm1d3", module)
        made.weights = {**_AFFINE, "running_mean": "moving_mean", "running_var": "moving_variance", "num_batches_tracked": None}
        made.kept = () if module.affine else ("gamma", "beta")
        return made
    return _batch_norm("nn.BatchNorm1d", module)


@layer(nn.BatchNorm2d)
def batch_norm2d(module: nn.BatchNorm2d, seen: Seen) -> Construct:
    """The running variance is unbiased in both."""
    return _batch_norm("nn.BatchNorm2d", module)


@layer(nn.BatchNorm3d)
def batch_norm3d(module: nn.BatchNorm3d, seen: Seen) -> Construct:
    """As BatchNorm2d."""
    return _batch_norm("nn.BatchNorm3d", module)


@layer(nn.LayerNorm)
def layer_norm(module: nn.LayerNorm, seen: Seen) -> Construct:
    """MindSpore's default epsilon is 1e-7, and it always has weight and bias."""
    shape, rank = tuple(module.normalized_shape), len(module.normalized_shape)
    args = {"normalized_shape": shape, "epsilon": module.eps}
    if module.weight is None or module.bias is None:
        which = {"weight": module.weight is not None, "bias": module.bias is not None}
        return Construct("LayerNorm", {**args, **which}, 1, weights=_AFFINE)
    axis = -1
    if rank > 1:  # MindSpore takes -1 or an axis from the front
        if seen.input is None:
            raise Refused("over several axes, and it was never called")
        axis = seen.input.ndim - rank
    axes = {"begin_norm_axis": axis, "begin_params_axis": axis}
    return Construct("nn.LayerNorm", {**args, **axes}, 1, {"begin_norm_axis": -1, "begin_params_axis": -1})


@layer(nn.GroupNorm)
def group_norm(module: nn.GroupNorm, seen: Seen) -> Construct:
    """MindSpore's takes [N, C, H, W] only."""
    if seen.input is not None and seen.input.ndim != 4:
        raise Refused(f"MindSpore's GroupNorm takes 4-d inputs, got {seen.input.ndim}-d")
    args = {"num_groups": module.num_groups, "num_channels": module.num_channels, "eps": module.eps, "affine": module.affine}
    return Construct("nn.GroupNorm", args, 2, {"affine": True})


@layer(nn.InstanceNorm2d)
def instance_norm2d(module: nn.InstanceNorm2d, seen: Seen) -> Construct:
    """There is no kernel on the CPU: it is a group norm with a group for each channel."""
    if module.track_running_stats:
        raise Refused("track_running_stats=True")
    args = {
        "num_groups": module.num_features, "num_channels": module.num_features, "eps": module.eps, "affine": module.affine,
    }  # fmt: skip
    kept = () if module.affine else ("gamma", "beta")
    return Construct("nn.GroupNorm", args, 2, {"affine": True}, weights=_AFFINE, kept=kept)
