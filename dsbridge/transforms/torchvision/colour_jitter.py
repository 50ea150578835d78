"""torchvision's ColorJitter, v2.RandomPhotometricDistort and v2.RandomChannelPermutation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.transforms.foreign import Foreign, Refused, pin_params
from dsbridge.transforms.ops.colour_jitter import ColorJitter, RandomChannelPermutation, RandomPhotometricDistort
from dsbridge.transforms.torchvision.names import V1, only_v2

_FACTORS = ("brightness", "contrast", "saturation", "hue")


def _ranges(original: Any) -> dict[str, Any]:
    given = {name: getattr(original, name) for name in _FACTORS}
    return {name: None if pair is None else (float(pair[0]), float(pair[1])) for name, pair in given.items()}


def _jitter(arithmetic: str, original: Any) -> ColorJitter:
    try:
        return ColorJitter(**_ranges(original), arithmetic=arithmetic)
    except (TransformError, TypeError, ValueError) as exc:
        raise Refused(f"its ranges were changed: {exc}") from exc


def _distort(original: Any) -> RandomPhotometricDistort:
    try:
        return RandomPhotometricDistort(**_ranges(original), p=float(original.p))
    except (TransformError, TypeError, ValueError) as exc:
        raise Refused(f"its ranges are not ones that its operations take: {exc}") from exc


def _permutation(original: Any) -> RandomChannelPermutation:
    return RandomChannelPermutation()


def _pin_jitter(instance: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(instance, params, dict(zip(("fn_idx", *(f"{name}_factor" for name in _FACTORS)), params, strict=True)))


def _pin_distort(instance: Any, params: Any) -> Callable[[Any], Any]:
    names = (*(f"{name}_factor" for name in _FACTORS), "contrast_before", "channel_permutation")
    return pin_params(instance, params, dict(zip(names, params, strict=True)))


def _pin_permutation(instance: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(instance, params, {"permutation": list(params[0])})


FOREIGN = (
    Foreign(f"{V1}.ColorJitter", partial(_jitter, "v1"), _pin_jitter),
    only_v2("ColorJitter", "_color", partial(_jitter, "v2"), _pin_jitter),
    only_v2("RandomPhotometricDistort", "_color", _distort, _pin_distort),
    only_v2("RandomChannelPermutation", "_color", _permutation, _pin_permutation),
)
