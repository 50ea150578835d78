"""A lowered pipeline as one callable on one sample: what ds.map's stage and the prefetch core's workers run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.frameworks import torch_tensors
from dsbridge.frameworks.detect import loaded
from dsbridge.transforms.fuse import fused
from dsbridge.transforms.images import from_image
from dsbridge.transforms.randomness import Draws, Key
from dsbridge.transforms.stage import Sample, Step, run
from dsbridge.transforms.targets import Unpacked, to_image

NO_EPOCH = -1
"""The epoch of keys that were drawn or counted, not given."""


class Program:
    """Steps, the kind of image they begin with, and the seed."""

    def __init__(self, steps: Sequence[Step], kind: str, seed: int) -> None:
        self.steps, self.kind, self.seed = fused(steps), kind, seed

    def __call__(self, sample: Any, key: Any = None) -> Any:
        """The pipeline on a sample of a user's; see ``Translation.__call__``."""
        draws = Draws(self.seed, as_key(key))
        if isinstance(sample, (dict, list, tuple)):
            unpacked = Unpacked(sample, self.kind)
            image = unpacked.leaves[unpacked.image_at]
            return unpacked.pack(_owned(from_image(run(self.steps, unpacked.sample, draws).image), image))
        return self.image(sample, draws)

    def image(self, image: Any, draws: Draws) -> Any:
        """The pipeline on one image, as an array of its own."""
        return _owned(from_image(self.raw(image, draws)), image)

    def raw(self, image: Any, draws: Draws) -> Any:
        """The pipeline on one image, as operations left it: a PIL image, an array [C, H, W], a tuple of these."""
        return run(self.steps, Sample(to_image(image, self.kind)), draws).image


def _owned(result: Any, image: Any) -> Any:
    """The result, copied if it is a view of the user's own array, which must not change with it."""
    if isinstance(result, tuple):
        return tuple(_owned(one, image) for one in result)
    source = image.numpy() if torch_tensors.is_plain(image) else image
    shared = isinstance(source, np.ndarray) and np.may_share_memory(result, source)
    return np.array(result, order="C") if shared else result


def as_key(key: Any) -> Key:
    """A sample's key from what a user gives: nothing, an index, or (epoch, index).

    >>> as_key(7), as_key((2, 7))
    (Key(epoch=0, index=7, occurrence=0), Key(epoch=2, index=7, occurrence=0))
    """
    if isinstance(key, Key):
        return key
    if key is None:
        return Key(NO_EPOCH, _drawn())
    if hasattr(key, "__index__"):
        return Key(0, int(key))
    try:
        return Key(*map(int, key))
    except (TypeError, ValueError):
        raise TransformError(f"a key is an index or (epoch, index), got {key!r}") from None


def _drawn() -> int:
    torch = loaded("torch")
    return random.getrandbits(63) if torch is None else int(torch.empty((), dtype=torch.int64).random_())
