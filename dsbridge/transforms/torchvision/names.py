"""Qualified names of torchvision's transform classes, and the values their attributes may have."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.foreign import Foreign, Pin, Reader, Refused

V1 = "torchvision.transforms.transforms"
V1_AUTO = "torchvision.transforms.autoaugment"
V2 = "torchvision.transforms.v2"


def both(name: str, module: str, read: Reader, pin: Pin | None = None, *, v1: str = V1) -> tuple[Foreign, Foreign]:
    """A class of v1 and its namesake in ``torchvision.transforms.v2.<module>``, where both do the same."""
    return Foreign(f"{v1}.{name}", read, pin), only_v2(name, module, read, pin)


def only_v2(name: str, module: str, read: Reader, pin: Pin | None = None) -> Foreign:
    """A class of ``torchvision.transforms.v2.<module>``."""
    return Foreign(f"{V2}.{module}.{name}", read, pin)


INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")
_BY_PILLOW_NUMBER = {0: "nearest", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming", 1: "lanczos"}


def interpolation(value: Any) -> str:
    """The name of an interpolation given as InterpolationMode, as a string or as Pillow's number.

    Raises ``Refused`` for anything else.

    >>> interpolation("bilinear"), interpolation(3)
    ('bilinear', 'bicubic')
    """
    name = getattr(value, "value", value)
    name = _BY_PILLOW_NUMBER.get(name, name) if isinstance(name, int) else name
    if name not in INTERPOLATIONS:
        raise Refused(f"interpolation {value!r} is not one that torchvision has")
    return str(name)
