"""What was recorded of a model: its modules' frames, and the calls of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from dsbridge.model.frames import Frame
from dsbridge.model.nodes import STATE, Node


@dataclass
class Recording:
    """Each module that ran: its frames, one for each call, in the order of the calls; and inputs of leaf modules."""

    frames: dict[str, list[Frame]] = field(default_factory=dict)
    leaf_calls: dict[str, list[Node]] = field(default_factory=dict)

    def used(self) -> Iterator[str]:
        """Paths of modules that ran, and of those whose tensors others read."""
        yield from self.frames
        yield from self.leaf_calls
        yield from (f"{path}.{node.target}".lstrip(".").rpartition(".")[0] for path, node in self.state())

    def state(self) -> Iterator[tuple[str, Node]]:
        """Each use of a parameter, buffer or attribute, with the path of the module that uses it."""
        for path, frames in self.frames.items():
            yield from ((path, node) for frame in frames for node in frame.nodes if node.op == STATE)

    def origin(self, tensor: torch.Tensor) -> Node | None:
        """What a tensor was made of, in the forward of whatever module."""
        found = (frame.origin(tensor) for frames in self.frames.values() for frame in frames)
        return next((node for node in found if node is not None), None)
