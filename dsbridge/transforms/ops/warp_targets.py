"""Boxes and masks under an affine map, in the arithmetic of torchvision's v2."""

from __future__ import annotations

import math

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.box_tools import reformat
from dsbridge.transforms.ops.values import Array, Boxes, Fill
from dsbridge.transforms.ops.warp import Point, even_steps, inverse_affine


def affine_boxes(boxes: Boxes, center: Point | None, angle: float, translate: Point, scale: float, shear: Point) -> Boxes:
    """The boxes around the boxes that such a map moves, cut at the canvas; the map of ``inverse_affine``, from input to output.

    The arithmetic is that of torchvision's v2 in the boxes' precision, single for whole numbers.

    >>> affine_boxes(Boxes(np.array([[1, 2, 3, 4]]), "XYXY", (8, 8)), None, 90.0, (1, 0), 1.0, (0.0, 0.0)).array.tolist()
    [[5, 1, 7, 3]]
    """
    if not boxes.array.size:
        return boxes
    turn, shear_x, shear_y = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    a, c = math.cos(turn - shear_y) / math.cos(shear_y), math.sin(turn - shear_y) / math.cos(shear_y)
    b, d = -(a * math.tan(shear_x) + math.sin(turn)), math.cos(turn) - c * math.tan(shear_x)
    height, width = boxes.canvas
    at_x, at_y = (width * 0.5, height * 0.5) if center is None else center
    xx, xy, yx, yy = a * scale, b * scale, c * scale, d * scale
    to_x = at_x + translate[0] - xx * at_x - xy * at_y
    to_y = at_y + translate[1] - yx * at_x - yy * at_y
    kind = boxes.array.dtype if boxes.array.dtype.kind == "f" else np.dtype(np.float32)
    map_x, map_y = np.array([[xx, xy, to_x], [yx, yy, to_y]], kind)
    corners = reformat(boxes.array.astype(kind), boxes.format, "XYXY")
    x, y = corners[:, [0, 2, 2, 0]], corners[:, [1, 1, 3, 3]]
    new_x = np.clip(x * map_x[0] + y * map_x[1] + map_x[2], 0, width)
    new_y = np.clip(x * map_y[0] + y * map_y[1] + map_y[2], 0, height)
    around = np.stack([new_x.min(1), new_y.min(1), new_x.max(1), new_y.max(1)], 1)
    return boxes.with_array(reformat(around, "XYXY", boxes.format).astype(boxes.array.dtype))


def affine_mask(
    mask: Array, center: Point | None, angle: float, translate: Point, scale: float, shear: Point, fill: Fill
) -> Array:
    """A mask [..., H, W] under the map of ``inverse_affine``: the nearest value, ``fill`` for what was outside.

    Single precision throughout, as in torch, as it decides which value is nearest.

    >>> affine_mask(np.array([[1, 2, 3]]), None, 0.0, (1, 0), 1.0, (0.0, 0.0), 9).tolist()
    [[9, 1, 2]]
    """
    if mask.dtype.kind not in "biu" and mask.dtype != np.float32:
        raise TransformError(f"a mask is of whole numbers, bool or float32, got {mask.dtype}. Hint: convert it before")
    if isinstance(fill, tuple):
        if len(fill) != 1:
            raise TransformError(f"the fill {fill} suits no mask. Hint: give one number, or masks without this transform")
        fill = fill[0]
    height, width = mask.shape[-2:]
    about = (0.0, 0.0) if center is None else (center[0] - width * 0.5, center[1] - height * 0.5)
    matrix = np.array(inverse_affine(about, angle, translate, scale, shear, version=2), np.float32).reshape(2, 3)
    matrix /= np.array([[0.5 * width], [0.5 * height]], np.float32)
    x = even_steps((1.0 - width) * 0.5, (width - 1.0) * 0.5, width)
    y = even_steps((1.0 - height) * 0.5, (height - 1.0) * 0.5, height)[:, None]
    column = _pixel(x * matrix[0, 0] + y * matrix[0, 1] + matrix[0, 2], width)
    row = _pixel(x * matrix[1, 0] + y * matrix[1, 1] + matrix[1, 2], height)
    outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
    row[outside] = column[outside] = 0
    moved: Array = mask[..., row, column]
    moved[..., outside] = fill if mask.dtype.kind == "f" else np.rint(np.float32(fill)).astype(mask.dtype)
    return moved


def _pixel(place: Array, size: int) -> Array:
    """The index of the nearest pixel; -1 and 1 are the image's outer edges."""
    found: Array = np.rint((place + np.float32(1)) * np.float32(size / 2) - np.float32(0.5)).astype(np.int64)
    return found
