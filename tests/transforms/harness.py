"""What the tests of transforms share: odd-sized images, and the one proof of equality given equal parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.values import Frame, frame_of
from dsbridge.transforms.randomness import Draws, Key
from dsbridge.transforms.stage import Sample, apply

SIZES = [(61, 83), (47, 47), (33, 64), (95, 120), (120, 95), (7, 9), (224, 224), (100, 41)]


@functools.lru_cache(maxsize=512)
def array(number: int, channels: int = 3) -> np.ndarray:
    """Image ``number`` as uint8 [H, W, C]: smooth with noise, sizes odd and even, some dark, some of full range."""
    rng = np.random.default_rng(number)
    height, width = SIZES[number % len(SIZES)]
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (5 + 7 * c) + rng.random() * 6) + np.cos(y / (6 + 5 * c) + rng.random() * 6) for c in range(channels)]
    smooth = np.stack(waves, -1) * 60 + 128 + rng.normal(0, 20, (height, width, channels))
    if number % 5 == 4:
        smooth = smooth * 0.2 + 30
    found = smooth.clip(0, 255).astype(np.uint8)
    found.flags.writeable = False  # whoever writes to what a dataset keeps is found
    return found


MODES = {"RGB": 3, "L": 1, "RGBA": 4}


def pil(number: int, mode: str = "RGB") -> Image.Image:
    """Image ``number`` as a PIL image."""
    values = array(number, MODES[mode])
    return Image.fromarray(values[..., 0] if mode == "L" else values, mode)


def chw(number: int, kind: str = "uint8", channels: int = 3) -> np.ndarray:
    """Image ``number`` as [C, H, W], uint8 or float32 in [0, 1]."""
    values = array(number, channels).transpose(2, 0, 1).copy()
    return values if kind == "uint8" else values.astype(np.float32) / np.float32(255)


def image_of(number: int, kind: str, mode: str = "RGB") -> Any:
    """Image ``number`` of a kind."""
    return pil(number, mode) if kind == "pil" else chw(number, kind, MODES[mode])


def plain(value: Any) -> Any:
    """What a transform returned as numpy: PIL images HWC, tensors as they are, tuples element by element."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def same(ours: Any, theirs: Any) -> bool:
    """Whether both are equal in dtype, shape and every bit."""
    if isinstance(ours, list) or isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def check_equal(
    make: Callable[[], Any], kinds: tuple[str, ...] = ("pil",), modes: tuple[str, ...] = ("RGB", "L", "RGBA"), images: int = 32
) -> None:
    """Bit-equality of a torchvision transform and our operation on ``images`` images of each kind, given our parameters.

    Parameters come from our own sampler; the original is pinned to them. Images of kinds uint8 and float are tensors to it.
    """
    original = make()
    foreign = find(qualified(original))
    assert foreign is not None, f"{qualified(original)} is not known"
    op = foreign.read(original)
    acted = 0
    for kind in kinds:
        assert kind in op.EXACT, f"{type(op).__name__} does not claim to be exact for {kind}"
        for number in range(images):
            mode = modes[number % len(modes)]
            image = image_of(number, kind, mode)
            params: Any = ()
            if hasattr(op, "draw"):
                params = op.draw(Draws(0, Key(0, number)).at(1), frame_of(image))
            reference = original if foreign.pin is None else foreign.pin(original, params)
            theirs = plain(reference(torch.from_numpy(image.copy()) if kind != "pil" else image.copy()))
            sample = Sample(image)
            untouched = plain(image).copy()
            if params is not None:
                acted += 1
                apply(op, sample, params)
            ours = plain(sample.image)
            assert same(plain(image), untouched), f"{op} wrote to its input"
            assert same(ours, theirs), f"{original} on {kind} image {number} ({mode}) with {params}: {difference(ours, theirs)}"
    assert acted >= images * len(kinds) // 4, f"{op} hardly ever acted"


def difference(ours: Any, theirs: Any) -> str:
    """In words, for messages."""
    if isinstance(ours, list) or isinstance(theirs, list):
        return "; ".join(map(difference, ours, theirs))
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return f"{ours.dtype}{ours.shape} against {theirs.dtype}{theirs.shape}"
    return f"max difference {np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max()}"


def draws_of(op: Any, frame: Any, count: int = 4000) -> list[Any]:
    """``count`` draws of our sampler, one per sample index."""
    return [op.draw(Draws(0, Key(0, index)).at(1), frame) for index in range(count)]


def product_in_order(points: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """The product [..., N, K] of [..., N, 3] and [..., 3, K], each sum taken from the left, each number rounded."""
    first, second, third = (points[..., n : n + 1] * matrix[..., n : n + 1, :] for n in range(3))
    return first + second + third


def drawn_for(original: Any, number: int, height: int, width: int) -> tuple[Any, Any, Any]:
    """Our operation, its parameters for one image, and the original pinned to them."""
    foreign = find(qualified(original))
    assert foreign is not None and foreign.pin is not None
    op = foreign.read(original)
    params = op.draw(np.random.default_rng(number), Frame(height, width, 3))
    return op, params, foreign.pin(original, params)
