"""Crops of a fixed size: from the centre, from the corners, from a random place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.boxes import cropped, padded
from dsbridge.transforms.ops.pad import (
    Sides,
    check_boxes,
    check_padding,
    exact_padding,
    mask_fill,
    padded_chw,
    padded_pil,
    window_chw,
    window_pil,
)
from dsbridge.transforms.ops.values import KINDS, Array, Boxes, Fill, Frame, State, frame_of


def check_size(size: Any) -> None:
    """Raise ``TransformError`` for a size that is not (height, width).

    >>> check_size((224, 224))
    """
    if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        raise TransformError(f"size {size!r}. Hint: give (height, width), both positive")


def _middle(size: int, crop: int) -> int:
    """Where a centred crop begins; a crop larger than the image begins before it."""
    return round((size - crop) / 2) if crop <= size else -((crop - size) // 2)


@dataclass(frozen=True, slots=True)
class CenterCrop:
    """The middle (height, width) of an image, with zeros around an image that is smaller.

    >>> CenterCrop((1, 1)).chw(np.arange(9).reshape(1, 3, 3)).tolist()
    [[[4]]]
    """

    EXACT: ClassVar[tuple[str, ...]] = KINDS
    ALIKE: ClassVar[bool] = True

    size: tuple[int, int]

    def __post_init__(self) -> None:
        check_size(self.size)

    def pil(self, image: Any) -> Any:
        width, height = image.size
        return window_pil(image, _middle(height, self.size[0]), _middle(width, self.size[1]), *self.size)

    def chw(self, array: Array) -> Array:
        height, width = array.shape[-2:]
        return window_chw(array, _middle(height, self.size[0]), _middle(width, self.size[1]), *self.size)

    mask = chw

    def boxes(self, boxes: Boxes) -> Boxes:
        # v2 moves boxes by the half that rounds to even, even where it pads the image by the half that is rounded down
        top, left = (round((side - crop) / 2) for side, crop in zip(boxes.canvas, self.size, strict=True))
        return cropped(boxes, top, left, *self.size)


def _five(image: Any, window: Any, size: tuple[int, int]) -> tuple[Any, ...]:
    frame = frame_of(image)
    down, right = frame.height - size[0], frame.width - size[1]
    if down < 0 or right < 0:
        raise TransformError(
            f"a crop of {size[0]}x{size[1]} from an image of {frame.height}x{frame.width}. Hint: resize or pad first"
        )
    corners = ((0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2)))
    return tuple(window(image, top, left, *size) for top, left in corners)


def _no_boxes(op: Any, value: Any) -> NoReturn:
    raise TransformError(f"{type(op).__name__} takes images alone, not boxes or masks. Hint: use CenterCrop or RandomCrop")


@dataclass(frozen=True, slots=True)
class FiveCrop:
    """The four corners and the middle of an image, as a tuple.

    >>> [crop.item() for crop in FiveCrop((1, 1)).chw(np.arange(9).reshape(1, 3, 3))]
    [0, 2, 6, 8, 4]
    """

    EXACT: ClassVar[tuple[str, ...]] = KINDS

    size: tuple[int, int]

    def __post_init__(self) -> None:
        check_size(self.size)

    def pil(self, image: Any) -> tuple[Any, ...]:
        return _five(image, window_pil, self.size)

    def chw(self, array: Array) -> tuple[Any, ...]:
        return _five(array, window_chw, self.size)

    boxes = mask = _no_boxes

    def after(self, state: State) -> State:
        return State("crops", state.channels)


@dataclass(frozen=True, slots=True)
class TenCrop:
    """``FiveCrop`` of an image and of its mirror image, which is upside down with ``vertical_flip``.

    >>> [crop.item() for crop in TenCrop((1, 1)).chw(np.arange(9).reshape(1, 3, 3))]
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """

    EXACT: ClassVar[tuple[str, ...]] = KINDS

    size: tuple[int, int]
    vertical_flip: bool = False

    def __post_init__(self) -> None:
        check_size(self.size)

    def pil(self, image: Any) -> tuple[Any, ...]:
        mirrored = image.transpose(1 if self.vertical_flip else 0)
        return _five(image, window_pil, self.size) + _five(mirrored, window_pil, self.size)

    def chw(self, array: Array) -> tuple[Any, ...]:
        mirrored = array[..., ::-1, :] if self.vertical_flip else array[..., ::-1]
        return _five(array, window_chw, self.size) + _five(mirrored, window_chw, self.size)

    boxes = mask = _no_boxes

    def after(self, state: State) -> State:
        return State("crops", state.channels)


@dataclass(frozen=True, slots=True)
class RandomCrop:
    """A crop of (height, width) from anywhere in the image, which is padded first; parameters are (top, left) of that.

    ``pad_if_needed``: pad each side by what is missing, so that there is always something to choose.

    >>> RandomCrop((1, 1)).chw(np.arange(9).reshape(1, 3, 3), 2, 1).tolist()
    [[[7]]]
    """

    EXACT = property(exact_padding)

    size: tuple[int, int]
    padding: Sides = (0, 0, 0, 0)
    pad_if_needed: bool = False
    fill: Fill = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        check_size(self.size)
        check_padding(self.padding, self.padding_mode)

    @property
    def ALIKE(self) -> bool:  # noqa: N802 - a constant of the settings
        return self.fill == 0 and self.padding_mode == "constant"

    def _sides(self, height: int, width: int) -> Sides:
        left, top, right, bottom = self.padding
        if self.pad_if_needed:
            down, across = max(self.size[0] - height - top - bottom, 0), max(self.size[1] - width - left - right, 0)
            left, top, right, bottom = left + across, top + down, right + across, bottom + down
        return left, top, right, bottom

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[int, int]:
        left, top, right, bottom = self._sides(frame.height, frame.width)
        down, across = frame.height + top + bottom - self.size[0], frame.width + left + right - self.size[1]
        if down < 0 or across < 0:
            raise TransformError(
                f"a random crop of {self.size[0]}x{self.size[1]} from an image of {frame.height}x{frame.width}, padding "
                f"{self.padding}. Hint: pad more, or use pad_if_needed=True"
            )
        first, second = rng.random(2).tolist()
        return int(first * (down + 1)), int(second * (across + 1))

    def pil(self, image: Any, top: int, left: int) -> Any:
        sides = self._sides(image.height, image.width)
        return padded_pil(image, sides, self.fill, self._mode(sides), (top, left, *self.size))

    def chw(self, array: Array, top: int, left: int) -> Array:
        return self._crop(array, self.fill, top, left)

    def mask(self, mask: Array, top: int, left: int) -> Array:
        return self._crop(mask, mask_fill(self.fill), top, left)

    def _crop(self, array: Array, fill: Fill, top: int, left: int) -> Array:
        sides = self._sides(*array.shape[-2:])
        return padded_chw(array, sides, fill, self._mode(sides), (top, left, *self.size))

    def _mode(self, sides: Sides) -> str:
        return self.padding_mode if any(sides) else "constant"  # a plain crop, for which constant is the fast way

    def boxes(self, boxes: Boxes, top: int, left: int) -> Boxes:
        sides = self._sides(*boxes.canvas)
        if any(sides):
            check_boxes(self.padding_mode)
            boxes = padded(boxes, *sides)
        return cropped(boxes, top, left, *self.size) if boxes.canvas != self.size else boxes
