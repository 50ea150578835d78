"""torchvision's MixUp and CutMix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import Refused, pin_params
from dsbridge.transforms.ops.mix import CutMix, MixUp
from dsbridge.transforms.torchvision.names import only_v2


def _settings(original: Any) -> tuple[float, int | None]:
    if getattr(original._labels_getter, "__name__", "") != "_find_labels_default_heuristic":
        raise Refused("it finds the labels by a function of the user's")
    return float(original.alpha), None if original.num_classes is None else int(original.num_classes)


def _mixup(original: Any) -> MixUp:
    return MixUp(*_settings(original))


def _cutmix(original: Any) -> CutMix:
    return CutMix(*_settings(original))


def _pin_mixup(original: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(original, None, {"lam": params[0]})


def _pin_cutmix(original: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(original, None, {"box": params[0], "lam_adjusted": params[1]})


FOREIGN = (
    only_v2("MixUp", "_augment", _mixup, _pin_mixup),
    only_v2("CutMix", "_augment", _cutmix, _pin_cutmix),
)
