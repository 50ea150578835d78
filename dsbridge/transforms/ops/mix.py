"""MixUp and CutMix: each sample of a batch is mixed with the one before it, labels too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Array, Frame


def _check_settings(alpha: float, num_classes: int | None) -> None:
    if not alpha > 0:
        raise TransformError(f"alpha is positive, got {alpha}. Hint: 1.0 draws the mixture uniformly")
    if num_classes is not None and num_classes < 1:
        raise TransformError(f"num_classes is at least 1, got {num_classes}. Hint: leave it out for labels that are one-hot")


def _check_batch(images: Array, labels: Array) -> None:
    if images.ndim != 4 or labels.shape[:1] != images.shape[:1]:
        raise TransformError(
            f"images {list(images.shape)} with labels {list(labels.shape)}. "
            "Hint: images are [B, C, H, W], labels [B] or [B, classes]"
        )


def _probabilities(labels: Array, num_classes: int | None) -> Array:
    """Labels as floats [B, classes]."""
    if labels.ndim == 2 and num_classes in (None, labels.shape[1]):
        return labels if labels.dtype.kind == "f" else labels.astype(np.float32)
    if labels.ndim != 1 or num_classes is None:
        raise TransformError(
            f"labels {list(labels.shape)} with num_classes={num_classes}. "
            "Hint: labels are numbers [B], with num_classes, or probabilities [B, classes]"
        )
    if labels.dtype.kind not in "iu" or (labels.size and not (labels.min() >= 0 and labels.max() < num_classes)):
        raise TransformError(
            f"labels {labels[:5].tolist()} of {labels.dtype}. Hint: they are integers from 0 to {num_classes - 1}"
        )
    out = np.zeros((labels.size, num_classes), np.float32)
    out[np.arange(labels.size), labels] = 1
    return out


def weighted(values: Array, lam: float) -> Array:
    """``lam`` of each sample and the rest of the one before it, in the values' own floating point dtype.

    >>> weighted(np.array([0.0, 1.0]), 0.75).tolist()
    [0.25, 0.75]
    """
    wide = values.astype(np.float32) if values.dtype == np.float16 else values  # torch computes halves in float32
    rest = np.roll(wide, 1, 0)
    rest *= wide.dtype.type(1.0 - lam)
    mine = wide * wide.dtype.type(lam)
    if values.dtype == np.float16:
        return rest.astype(np.float16) + mine.astype(np.float16)
    rest += mine
    return rest


@dataclass(frozen=True, slots=True)
class MixUp:
    """Mix each image with the one before it in the batch; one share for the batch, drawn from Beta(alpha, alpha).

    ``num_classes``: needed where labels are numbers, not probabilities.

    >>> op = MixUp(num_classes=2)
    >>> images, labels = op.batch(np.array([0, 1], np.float32).reshape(2, 1, 1, 1), np.array([0, 1]), 0.75)
    >>> images.ravel().tolist(), labels.tolist()
    ([0.25, 0.75], [[0.75, 0.25], [0.25, 0.75]])
    """

    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _check_settings(self.alpha, self.num_classes)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[float]:
        """(share of each image in its mixture,)"""
        return (float(rng.beta(self.alpha, self.alpha)),)

    def batch(self, images: Array, labels: Array, lam: float) -> tuple[Array, Array]:
        _check_batch(images, labels)
        if images.dtype.kind != "f":
            raise TransformError(f"MixUp wants floats, got {images.dtype}. Hint: put ToTensor or ToDtype before the batch")
        return weighted(images, lam), weighted(_probabilities(labels, self.num_classes), lam)


@dataclass(frozen=True, slots=True)
class CutMix:
    """Paste a box of the image before into each image of a batch; one box for the batch, its area follows Beta(alpha, alpha).

    ``num_classes``: needed where labels are numbers, not probabilities.

    >>> op = CutMix(num_classes=2)
    >>> images = np.array([[0, 0], [1, 1]], np.uint8).reshape(2, 1, 1, 2)
    >>> images, labels = op.batch(images, np.array([0, 1]), (0, 0, 1, 1), 0.5)
    >>> images.ravel().tolist(), labels.tolist()
    ([1, 0, 0, 1], [[0.5, 0.5], [0.5, 0.5]])
    """

    alpha: float = 1.0
    num_classes: int | None = None

    def __post_init__(self) -> None:
        _check_settings(self.alpha, self.num_classes)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[tuple[int, int, int, int], float]:
        """((x1, y1, x2, y2), share of each image that is its own)"""
        width, height = frame.width, frame.height
        half = 0.5 * math.sqrt(1.0 - rng.beta(self.alpha, self.alpha))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        dx, dy = int(half * width), int(half * height)
        x1, y1, x2, y2 = max(x - dx, 0), max(y - dy, 0), min(x + dx, width), min(y + dy, height)
        return (x1, y1, x2, y2), 1.0 - (x2 - x1) * (y2 - y1) / (width * height)

    def batch(self, images: Array, labels: Array, box: tuple[int, int, int, int], lam: float) -> tuple[Array, Array]:
        _check_batch(images, labels)
        x1, y1, x2, y2 = box
        out = images.copy()
        out[..., y1:y2, x1:x2] = np.roll(images[..., y1:y2, x1:x2], 1, 0)
        return out, weighted(_probabilities(labels, self.num_classes), lam)
