"""Boxes under crops, pads and resizes, in torchvision v2's arithmetic (its clamping mode "soft")."""

from __future__ import annotations

import numpy as np

from dsbridge.transforms.ops.values import Array, Boxes


def cropped(boxes: Boxes, top: int, left: int, height: int, width: int) -> Boxes:
    """Boxes after a crop: shifted, then clamped to the new canvas.

    >>> cropped(Boxes(np.float32([[1, 2, 8, 9]]), "XYXY", (10, 10)), 1, 2, 5, 5).array.tolist()
    [[0.0, 1.0, 5.0, 5.0]]
    """
    return _shifted(boxes, -left, -top, (height, width))


def padded(boxes: Boxes, left: int, top: int, right: int, bottom: int) -> Boxes:
    """Boxes after constant padding: shifted, then clamped to the new canvas.

    >>> padded(Boxes(np.float32([[1, 2, 3, 4]]), "XYWH", (10, 10)), 1, 2, 0, 0).array.tolist()
    [[2.0, 4.0, 3.0, 4.0]]
    """
    height, width = boxes.canvas
    return _shifted(boxes, left, top, (height + top + bottom, width + left + right))


def resized(boxes: Boxes, height: int, width: int) -> Boxes:
    """Boxes after a resize to ``height`` x ``width``; float32 ratios whatever their dtype, as torch's default has it.

    >>> resized(Boxes(np.int64([[1, 2, 3, 4]]), "XYXY", (10, 10)), 20, 5).array.tolist()
    [[0, 4, 1, 8]]
    """
    if boxes.canvas == (height, width):
        return boxes
    down, across = height / boxes.canvas[0], width / boxes.canvas[1]
    scaled = _floating(boxes.array) * np.array([across, down, across, down], np.float32)
    return boxes.with_array(scaled.astype(boxes.array.dtype), (height, width))


def _shifted(boxes: Boxes, right: int, down: int, canvas: tuple[int, int]) -> Boxes:
    far = (right, down) if boxes.format == "XYXY" else (0, 0)
    return _clamped(boxes.with_array(boxes.array + np.array([right, down, *far], boxes.array.dtype), canvas))


def _clamped(boxes: Boxes) -> Boxes:
    array = _floating(boxes.array)
    low, high = array[:, :2], array[:, 2:]
    if boxes.format == "CXCYWH":
        low = low - high / 2
    if boxes.format != "XYXY":
        high = low + high
    corner = np.array(boxes.canvas[::-1], array.dtype)
    low, high = np.clip(low, 0, corner), np.clip(high, 0, corner)
    if boxes.format != "XYXY":
        high = high - low
    if boxes.format == "CXCYWH":
        low = (low * 2 + high) / 2
    return boxes.with_array(np.concatenate([low, high], 1).astype(boxes.array.dtype))


def _floating(array: Array) -> Array:
    return array if array.dtype.kind == "f" else array.astype(np.float32)
