"""torchvision's Pad, and how it gives paddings and fills."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.foreign import Refused
from dsbridge.transforms.ops.pad import Pad, Sides
from dsbridge.transforms.ops.values import Fill
from dsbridge.transforms.torchvision.names import both
from dsbridge.transforms.torchvision.resize import whole

_SIDES = {1: (0, 0, 0, 0), 2: (0, 1, 0, 1), 4: (0, 1, 2, 3)}


def sides_of(padding: Any) -> Sides:
    """A padding given as one, two or four numbers, as (left, top, right, bottom).

    >>> sides_of(3), sides_of([1, 2])
    ((3, 3, 3, 3), (1, 2, 1, 2))
    """
    values = padding if isinstance(padding, (tuple, list)) else (padding,)
    if len(values) not in _SIDES:
        raise Refused(f"padding {padding!r} is not one, two or four numbers")
    left, top, right, bottom = (whole(values[place]) for place in _SIDES[len(values)])
    return left, top, right, bottom


def fill_of(original: Any) -> Fill:
    """The fill of an instance, v1 or v2, where it is the same for every type of input.

    Raises ``Refused`` otherwise.
    """
    fill = original.fill
    if hasattr(original, "_fill"):  # v2: a fill for each type
        if list(original._fill) != ["others"]:
            raise Refused(f"fill {fill!r} depends on the type of the input")
        fill = original._fill["others"]
    if fill is None:
        return 0
    values = fill if isinstance(fill, (tuple, list)) else (fill,)
    if not values or not all(isinstance(value, (int, float)) for value in values):
        raise Refused(f"fill {fill!r} is not made of plain numbers")
    return tuple(values) if isinstance(fill, (tuple, list)) else fill


def _pad(original: Any) -> Pad:
    return Pad(sides_of(original.padding), fill_of(original), str(original.padding_mode))


FOREIGN = both("Pad", "_geometry", _pad)
