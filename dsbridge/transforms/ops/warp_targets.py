"""Boxes and masks under an affine map, in the arithmetic of torchvision's v2."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.box_tools import reformat
from dsbridge.transforms.ops.values import Array, Boxes, Fill
from dsbridge.transforms.ops.warp import Point, even_steps, inverse_affine


def affine_boxes(
    boxes: Boxes, center: Point | None, angle: float, translate: Point, scale: float, shear: Point, *, expand: bool = False
) -> Boxes:
    """The boxes around the boxes that such a map moves, cut at the canvas; the map of ``inverse_affine``, from input to output.

    ``expand``: the canvas grows (see ``expanded_size``), but for no boxes at all it stays, as torchvision has it.
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
    new_x, new_y = x * map_x[0] + y * map_x[1] + map_x[2], x * map_y[0] + y * map_y[1] + map_y[2]
    around = np.stack([new_x.min(1), new_y.min(1), new_x.max(1), new_y.max(1)], 1)
    if expand:
        across, down = np.array([0, 0, width, width], kind), np.array([0, height, height, 0], kind)
        left = (across * map_x[0] + down * map_x[1] + map_x[2]).min()
        top = (across * map_y[0] + down * map_y[1] + map_y[2]).min()
        around -= np.array([left, top, left, top], kind)
        inverse = inverse_affine((at_x, at_y), angle, translate, scale, shear, version=2)
        height, width = expanded_size(inverse, height, width)
    around = np.clip(around, 0, np.array([width, height, width, height], kind))
    return boxes.with_array(reformat(around, "XYXY", boxes.format).astype(boxes.array.dtype), (height, width))


def expanded_size(inverse: Sequence[float], height: int, width: int) -> tuple[int, int]:
    """The size (height, width) of what this map makes of an image, as torchvision's v2 finds it, in single precision.

    Boxes and masks get it, PIL images have Pillow's own, which at times is a pixel more or less.

    >>> expanded_size([0.0, 1.0, 0.0, -1.0, 0.0, 0.0], 4, 6)
    (6, 4)
    """
    half = np.array([0.5 * width, 0.5 * height], np.float32)
    matrix = np.array(inverse, np.float32).reshape(2, 3)
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]], np.float32) * half
    ends = corners[:, :1] * matrix[:, 0] + corners[:, 1:] * matrix[:, 1] + matrix[:, 2]
    fine = np.float32(1e4)  # what is beyond the fourth place does not count
    low, high = (np.trunc((end + half) * fine) * np.float32(1e-4) for end in (ends.min(0), ends.max(0)))
    across, down = np.ceil(high) - np.floor(low)
    return int(down), int(across)


def affine_mask(
    mask: Array,
    center: Point | None,
    angle: float,
    translate: Point,
    scale: float,
    shear: Point,
    fill: Fill,
    *,
    expand: bool = False,
) -> Array:
    """A mask [..., H, W] under the map of ``inverse_affine``: the nearest value, ``fill`` for what was outside.

    ``expand``: the mask grows so that all of it stays, see ``expanded_size``.
    Single precision throughout, as in torch, as it decides which value is nearest.

    >>> affine_mask(np.array([[1, 2, 3]]), None, 0.0, (1, 0), 1.0, (0.0, 0.0), 9).tolist()
    [[9, 1, 2]]
    """
    colour = fill_of_mask(mask, fill)
    height, width = mask.shape[-2:]
    about = (0.0, 0.0) if center is None else (center[0] - width * 0.5, center[1] - height * 0.5)
    inverse = inverse_affine(about, angle, translate, scale, shear, version=2)
    matrix = np.array(inverse, np.float32).reshape(2, 3) / np.array([[0.5 * width], [0.5 * height]], np.float32)
    height, width = expanded_size(inverse, height, width) if expand else (height, width)
    x = even_steps((1.0 - width) * 0.5, (width - 1.0) * 0.5, width)
    y = even_steps((1.0 - height) * 0.5, (height - 1.0) * 0.5, height)[:, None]
    across = x * matrix[0, 0] + y * matrix[0, 1] + matrix[0, 2]
    down = x * matrix[1, 0] + y * matrix[1, 1] + matrix[1, 2]
    return nearest_pixels(mask, across, down, colour)


def fill_of_mask(mask: Array, fill: Fill) -> float:
    """The one number that fills a mask; raises ``TransformError`` for a mask or a fill that torchvision's v2 takes otherwise.

    >>> fill_of_mask(np.zeros((2, 2), np.uint8), (7,))
    7
    """
    if mask.dtype.kind not in "biu" and mask.dtype != np.float32:
        raise TransformError(f"a mask is of whole numbers, bool or float32, got {mask.dtype}. Hint: convert it before")
    if not isinstance(fill, tuple):
        return fill
    if len(fill) != 1:
        raise TransformError(f"the fill {fill} suits no mask. Hint: give one number, or masks without this transform")
    return fill[0]


def nearest_pixels(mask: Array, across: Array, down: Array, fill: float) -> Array:
    """The values of a mask nearest to places [H, W], of which -1 and 1 are the outer edges; ``fill`` outside.

    >>> nearest_pixels(np.array([[1, 2]]), np.float32([[-0.5, 1.5]]), np.float32([[0.0, 0.0]]), 9).tolist()
    [[1, 9]]
    """
    height, width = mask.shape[-2:]
    column, row = _pixel(across, width), _pixel(down, height)
    outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
    row[outside] = column[outside] = 0
    moved: Array = mask[..., row, column]
    moved[..., outside] = fill if mask.dtype.kind == "f" else np.rint(np.float32(fill)).astype(mask.dtype)
    return moved


def _pixel(place: Array, size: int) -> Array:
    """The index of the nearest pixel."""
    found: Array = np.rint((place + np.float32(1)) * np.float32(size / 2) - np.float32(0.5)).astype(np.int64)
    return found
