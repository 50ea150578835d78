"""Pooling and resampling."""

from __future__ import annotations

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer, same


@layer(nn.MaxPool2d)
def max_pool2d(module: nn.MaxPool2d, seen: Seen) -> Construct:
    """MindSpore's has padding and ceil_mode with pad_mode="pad"."""
    if module.return_indices:
        raise Refused("return_indices=True")
    args = {
        "kernel_size": same(module.kernel_size), "stride": same(module.stride), "pad_mode": "pad",
        "padding": same(module.padding), "dilation": same(module.dilation), "ceil_mode": module.ceil_mode,
    }  # fmt: skip
    return Construct("nn.MaxPool2d", args, 1, {"padding": 0, "dilation": 1, "ceil_mode": False})


@layer(nn.AvgPool2d)
def avg_pool2d(module: nn.AvgPool2d, seen: Seen) -> Construct:
    """count_include_pad is torch's default and MindSpore's."""
    args = {
        "kernel_size": same(module.kernel_size), "stride": same(module.stride), "pad_mode": "pad",
        "padding": same(module.padding), "ceil_mode": module.ceil_mode,
        "count_include_pad": module.count_include_pad, "divisor_override": module.divisor_override,
    }  # fmt: skip
    return Construct(
        "nn.AvgPool2d", args, 1, {"padding": 0, "ceil_mode": False, "count_include_pad": True, "divisor_override": None}
    )


@layer(nn.AdaptiveAvgPool2d)
def adaptive_avg_pool2d(module: nn.AdaptiveAvgPool2d, seen: Seen) -> Construct:
    """The same output sizes; None keeps one."""
    return Construct("nn.AdaptiveAvgPool2d", {"output_size": same(module.output_size)}, 1)


@layer(nn.AdaptiveMaxPool2d)
def adaptive_max_pool2d(module: nn.AdaptiveMaxPool2d, seen: Seen) -> Construct:
    """The same output sizes."""
    if module.return_indices:
        raise Refused("return_indices=True")
    return Construct("nn.AdaptiveMaxPool2d", {"output_size": same(module.output_size)}, 1)


@layer(nn.AdaptiveAvgPool1d)
def adaptive_avg_pool1d(module: nn.AdaptiveAvgPool1d, seen: Seen) -> Construct:
    """A helper: MindSpore's takes sizes that divide the input's only."""
    return Construct("AdaptiveAvgPool1d", {"output_size": same(module.output_size)}, 1)


@layer(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
def upsample(module: nn.Upsample, seen: Seen) -> Construct:
    """As a helper over ops.interpolate: sizes from scale factors are computed as torch does."""
    if module.mode not in ("nearest", "bilinear"):
        raise Refused(f"mode={module.mode!r}: MindSpore's values differ")
    if seen.input is not None and seen.input.ndim != 4:
        raise Refused(f"{seen.input.ndim}-d input")
    args = {
        "size": module.size, "scale_factor": module.scale_factor, "mode": module.mode,
        "align_corners": bool(module.align_corners),
    }  # fmt: skip
    return Construct("Upsample", args, 0, {"size": None, "scale_factor": None, "mode": "nearest", "align_corners": False})
