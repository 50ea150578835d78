"""torchvision's Grayscale, RandomGrayscale and v2.RGB."""

from __future__ import annotations

from functools import partial
from typing import Any

from dsbridge.transforms.foreign import Foreign, Refused, pin_coin
from dsbridge.transforms.ops.grayscale import RGB, Grayscale, RandomGrayscale
from dsbridge.transforms.torchvision.names import V1, only_v2


def _grayscale(arithmetic: str, original: Any) -> Grayscale:
    if original.num_output_channels not in (1, 3):
        raise Refused(f"num_output_channels {original.num_output_channels!r} is neither 1 nor 3")
    return Grayscale(int(original.num_output_channels), arithmetic)


def _random_grayscale(arithmetic: str, original: Any) -> RandomGrayscale:
    return RandomGrayscale(float(original.p), arithmetic)


def _rgb(original: Any) -> RGB:
    return RGB()


FOREIGN = (
    Foreign(f"{V1}.Grayscale", partial(_grayscale, "v1")),
    only_v2("Grayscale", "_color", partial(_grayscale, "v2")),
    Foreign(f"{V1}.RandomGrayscale", partial(_random_grayscale, "v1"), pin_coin),
    only_v2("RandomGrayscale", "_color", partial(_random_grayscale, "v2"), pin_coin),
    only_v2("RGB", "_color", _rgb),
)
