"""Boxes and masks under a change of perspective, in the arithmetic of torchvision's v2."""

from __future__ import annotations

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.box_tools import reformat
from dsbridge.transforms.ops.values import Array, Boxes, Fill
from dsbridge.transforms.ops.warp import even_steps
from dsbridge.transforms.ops.warp_targets import fill_of_mask, nearest_pixels

Map = tuple[float, ...]


def perspective_boxes(boxes: Boxes, coefficients: Map) -> Boxes:
    """The boxes around the boxes that a change of perspective moves, cut at the canvas.

    ``coefficients``: of the map from output to input, as ``coefficients`` gives it; it is inverted here.
    Raises ``TransformError`` for a map that cannot be inverted.

    >>> half = (2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0)
    >>> perspective_boxes(Boxes(np.array([[2, 4, 6, 8]]), "XYXY", (8, 8)), half).array.tolist()
    [[1, 2, 3, 4]]
    """
    if not boxes.array.size:
        return boxes
    a, b, c, d, e, f, g, h = coefficients
    determinant = a * e - b * d
    if determinant == 0:
        raise TransformError(f"the perspective {coefficients} has no way back for boxes. Hint: lower distortion_scale")
    kind = boxes.array.dtype if boxes.array.dtype.kind == "f" else np.dtype(np.float32)
    inverse = (e - f * h, c * h - b, b * f - c * e, f * g - d, a - c * g, c * d - a * f, d * h - e * g, b * g - a * h)
    to_x, to_y, below = np.array([*(number / determinant for number in inverse), 1.0], kind).reshape(3, 3)
    corners = reformat(boxes.array, boxes.format, "XYXY").astype(kind)
    x, y = corners[:, [0, 2, 2, 0]], corners[:, [1, 1, 3, 3]]
    depth = x * below[0] + y * below[1] + below[2]
    new_x, new_y = (x * row[0] + y * row[1] + row[2] for row in (to_x, to_y))
    height, width = boxes.canvas
    new_x, new_y = np.clip(new_x / depth, 0, width), np.clip(new_y / depth, 0, height)
    around = np.stack([new_x.min(1), new_y.min(1), new_x.max(1), new_y.max(1)], 1)
    return boxes.with_array(reformat(around, "XYXY", boxes.format).astype(boxes.array.dtype))


def perspective_mask(mask: Array, coefficients: Map, fill: Fill) -> Array:
    """A mask [..., H, W] under the map from output to input: the nearest value, ``fill`` for what was outside.

    >>> perspective_mask(np.array([[1, 2, 3]]), (1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0), 9).tolist()
    [[2, 3, 9]]
    """
    colour = fill_of_mask(mask, fill)
    height, width = mask.shape[-2:]
    a, b, c, d, e, f, g, h = np.array(coefficients, np.float32)
    half_x, half_y = np.float32(0.5 * width), np.float32(0.5 * height)
    x = even_steps(0.5, width - 0.5, width)
    y = even_steps(0.5, height - 0.5, height)[:, None]
    depth, one = x * g + y * h + np.float32(1), np.float32(1)
    across = (x * (a / half_x) + y * (b / half_x) + c / half_x) / depth - one
    down = (x * (d / half_y) + y * (e / half_y) + f / half_y) / depth - one
    return nearest_pixels(mask, across, down, colour)
