"""torchvision's crops of a fixed size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import Foreign, Refused, pin_params, pinned
from dsbridge.transforms.ops.crop import CenterCrop, FiveCrop, RandomCrop, TenCrop
from dsbridge.transforms.ops.pad import Sides
from dsbridge.transforms.torchvision.names import V1, both, only_v2
from dsbridge.transforms.torchvision.pad import fill_of, sides_of
from dsbridge.transforms.torchvision.resize import pair, whole


def _center(original: Any) -> CenterCrop:
    return CenterCrop(pair(original.size))


def _five(original: Any) -> FiveCrop:
    return FiveCrop(pair(original.size))


def _ten(original: Any) -> TenCrop:
    return TenCrop(pair(original.size), bool(original.vertical_flip))


def _random(original: Any, sides: Sides) -> RandomCrop:
    mode = str(original.padding_mode)
    return RandomCrop(pair(original.size), sides, bool(original.pad_if_needed), fill_of(original), mode)


def _random_v1(original: Any) -> RandomCrop:
    op = _random(original, (0, 0, 0, 0) if original.padding is None else sides_of(original.padding))
    mirrors = op.padding_mode in ("reflect", "symmetric")
    if op.pad_if_needed and any(op.padding) and (mirrors or min(op.padding) < 0):
        raise Refused("v1 pads twice, which with such padding is not the same as once")
    return op


def _random_v2(original: Any) -> RandomCrop:
    left, right, top, bottom = map(whole, original.padding or (0, 0, 0, 0))
    return _random(original, (left, top, right, bottom))


def _pin_v1(original: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(original, (*params, *original.size), {})


def _pin_v2(original: Any, params: Any) -> Callable[[Any], Any]:
    place = dict(zip(("top", "left"), params, strict=True))
    return pinned(original, make_params=lambda inputs: original.make_params(inputs) | place)  # type: ignore[no-any-return]


FOREIGN = (
    *both("CenterCrop", "_geometry", _center),
    *both("FiveCrop", "_geometry", _five),
    *both("TenCrop", "_geometry", _ten),
    Foreign(f"{V1}.RandomCrop", _random_v1, _pin_v1),
    only_v2("RandomCrop", "_geometry", _random_v2, _pin_v2),
)
