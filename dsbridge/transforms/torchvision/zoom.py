"""torchvision's zooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import pin_coin, pin_params
from dsbridge.transforms.ops.zoom import RandomResizedCrop, RandomZoomOut
from dsbridge.transforms.torchvision.names import both, only_v2
from dsbridge.transforms.torchvision.pad import fill_of
from dsbridge.transforms.torchvision.resize import filter_of, pair


def _floats(value: Any) -> tuple[float, float]:
    low, high = map(float, value)
    return low, high


def _in(original: Any) -> RandomResizedCrop:
    return RandomResizedCrop(pair(original.size), _floats(original.scale), _floats(original.ratio), *filter_of(original))


def _pin_in(original: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(original, params, dict(zip(("top", "left", "height", "width"), params, strict=True)))


def _out(original: Any) -> RandomZoomOut:
    return RandomZoomOut(fill_of(original), _floats(original.side_range), float(original.p))


def _pin_out(original: Any, params: Any) -> Callable[[Any], Any]:
    if params is None:
        return pin_coin(original, None)
    return pin_params(original, None, {"padding": list(params)})


FOREIGN = (
    *both("RandomResizedCrop", "_geometry", _in, _pin_in),
    only_v2("RandomZoomOut", "_geometry", _out, _pin_out),
)
