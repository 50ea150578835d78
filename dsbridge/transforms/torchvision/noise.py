"""torchvision's v2.GaussianNoise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from dsbridge.transforms.foreign import Refused
from dsbridge.transforms.ops.noise import GaussianNoise
from dsbridge.transforms.torchvision.names import only_v2


def _noise(original: Any) -> GaussianNoise:
    if not original.sigma >= 0:
        raise Refused(f"sigma {original.sigma!r} is no deviation")
    return GaussianNoise(float(original.mean), float(original.sigma), bool(original.clip))


def _pin(instance: Any, params: Any) -> Callable[[Any], Any]:
    """The noise is drawn amid the arithmetic, by torch.randn_like: it gives ours while the instance runs."""
    torch = sys.modules["torch"]

    def run(image: Any) -> Any:
        def ours(like: Any, dtype: Any = None) -> Any:
            return torch.from_numpy(params[0]).to(dtype or like.dtype)

        original, torch.randn_like = torch.randn_like, ours  # type: ignore[attr-defined]
        try:
            return instance(image)
        finally:
            torch.randn_like = original  # type: ignore[attr-defined]

    return run


FOREIGN = (only_v2("GaussianNoise", "_misc", _noise, _pin),)
