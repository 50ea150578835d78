"""Gaussian blur of uint8 images, equal bit by bit to torchvision's on processors with AVX2.

torchvision convolves in float32 and rounds. What its last bits are, and so how a pixel near the middle between two values is
rounded, depends on the order in which torch adds. Here all pixels are blurred in the fast way, rows and then columns; the
few so near to a middle that the order decides are done again in torch's order.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.grayscale import need_arithmetic
from dsbridge.transforms.ops.values import Array, Frame

_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class GaussianBlur:
    """Blur with a Gaussian kernel of ``size`` (width, height), whose deviation is drawn from the range ``sigma``.

    v1 and v2 differ in the last bits of the weights. v2's are torch's own here; v1's come of an exponential that is not
    known to the last bit, so that v1 is near: now and then one pixel of an image is one step off.

    >>> GaussianBlur((3, 3)).chw(np.full((1, 5, 5), 7, np.uint8), 1.0).max().item()
    7
    """

    size: tuple[int, int]
    sigma: tuple[float, float] = (0.1, 2.0)
    arithmetic: str = "v1"

    def __post_init__(self) -> None:
        need_arithmetic("GaussianBlur", self.arithmetic)
        if len(self.size) != 2 or any(length < 1 or length % 2 == 0 for length in self.size):
            raise TransformError(f"GaussianBlur of size {self.size}. Hint: give (width, height), both odd")
        if len(self.sigma) != 2 or not 0 < self.sigma[0] <= self.sigma[1]:
            raise TransformError(f"GaussianBlur of sigma {self.sigma}. Hint: give (least, most), above 0")

    @property
    def EXACT(self) -> tuple[str, ...]:  # noqa: N802
        return ("pil", "uint8") if self.arithmetic == "v2" else ()

    @property
    def NEAR(self) -> dict[str, float]:  # noqa: N802
        return {} if self.arithmetic == "v2" else {"pil": 1.0, "uint8": 1.0}

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[float]:
        return (float(rng.uniform(*self.sigma)),)

    def pil(self, image: Any, sigma: float) -> Any:
        from PIL import Image

        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            raise TransformError(f"GaussianBlur of a PIL image of mode {image.mode!r}. Hint: convert it to RGB before")
        values = np.asarray(image)
        planes = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        blurred = self.chw(planes, sigma)
        return Image.fromarray(blurred[0] if values.ndim == 2 else np.ascontiguousarray(blurred.transpose(1, 2, 0)))

    def chw(self, array: Array, sigma: float) -> Array:
        if array.dtype != np.uint8:
            raise TransformError(f"GaussianBlur wants uint8, got {array.dtype}. Hint: apply it before ToTensor")
        (width, height), (channels, rows, columns) = self.size, array.shape
        if width // 2 >= columns or height // 2 >= rows:
            hint = "Hint: the image is mirrored by half the size, which needs as many pixels"
            raise TransformError(f"GaussianBlur of size {self.size} for an image {list(array.shape)}. {hint}")
        across, down = weights(width, sigma, self.arithmetic), weights(height, sigma, self.arithmetic)
        edge = ((0, 0), (height // 2, height // 2), (width // 2, width // 2))
        padded = np.pad(array, edge, "reflect")
        once = channels > 1 or min(self.size) > 3 or padded.size > 20480  # torch convolves with oneDNN, which fuses
        result = np.empty(array.shape, np.uint8)
        for source, target in zip(padded, result, strict=True):
            _blur_plane(source, across, down, once, target)
        return result


def weights(size: int, sigma: float, arithmetic: str) -> Array:
    """The kernel in one dimension, float32 of torchvision's v1 or v2.

    >>> weights(3, 1.0, "v2").round(3).tolist() == np.float32([0.274, 0.452, 0.274]).tolist()
    True
    """
    if arithmetic == "v2":
        places = _even((size - 1) / (2.0 * math.sqrt(2.0)), size) / np.float32(sigma)
        squares = -(places * places)
        values = _exp(squares - squares.max())
        inverse: Array = values * (np.float32(1) / _sum_by_halves(values))
        return inverse
    places = _even((size - 1) * 0.5, size) / np.float32(sigma)
    values = np.exp((np.float32(-0.5) * (places * places)).astype(np.float64)).astype(np.float32)
    result: Array = values / _sum_by_lanes(values)
    return result


def _fma(a: Any, b: Any, c: Any) -> Array:
    result: Array = (np.asarray(a, np.float64) * np.asarray(b, np.float64) + np.asarray(c, np.float64)).astype(np.float32)
    return result


def _even(limit: float, size: int) -> Array:
    """torch.linspace(-limit, limit, size): each half counts from its end."""
    end, place = np.float32(limit), np.arange(size)
    step = (end + end) / np.float32(max(size - 1, 1))
    return np.where(place < size // 2, _fma(step, place, -end), _fma(-step, size - 1 - place, end))


_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.442695040888963), np.float32(0.693145751953125), np.float32(1.428606765330187e-06)
_SERIES = (0.00139304355252534151, 0.00833336077630519867, 0.0416664853692054749, 0.16666667163372039795, 0.5)


def _exp(values: Array) -> Array:
    """The exponential as SLEEF computes it, which torch's softmax uses."""
    whole = np.rint(values * _LOG2E)
    rest = _fma(whole, -_LN2_LOW, _fma(whole, -_LN2_HIGH, values))
    total = np.full_like(values, 0.000198527617612853646)
    for term in _SERIES:
        total = _fma(total, rest, np.float32(term))
    total = np.float32(1) + _fma(rest * rest, total, rest)
    powers: Array = np.ldexp(total, whole.astype(np.int32)).astype(np.float32)
    return np.where(values < -104, np.float32(0), powers)


