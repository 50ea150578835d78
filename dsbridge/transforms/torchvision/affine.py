"""torchvision's RandomAffine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import pin_params
from dsbridge.transforms.ops.affine import RandomAffine
from dsbridge.transforms.torchvision.names import both
from dsbridge.transforms.torchvision.pad import fill_of
from dsbridge.transforms.torchvision.rotate import filter_of, point_of, version_of


def _affine(original: Any) -> RandomAffine:
    return RandomAffine(
        degrees=(original.degrees[0], original.degrees[1]),
        translate=point_of(original.translate),
        scale=point_of(original.scale),
        shear=None if original.shear is None else tuple(original.shear),
        interpolation=filter_of(original),
        fill=fill_of(original),
        center=point_of(original.center),
        version=version_of(original),
    )


def _pin(original: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(original, v1=params, v2=dict(zip(("angle", "translate", "scale", "shear"), params, strict=True)))


FOREIGN = both("RandomAffine", "_geometry", _affine, _pin)
