"""Boxes alone: clamped to the canvas, or in another format; images stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Boxes

FORMATS = ("XYXY", "XYWH", "CXCYWH")


def _half(sizes: Array) -> Array:
    return sizes // 2 if sizes.dtype.kind in "iu" else sizes / 2


def _xywh_to_xyxy(boxes: Array) -> Array:
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _xyxy_to_xywh(boxes: Array) -> Array:
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def _xywh_to_cxcywh(boxes: Array) -> Array:
    boxes[:, :2] += _half(boxes[:, 2:])
    return boxes


def _xyxy_to_cxcywh(boxes: Array) -> Array:
    boxes[:, 2:] -= boxes[:, :2]
    boxes[:, :2] = _half(boxes[:, :2] * 2 + boxes[:, 2:])
    return boxes


def _cxcywh_to_xyxy(boxes: Array) -> Array:
    out = boxes.astype(np.float32) if boxes.dtype.kind in "iu" else boxes
    out[:, :2] -= out[:, 2:] / 2
    out[:, 2:] += out[:, :2]
    return out.astype(boxes.dtype, copy=False)


def _cxcywh_to_xywh(boxes: Array) -> Array:
    if boxes.dtype.kind in "iu":  # whose corners are rounded first, and sizes follow
        return _xyxy_to_xywh(_cxcywh_to_xyxy(boxes))
    boxes[:, :2] -= boxes[:, 2:] / 2
    return boxes


_WAYS = {
    ("XYWH", "XYXY"): _xywh_to_xyxy,
    ("XYWH", "CXCYWH"): _xywh_to_cxcywh,
    ("XYXY", "XYWH"): _xyxy_to_xywh,
    ("XYXY", "CXCYWH"): _xyxy_to_cxcywh,
    ("CXCYWH", "XYXY"): _cxcywh_to_xyxy,
    ("CXCYWH", "XYWH"): _cxcywh_to_xywh,
}


def reformat(boxes: Array, old: str, new: str) -> Array:
    """Boxes [N, 4] in another format, with the roundings that torchvision gives to integers; the input is left alone.

    >>> reformat(np.array([[10, 20, 30, 40]]), "XYWH", "XYXY").tolist()
    [[10, 20, 40, 60]]
    """
    return boxes.copy() if old == new else _WAYS[old, new](boxes.copy())


@dataclass(frozen=True, slots=True)
class ConvertBoundingBoxFormat:
    """Boxes in another format: XYXY, XYWH or CXCYWH.

    >>> op = ConvertBoundingBoxFormat("XYXY")
    >>> op.boxes(Boxes(np.array([[10, 20, 30, 40]]), "XYWH", (100, 100))).array.tolist()
    [[10, 20, 40, 60]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    format: str

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise TransformError(f"boxes of format {self.format!r}. Hint: it is one of {', '.join(FORMATS)}")

    def pil(self, image: Any) -> Any:
        return image

    def chw(self, image: Array) -> Array:
        return image

    def boxes(self, boxes: Boxes) -> Boxes:
        return replace(boxes, array=reformat(boxes.array, boxes.format, self.format), format=self.format)


@dataclass(frozen=True, slots=True)
class ClampBoundingBoxes:
    """Boxes cut off at the canvas; ``clamping_mode`` None leaves them as they are.

    "auto", "soft" and "hard" are one for boxes that are not rotated.

    >>> ClampBoundingBoxes().boxes(Boxes(np.array([[-5, 20, 130, 40]]), "XYXY", (100, 100))).array.tolist()
    [[0, 20, 100, 40]]
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil", "uint8", "float")

    clamping_mode: str | None = "auto"

    def __post_init__(self) -> None:
        if self.clamping_mode not in ("auto", "soft", "hard", None):
            raise TransformError(f"clamping_mode {self.clamping_mode!r}. Hint: it is 'auto', 'soft', 'hard' or None")

    def pil(self, image: Any) -> Any:
        return image

    def chw(self, image: Array) -> Array:
        return image

    def boxes(self, boxes: Boxes) -> Boxes:
        if self.clamping_mode is None:
            return boxes
        array = boxes.array
        floats = array if array.dtype.kind == "f" else array.astype(np.float32)
        corners = reformat(floats, boxes.format, "XYXY")
        height, width = boxes.canvas
        corners = corners.clip(0, np.asarray([width, height, width, height], corners.dtype))
        return boxes.with_array(reformat(corners, "XYXY", boxes.format).astype(array.dtype, copy=False))
