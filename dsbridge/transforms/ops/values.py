"""What operations work on: an image's frame, boxes, and the words for their kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dsbridge.errors import TransformError

Array = np.ndarray[Any, Any]
Fill = float | tuple[float, ...]
"""A colour: one number for all channels, or one a channel."""

KINDS = ("pil", "uint8", "float")
"""``pil``: a PIL image, the semantics of torchvision on PIL images. ``uint8``: uint8 [C, H, W], of torchvision on uint8
tensors. ``float``: a floating point array [C, H, W], of torchvision on such tensors."""


class Frame(NamedTuple):
    """What drawing parameters may depend on: an image's height, width and channels.

    >>> Frame(375, 500, 3).height
    375
    """

    height: int
    width: int
    channels: int


@dataclass(frozen=True, slots=True)
class Pixels:
    """A PIL image that has not been made yet: uint8 [H, W, C] or [H, W], as a column holds it.

    Pillow takes 0.3 ms to copy 375x500 pixels. An operation spares that with a method ``pixels(array, *params)``, which
    does to them what ``pil`` does to the image and returns Pixels, a PIL image or an array [C, H, W]; or by saying that
    ``pil`` and ``chw`` do the same to the same pixels (``ALIKE``).

    >>> Pixels(np.zeros((4, 5, 3), np.uint8)).pil().size
    (5, 4)
    """

    array: Array

    def pil(self) -> Any:
        """The PIL image."""
        from PIL import Image

        array = self.array
        return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else np.ascontiguousarray(array))


def frame_of(image: Any) -> Frame:
    """The frame of an image of any kind.

    >>> frame_of(np.zeros((3, 4, 5), np.uint8))
    Frame(height=4, width=5, channels=3)
    """
    if isinstance(image, np.ndarray):
        channels, height, width = image.shape[-3:] if image.ndim > 2 else (1, *image.shape)
        return Frame(int(height), int(width), int(channels))
    if isinstance(image, Pixels):
        shape = image.array.shape
        return Frame(shape[0], shape[1], shape[2] if len(shape) > 2 else 1)
    width, height = image.size
    return Frame(height, width, len(image.getbands()))


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one image: ``array`` [N, 4] in pixels, ``format`` "XYXY" | "XYWH" | "CXCYWH", ``canvas`` (height, width).

    >>> Boxes(np.zeros((0, 4), np.float32), "XYXY", (10, 20)).canvas
    (10, 20)
    """

    array: Array
    format: str
    canvas: tuple[int, int]

    def __post_init__(self) -> None:
        if self.format not in ("XYXY", "XYWH", "CXCYWH"):
            raise TransformError(f"boxes of format {self.format!r}. Hint: it is one of XYXY, XYWH, CXCYWH")
        if self.array.ndim != 2 or self.array.shape[1] != 4:
            raise TransformError(f"boxes have shape [N, 4], got {list(self.array.shape)}")

    def with_array(self, array: Array, canvas: tuple[int, int] | None = None) -> Boxes:
        """The same kind of boxes with other numbers, and perhaps on another canvas."""
        return replace(self, array=array, canvas=canvas or self.canvas)


@dataclass(frozen=True, slots=True)
class State:
    """What is known of the image before an operation runs; None where it is not known.

    ``kind``: see ``KINDS``; "crops" after FiveCrop and TenCrop, whose images are a tuple. ``channels``: their number.

    >>> State("pil", 3)
    State(kind='pil', channels=3)
    """

    kind: str | None
    channels: int | None = None
