"""MixUp and CutMix: what mixes the samples of a batch, as a per_batch_map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops.values import Frame
from dsbridge.transforms.randomness import Draws, Key
from dsbridge.transforms.tree import Node


class BatchLevel:
    """(images, labels, BatchInfo) -> (images, labels), for ``ds.batch(per_batch_map=...)``.

    Images [C, H, W] floating point, labels integers; out come mixed images and one-hot float32 labels. Random numbers
    depend on the seed, the epoch and the batch's number.
    """

    def __init__(self, node: Node, seed: int) -> None:
        self.node, self.seed = node, seed

    def __call__(self, images: Any, labels: Any, info: Any) -> Any:
        draws = Draws(self.seed, Key(info.get_epoch_num(), info.get_batch_num()))
        mixed, soft = self.run(np.stack(images), np.asarray(labels), draws)
        return list(mixed), list(soft)

    def run(self, images: Any, labels: Any, draws: Draws) -> Any:
        """The batch [B, C, H, W] and its labels [B], mixed."""
        op, position = self.node.op, 1
        if self.node.children:
            chosen = op.choose(draws.at(position), len(self.node.children))
            if not len(chosen):
                raise TransformError("MixUp or CutMix must run for every batch: labels would be integers or one-hot by chance")
            position, op = 2 + chosen[0], self.node.children[chosen[0]].op
        channels, height, width = images.shape[1:]
        return op.batch(images, labels, *op.draw(draws.at(position), Frame(height, width, channels)))


def batch_level(nodes: Sequence[Node], seed: int) -> BatchLevel | None:
    """The batch-level part of a pipeline that is nothing else; None if it works on samples."""
    if len(nodes) != 1:
        return None
    node = nodes[0]
    parts = node.children or (node,)
    if not all(hasattr(part.op, "batch") for part in parts):
        return None
    return BatchLevel(node, seed)
