"""torchvision's RandomErasing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dsbridge.frameworks.detect import require_torch
from dsbridge.transforms.foreign import pin_coin, pin_params
from dsbridge.transforms.ops.erase import RandomErasing
from dsbridge.transforms.torchvision.names import both


def _read(original: Any) -> RandomErasing:
    value = original.value  # v2 keeps None for "random", and lists
    if value is None or isinstance(value, str):
        values = None
    else:
        values = tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),)
    low, high = map(float, original.scale)
    flat, tall = map(float, original.ratio)
    return RandomErasing(float(original.p), (low, high), (flat, tall), values, takes_pil=hasattr(original, "make_params"))


def _pin(original: Any, params: Any) -> Callable[[Any], Any]:
    if params is None:
        return pin_coin(original, None)
    top, left, height, width, *noise = params
    values = noise[0] if noise else np.asarray(_read(original).value, np.float32)[:, None, None]
    v = require_torch("verifying RandomErasing").from_numpy(values)
    return pin_params(original, (top, left, height, width, v), {"i": top, "j": left, "h": height, "w": width, "v": v})


FOREIGN = both("RandomErasing", "_augment", _read, _pin)
