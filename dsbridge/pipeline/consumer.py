"""Who is building a MindSpore pipeline, and how far an iterator over it has come.

MindSpore parses a pipeline for iterators, for device queues, for its size and for its output shapes alike, and
tells the nodes nothing about it. What an epoch's order may depend on is which of them it is, so this module
reads it off the call stack at the moment of parsing, and reads an iterator's count of delivered rows. It reads only; if
a later MindSpore renames these, epochs are counted where they are produced instead (``rows`` is None).
"""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass
from typing import Any

_MODULES = ("mindspore.dataset.engine.iterators", "mindspore.dataset.engine.datasets")


@dataclass(frozen=True, slots=True)
class Consumer:
    """``kind`` is "iterator", "queue" (sink mode), "size" or "preview"; ``num_epochs`` -1 for no end."""

    kind: str
    num_epochs: int = -1
    iterator: weakref.ref[Any] | None = None

    @property
    def reads_data(self) -> bool:
        """Whether epochs that it begins count."""
        return self.kind in ("iterator", "queue")

    @property
    def alive(self) -> bool:
        """Whether the iterator still exists (a queue: unknown, taken as alive)."""
        return self.iterator is None or self.iterator() is not None

    def rows(self) -> int | None:
        """Rows the iterator has delivered so far over all its epochs; None if that cannot be known."""
        iterator = None if self.iterator is None else self.iterator()
        if iterator is None or getattr(iterator, "parallel_convert", False):
            return None
        return getattr(iterator, "_Iterator__index", None)

    def rows_per_epoch(self) -> int | None:
        """Rows of a full epoch as the iterator saw it, known once one has ended."""
        iterator = None if self.iterator is None else self.iterator()
        dataset = getattr(iterator, "_Iterator__ori_dataset", None)
        return getattr(dataset, "dataset_size", None)


def find_consumer() -> Consumer:
    """The consumer on whose behalf the calling code parses a pipeline; a preview if there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in _MODULES:
            name, local = frame.f_code.co_name, frame.f_locals
            if name == "__init__" and "num_epochs" in local and "self" in local:
                owner = local["self"]
                if hasattr(owner, "create_ir_tree"):  # TransferDataset and other datasets are no consumers
                    frame = frame.f_back  # type: ignore[assignment]
                    continue
                if any(cls.__name__ == "Iterator" for cls in type(owner).__mro__):
                    return Consumer("iterator", local["num_epochs"], weakref.ref(owner))
                return Consumer("queue", local["num_epochs"])
            if name.endswith("__init_size_getter"):
                return Consumer("size")
            if name == "_init_tree_getters":
                return Consumer("preview")
        frame = frame.f_back  # type: ignore[assignment]
    return Consumer("preview")
