"""torchvision's augmentation policies, on PIL images. AugMix is left to the original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from dsbridge.transforms.foreign import Refused, pinned
from dsbridge.transforms.ops.policies import Act, AutoAugment, RandAugment, TrivialAugmentWide
from dsbridge.transforms.ops.policy_tables import POLICIES
from dsbridge.transforms.torchvision.names import V1_AUTO, both
from dsbridge.transforms.torchvision.pad import fill_of
from dsbridge.transforms.torchvision.rotate import filter_of, version_of


def _rand_augment(original: Any) -> RandAugment:
    return RandAugment(
        num_ops=original.num_ops,
        magnitude=original.magnitude,
        num_magnitude_bins=_bins(original),
        **_shared(original),
    )


def _trivial_augment(original: Any) -> TrivialAugmentWide:
    return TrivialAugmentWide(num_magnitude_bins=_bins(original), **_shared(original))


def _auto_augment(original: Any) -> AutoAugment:
    policies = original.policies if version_of(original) == 1 else original._policies
    for name, known in POLICIES.items():
        if tuple(policies) == known:
            return AutoAugment(policy=name, **_shared(original))
    raise Refused("its policies are not one of torchvision's three tables")


def _aug_mix(original: Any) -> NoReturn:
    raise Refused("AugMix turns images into tensors and warps them with torch's own arithmetic, which differs by machine")


def _shared(original: Any) -> dict[str, Any]:
    if "_AUGMENTATION_SPACE" in vars(original):
        raise Refused("its operations were changed")
    return {"interpolation": filter_of(original), "fill": fill_of(original), "version": version_of(original)}


def _bins(original: Any) -> int:
    if original.num_magnitude_bins < 2:
        raise Refused("with a single magnitude, torchvision divides by zero")
    return int(original.num_magnitude_bins)


def _pin_auto(original: Any, params: tuple[Act, ...]) -> Callable[[Any], Any]:
    """One policy is left: the drawn operations, always done, each with its place as the index of its magnitude."""
    space = _space(original, params, len(params))
    policies = [tuple((name, 1.0, place) for place, (name, _) in enumerate(params))]
    if version_of(original) == 2:
        return pinned(original, _policies=policies, **space)  # type: ignore[no-any-return]
    ones = (1,) * len(params)
    return pinned(original, policies=policies, get_params=lambda count: (0, (0.0,) * len(params), ones), **space)  # type: ignore[no-any-return]


def _pin_random(original: Any, params: tuple[Act, ...]) -> Callable[[Any], Any]:
    """One copy for each drawn operation, which has no other operation and no other magnitude to choose."""
    once = {"num_ops": 1} if hasattr(original, "num_ops") else {}
    copies = [pinned(original, **once, **_space(original, (act,), original.num_magnitude_bins)) for act in params]

    def run(image: Any) -> Any:
        for copy in copies:
            image = copy(image)
        return image

    return run


def _space(original: Any, acts: tuple[Act, ...], length: int) -> dict[str, Any]:
    """What makes an instance choose from these operations; their magnitudes come in the order of the acts, repeated."""
    magnitudes = np.resize([magnitude for _, magnitude in acts], length)
    if version_of(original) == 2:
        return {"_AUGMENTATION_SPACE": {name: (lambda bins, height, width: magnitudes, False) for name, _ in acts}}
    return {"_augmentation_space": lambda *sizes: {name: (magnitudes, False) for name, _ in acts}}


FOREIGN = (
    *both("RandAugment", "_auto_augment", _rand_augment, _pin_random, v1=V1_AUTO),
    *both("TrivialAugmentWide", "_auto_augment", _trivial_augment, _pin_random, v1=V1_AUTO),
    *both("AutoAugment", "_auto_augment", _auto_augment, _pin_auto, v1=V1_AUTO),
    *both("AugMix", "_auto_augment", _aug_mix, v1=V1_AUTO),
)
