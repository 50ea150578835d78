"""Layers that only move values."""

from __future__ import annotations

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Seen, layer


@layer(nn.Flatten)
def flatten(module: nn.Flatten, seen: Seen) -> Construct:
    """The same axes."""
    args = {"start_dim": module.start_dim, "end_dim": module.end_dim}
    return Construct("nn.Flatten", args, 0, {"start_dim": 1, "end_dim": -1})


@layer(nn.PixelShuffle)
def pixel_shuffle(module: nn.PixelShuffle, seen: Seen) -> Construct:
    """The same factor."""
    return Construct("nn.PixelShuffle", {"upscale_factor": module.upscale_factor}, 1)


@layer(nn.PixelUnshuffle)
def pixel_unshuffle(module: nn.PixelUnshuffle, seen: Seen) -> Construct:
    """The same factor."""
    return Construct("nn.PixelUnshuffle", {"downscale_factor": module.downscale_factor}, 1)


@layer(nn.ZeroPad2d)
def zero_pad2d(module: nn.ZeroPad2d, seen: Seen) -> Construct:
    """(left, right, top, bottom) in both; cropping is not."""
    if min(module.padding) < 0:
        raise Refused(f"padding={module.padding}: it crops")
    return Construct("nn.ZeroPad2d", {"padding": tuple(module.padding)}, 1)


@layer(nn.ChannelShuffle)
def channel_shuffle(module: nn.ChannelShuffle, seen: Seen) -> Construct:
    """The same groups."""
    return Construct("nn.ChannelShuffle", {"groups": module.groups}, 1)
