"""torchvision's flips."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.foreign import pin_coin
from dsbridge.transforms.ops.flip import RandomHorizontalFlip, RandomVerticalFlip
from dsbridge.transforms.torchvision.names import both


def _horizontal(original: Any) -> RandomHorizontalFlip:
    return RandomHorizontalFlip(p=float(original.p))


def _vertical(original: Any) -> RandomVerticalFlip:
    return RandomVerticalFlip(p=float(original.p))


FOREIGN = (
    *both("RandomHorizontalFlip", "_geometry", _horizontal, pin_coin),
    *both("RandomVerticalFlip", "_geometry", _vertical, pin_coin),
)