def _sum_by_halves(values: Array) -> Any:
    """Sum as torch's softmax does: eight lanes, then their halves."""
    if len(values) < 8:
        return functools.reduce(np.add, values)
    lanes = values[:8].copy()
    for start in range(8, len(values), 8):
        part = values[start : start + 8]
        lanes[: len(part)] += part
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return lanes[0]


def _sum_by_lanes(values: Array) -> Any:
    """Sum as torch.sum does: four rows of eight lanes (of one, for fewer than eight values), the remainder first."""
    lanes = 8 if len(values) >= 8 else 1
    count = len(values) // lanes
    parts = values[: count * lanes].reshape(count, lanes)
    rows = np.zeros((4, lanes), np.float32)
    for start in range(0, count - count % 4, 4):
        rows += parts[start : start + 4]
    for part in parts[count - count % 4 :]:
        rows[0] += part
    total = functools.reduce(np.add, rows)
    return functools.reduce(np.add, [np.float32(0), *values[count * lanes :], *total])


def _blur_plane(padded: Array, across: Array, down: Array, once: bool, target: Array) -> None:
    rows, columns = target.shape
    values = _slide(_slide(padded.astype(np.float32), down, rows).T, across, columns).T
    nearest = np.rint(values)
    target[:] = nearest
    kernel = down[:, None] * across
    # an addition is off by 2**-24 of its sum at most, and the sums grow to the pixel as the kernel's do to 1
    slack = (float(kernel.cumsum(dtype=np.float64).sum()) + len(across) + len(down) + 8) * 2.0**-24
    doubt = np.abs(values - nearest) > np.float32(0.5) - values * np.float32(slack)
    places = np.nonzero(doubt.ravel())[0]
    flat, line = padded.ravel(), padded.shape[1]
    offsets = (np.arange(len(down))[:, None] * line + np.arange(len(across))).ravel()
    for start in range(0, len(places), _AT_ONCE):
        chosen = places[start : start + _AT_ONCE]
        corners = chosen // columns * line + chosen % columns
        exact = _in_order(flat[offsets[:, None] + corners], kernel.ravel(), once)
        target.reshape(-1)[chosen] = np.rint(exact)


def _slide(padded: Array, kernel: Array, length: int) -> Array:
    """Convolve along the first axis, with a kernel that is the same from both ends."""
    half = len(kernel) // 2
    total = padded[half : half + length] * kernel[half]
    for place in range(half):
        pair = padded[place : place + length] + padded[len(kernel) - 1 - place :][:length]
        pair *= kernel[place]
        total += pair
    return np.ascontiguousarray(total)


def _in_order(values: Array, kernel: Array, once: bool) -> Array:
    """Multiply and add row by row of the kernel, rounding each product with its sum, or before it."""
    total = np.zeros(values.shape[1], np.float32)
    if once:
        wide = np.empty(values.shape[1], np.float64)
        for product in values * kernel.astype(np.float64)[:, None]:
            np.add(total, product, out=wide)
            total[:] = wide
    else:
        for product in values.astype(np.float32) * kernel[:, None]:
            total += product
    return total
