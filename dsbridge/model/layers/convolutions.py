"""Convolutions. MindSpore pads "same" unless told; has no bias unless told."""

from __future__ import annotations

from typing import Any

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer, same

_DEFAULTS = {"stride": 1, "dilation": 1, "group": 1, "has_bias": False}


def _convolution(cell: str, module: Any) -> Construct:
    if module.padding_mode != "zeros":
        raise Refused(f"padding_mode={module.padding_mode!r}: MindSpore pads with zeros only")
    args = {
        "in_channels": module.in_channels, "out_channels": module.out_channels, "kernel_size": same(module.kernel_size),
        "stride": same(module.stride), "pad_mode": "pad", "padding": _padding(module), "dilation": same(module.dilation),
        "group": module.groups, "has_bias": module.bias is not None,
    }  # fmt: skip
    return Construct(cell, args, 3, _DEFAULTS)


def _padding(module: Any) -> Any:
    """An amount for all sides, or one for each side: MindSpore takes before and after, torch one for both."""
    if module.padding == "valid":
        return 0
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        sides = [(whole // 2, whole - whole // 2) for whole in total]
    else:
        sides = [(amount, amount) for amount in module.padding]
    return same(tuple(side for pair in sides for side in pair))


@layer(nn.Conv1d)
def conv1d(module: nn.Conv1d, seen: Seen) -> Construct:
    """Weight [out, in, k] in torch, [out, in, 1, k] there; ``dsb.checkpoint`` reshapes it."""
    return _convolution("nn.Conv1d", module)


@layer(nn.Conv2d)
def conv2d(module: nn.Conv2d, seen: Seen) -> Construct:
    """The same weight."""
    return _convolution("nn.Conv2d", module)


@layer(nn.Conv3d)
def conv3d(module: nn.Conv3d, seen: Seen) -> Construct:
    """The same weight; groups and dilation have no kernel on the CPU."""
    if module.groups != 1 or same(module.dilation) != 1:
        raise Refused("MindSpore's Conv3d on the CPU has groups=1 and dilation=1 only")
    return _convolution("nn.Conv3d", module)


@layer(nn.ConvTranspose1d)
def conv_transpose1d(module: nn.ConvTranspose1d, seen: Seen) -> Construct:
    """Weight [in, out, k] in torch, [in, out, 1, k] there; ``dsb.checkpoint`` reshapes it."""
    if module.padding_mode != "zeros" or any(module.output_padding):
        raise Refused(f"padding_mode={module.padding_mode!r}, output_padding={module.output_padding}")
    if any(len(call.args) > 1 or call.kwargs for call in seen.calls):
        raise Refused("it is called with output_size")
    return _convolution("nn.Conv1dTranspose", module)


@layer(nn.ConvTranspose2d)
def conv_transpose2d(module: nn.ConvTranspose2d, seen: Seen) -> Construct:
    """With output_padding a helper, which crops: with padding as well MindSpore's values are wrong."""
    if module.padding_mode != "zeros":
        raise Refused(f"padding_mode={module.padding_mode!r}")
    if any(len(call.args) > 1 or call.kwargs for call in seen.calls):
        raise Refused("it is called with output_size")
    args: dict[str, Any] = {
        "in_channels": module.in_channels, "out_channels": module.out_channels, "kernel_size": same(module.kernel_size),
        "stride": same(module.stride),
    }  # fmt: skip
    more = {"dilation": same(module.dilation), "group": module.groups, "has_bias": module.bias is not None}
    if any(module.output_padding):
        if any(more > crop for crop, more in zip(module.padding, module.output_padding, strict=True)):
            raise Refused("output_padding larger than padding")
        args |= {"padding": tuple(module.padding), "output_padding": tuple(module.output_padding), **more}
        return Construct("CroppedConvTranspose", args, 3, _DEFAULTS)
    args |= {"pad_mode": "pad", "padding": same(tuple(p for p in module.padding for _ in range(2))), **more}
    return Construct("nn.Conv2dTranspose", args, 3, _DEFAULTS)
