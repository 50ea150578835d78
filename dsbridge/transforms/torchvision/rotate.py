"""torchvision's RandomRotation, and the settings that all its warps share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import Refused, pin_params
from dsbridge.transforms.ops.rotate import RandomRotation
from dsbridge.transforms.ops.warp import RESAMPLING
from dsbridge.transforms.torchvision.names import V2, both, interpolation
from dsbridge.transforms.torchvision.pad import fill_of


def filter_of(original: Any) -> str:
    """The interpolation of a warp; raises ``Refused`` for one with which Pillow cannot warp.

    >>> from types import SimpleNamespace
    >>> filter_of(SimpleNamespace(interpolation="bilinear"))
    'bilinear'
    """
    name = interpolation(original.interpolation)
    if name not in RESAMPLING:
        raise Refused(f"interpolation {name!r} cannot warp a PIL image")
    return name


def point_of(value: Any) -> tuple[float, float] | None:
    """A point or pair as a tuple; None stays None.

    >>> point_of([1, 2.5])
    (1, 2.5)
    """
    return None if value is None else (value[0], value[1])


def version_of(original: Any) -> int:
    """1 for a class of torchvision.transforms, 2 for one of torchvision.transforms.v2.

    >>> version_of(object())
    1
    """
    return 2 if type(original).__module__.startswith(f"{V2}.") else 1


def _rotation(original: Any) -> RandomRotation:
    return RandomRotation(
        degrees=(original.degrees[0], original.degrees[1]),
        interpolation=filter_of(original),
        expand=bool(original.expand),
        center=point_of(original.center),
        fill=fill_of(original),
    )


def _pin(original: Any, params: Any) -> Callable[[Any], Any]:
    (angle,) = params
    return pin_params(original, v1=angle, v2={"angle": angle})


FOREIGN = both("RandomRotation", "_geometry", _rotation, _pin)
