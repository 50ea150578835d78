"""torchvision's RandomInvert, RandomPosterize, RandomSolarize, RandomAutocontrast, RandomEqualize, RandomAdjustSharpness."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.transforms.foreign import Foreign, Refused, pin_coin
from dsbridge.transforms.ops.photometric import (
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from dsbridge.transforms.torchvision.names import V1, only_v2


def _read(make: Callable[..., Any], settings: tuple[str, ...], arithmetic: str, original: Any) -> Any:
    values = [getattr(original, name) for name in settings]
    for name, value in zip(settings, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Refused(f"{name} {value!r} is not a number")
    try:
        return make(*values, p=float(original.p), arithmetic=arithmetic)
    except TransformError as exc:
        raise Refused(str(exc)) from exc


def _both(make: Any, *settings: str) -> tuple[Foreign, Foreign]:
    name = make.__name__
    v1 = Foreign(f"{V1}.{name}", partial(_read, make, settings, "v1"), pin_coin)
    return v1, only_v2(name, "_color", partial(_read, make, settings, "v2"), pin_coin)


FOREIGN = (
    *_both(RandomInvert),
    *_both(RandomPosterize, "bits"),
    *_both(RandomSolarize, "threshold"),
    *_both(RandomAutocontrast),
    *_both(RandomEqualize),
    *_both(RandomAdjustSharpness, "sharpness_factor"),
)
