"""torchvision's ClampBoundingBoxes and ConvertBoundingBoxFormat."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.foreign import Refused
from dsbridge.transforms.ops.box_tools import FORMATS, ClampBoundingBoxes, ConvertBoundingBoxFormat
from dsbridge.transforms.torchvision.names import only_v2


def _convert(original: Any) -> ConvertBoundingBoxFormat:
    name = str(getattr(original.format, "value", original.format)).upper()
    if name not in FORMATS:
        raise Refused(f"boxes of format {name} are rotated")
    return ConvertBoundingBoxFormat(name)


def _clamp(original: Any) -> ClampBoundingBoxes:
    return ClampBoundingBoxes(original.clamping_mode)


FOREIGN = (
    only_v2("ConvertBoundingBoxFormat", "_meta", _convert),
    only_v2("ClampBoundingBoxes", "_meta", _clamp),
)
