"""Stochastic depth of the model zoos: known by name, as their packages may not be there."""

from __future__ import annotations

from typing import Any

from dsbridge.model.construct import Construct
from dsbridge.model.layers.registry import Seen, named_layer


@named_layer("torchvision.ops.stochastic_depth.StochasticDepth")
def stochastic_depth(module: Any, seen: Seen) -> Construct:
    """Rows or the whole batch."""
    return Construct("StochasticDepth", {"p": float(module.p), "mode": module.mode}, 1)


@named_layer("timm.layers.drop.DropPath")
def drop_path(module: Any, seen: Seen) -> Construct:
    """Rows."""
    args = {"p": float(module.drop_prob or 0.0), "mode": "row", "scale": bool(module.scale_by_keep)}
    return Construct("StochasticDepth", args, 1, {"scale": True})
