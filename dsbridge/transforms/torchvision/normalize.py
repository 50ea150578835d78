"""torchvision's Normalize."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.foreign import Refused
from dsbridge.transforms.ops.normalize import Normalize
from dsbridge.transforms.torchvision.names import both


def _floats(values: Any) -> tuple[float, ...]:
    """A number, a sequence, an array or a tensor of one dimension as floats."""
    values = values.tolist() if hasattr(values, "tolist") else values
    try:
        return tuple(map(float, values)) if isinstance(values, (list, tuple)) else (float(values),)
    except (TypeError, ValueError):
        raise Refused("its mean or std is neither a number nor a sequence of numbers") from None


def _normalize(original: Any) -> Normalize:
    return Normalize(_floats(original.mean), _floats(original.std))


FOREIGN = both("Normalize", "_misc", _normalize)
