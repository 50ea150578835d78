"""What a loader is made of, read from the torch loader that checked the arguments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dsbridge.frameworks import torch_data


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a loader: where samples come from, in which order, and how they become a batch.

    ``index_sampler`` yields lists of indices when ``batched``, single indices otherwise.
    """

    dataset: Any
    index_sampler: Any
    collate_fn: Any
    generator: Any
    batched: bool
    drop_last: bool
    iterable: bool

    stream_batch: int = 1

    def without_samplers(self) -> Parts:
        """What workers need: order and generators stay with the trainer."""
        return replace(self, index_sampler=None, generator=None)

    @classmethod
    def of(cls, loader: Any) -> Parts:
        """Read a torch loader (or anything with the same attributes); nothing is iterated.

        >>> Parts.of(torch_data.reference_loader(dataset=[1, 2, 3], batch_size=2)).batched
        True
        """
        batched = loader.batch_sampler is not None
        return cls(
            dataset=loader.dataset,
            index_sampler=loader.batch_sampler if batched else loader.sampler,
            collate_fn=loader.collate_fn,
            generator=loader.generator,
            batched=batched,
            drop_last=bool(loader.drop_last),
            iterable=torch_data.is_iterable_dataset(loader.dataset),
            stream_batch=loader.batch_size or 1,
        )
