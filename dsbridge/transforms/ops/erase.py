"""RandomErasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.convert import pil_of
from dsbridge.transforms.ops.values import KINDS, Array, Frame

_DTYPES: dict[str, type[np.generic]] = {
    **dict.fromkeys(("L", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"), np.uint8),
    "I": np.int32,
    "F": np.float32,
}
"""The PIL modes that v2 takes, and what their pixels are."""


@dataclass(frozen=True, slots=True)
class RandomErasing:
    """Erase a rectangle with probability ``p``.

    ``scale``: the range of its share of the area. ``ratio``: of height / width. ``value``: what is written, one number or one
    per channel; None: normal noise. ``takes_pil``: v2 erases PIL images, v1 refuses them.

    >>> op = RandomErasing(p=1.0, value=(7.0,))
    >>> op.chw(np.zeros((1, 2, 3), np.uint8), 0, 1, 1, 2).tolist()
    [[[0, 7, 7], [0, 0, 0]]]
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: tuple[float, ...] | None = (0.0,)
    takes_pil: bool = True

    @property
    def EXACT(self) -> tuple[str, ...]:  # noqa: N802 - as the constants of other operations
        return KINDS if self.takes_pil else ("uint8", "float")

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise TransformError(f"p is a probability, got {self.p}. Hint: 0 <= p <= 1")
        if not (0 <= self.scale[0] <= self.scale[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]):
            raise TransformError(
                f"scale {self.scale} and ratio {self.ratio} are (low, high). Hint: scale is within 0 and 1, ratio above 0"
            )

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Any, ...] | None:
        """(top, left, height, width), for noise also its values [C, height, width]."""
        if rng.random() >= self.p:
            return None
        if self.value is not None and len(self.value) not in (1, frame.channels):
            raise TransformError(f"{len(self.value)} values for {frame.channels} channels. Hint: give one, or one per channel")
        area, (low, high) = frame.height * frame.width, np.log(self.ratio)
        for _ in range(10):
            share, aspect = area * rng.uniform(*self.scale), math.exp(rng.uniform(low, high))
            height, width = round(math.sqrt(share * aspect)), round(math.sqrt(share / aspect))
            if height < frame.height and width < frame.width:
                top, left = int(rng.integers(frame.height - height + 1)), int(rng.integers(frame.width - width + 1))
                place = (top, left, height, width)
                if self.value is not None:
                    return place
                return (*place, rng.standard_normal((frame.channels, height, width), np.float32))
        return None  # no rectangle fitted: torchvision erases nothing either

    def _patch(self, noise: Array | None, dtype: np.dtype[Any]) -> Array:
        """What is written, [C, h, w] or [C, 1, 1], in the image's dtype."""
        patch = np.asarray(self.value, np.float32)[:, None, None] if noise is None else noise
        return patch.astype(dtype) if dtype.kind == "f" else patch.astype(np.int64).astype(dtype)  # negative values wrap

    def chw(self, image: Array, top: int, left: int, height: int, width: int, noise: Array | None = None) -> Array:
        out = image.copy()
        out[..., top : top + height, left : left + width] = self._patch(noise, image.dtype)
        return out

    def pil(self, image: Any, top: int, left: int, height: int, width: int, noise: Array | None = None) -> Any:
        if image.mode not in _DTYPES:
            raise TransformError(f"RandomErasing cannot take mode {image.mode}. Hint: it takes {', '.join(_DTYPES)}")
        out = image.copy()
        if height and width:
            shape = (len(image.getbands()), height, width)
            patch = np.broadcast_to(self._patch(noise, np.dtype(_DTYPES[image.mode])), shape)
            out.paste(pil_of(patch.transpose(1, 2, 0), image.mode), (left, top))
        return out
