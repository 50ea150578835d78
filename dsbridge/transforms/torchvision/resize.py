"""torchvision's resizes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import Refused, pin_params
from dsbridge.transforms.ops.resize import Resize
from dsbridge.transforms.ops.scale import RandomResize, RandomShortestSize, ScaleJitter
from dsbridge.transforms.torchvision.names import both, interpolation, only_v2


def whole(value: Any) -> int:
    """A whole number as a plain int.

    Raises ``Refused`` for anything else.

    >>> whole(3)
    3
    """
    try:
        return operator.index(value)
    except TypeError:
        raise Refused(f"{value!r} is not a whole number") from None


def pair(value: Any) -> tuple[int, int]:
    """A size (height, width).

    >>> pair([2, 3])
    (2, 3)
    """
    height, width = value
    return whole(height), whole(width)


def _size(size: Any) -> int | tuple[int, int] | None:
    if size is None or not isinstance(size, (tuple, list)):
        return None if size is None else whole(size)
    return whole(size[0]) if len(size) == 1 else pair(size)


def filter_of(original: Any) -> tuple[str, bool]:
    """Interpolation and antialias of an instance, of which antialias may be None, which is False."""
    return interpolation(original.interpolation), bool(original.antialias)


def _resize(original: Any) -> Resize:
    name, antialias = filter_of(original)
    longest = None if original.max_size is None else whole(original.max_size)
    return Resize(_size(original.size), name, longest, antialias)


def _random_resize(original: Any) -> RandomResize:
    return RandomResize(whole(original.min_size), whole(original.max_size), *filter_of(original))


def _shortest(original: Any) -> RandomShortestSize:
    longest = None if original.max_size is None else whole(original.max_size)
    return RandomShortestSize(tuple(map(whole, original.min_size)), longest, *filter_of(original))


def _jitter(original: Any) -> ScaleJitter:
    low, high = map(float, original.scale_range)
    return ScaleJitter(pair(original.target_size), (low, high), *filter_of(original))


def _pin_size(original: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(original, None, {"size": list(params)})


FOREIGN = (
    *both("Resize", "_geometry", _resize),
    only_v2("RandomResize", "_geometry", _random_resize, _pin_size),
    only_v2("RandomShortestSize", "_geometry", _shortest, _pin_size),
    only_v2("ScaleJitter", "_geometry", _jitter, _pin_size),
)
