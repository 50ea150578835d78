"""torchvision's GaussianBlur."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.transforms.foreign import Foreign, Refused, pin_params
from dsbridge.transforms.ops.blur import GaussianBlur
from dsbridge.transforms.torchvision.names import V1, only_v2


def _blur(arithmetic: str, original: Any) -> GaussianBlur:
    try:
        width, height = original.kernel_size
        least, most = original.sigma
        return GaussianBlur((int(width), int(height)), (float(least), float(most)), arithmetic)
    except (TransformError, TypeError, ValueError) as exc:
        raise Refused(f"its settings were changed: {exc}") from exc


def _pin(instance: Any, params: Any) -> Callable[[Any], Any]:
    return pin_params(instance, params[0], {"sigma": [params[0], params[0]]})


FOREIGN = (
    Foreign(f"{V1}.GaussianBlur", partial(_blur, "v1"), _pin),
    only_v2("GaussianBlur", "_misc", partial(_blur, "v2"), _pin),
)
