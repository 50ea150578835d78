"""The workloads by name: what a sample is, how it is batched, how many there are. Data only; nothing heavy is imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

SLOW_S, FAST_S = 0.008, 0.0005  # what a sample of the stragglers sleeps


@dataclass(frozen=True, slots=True)
class Workload:
    """One named thing to load. ``dataset`` and ``collate`` name what ``dsbridge.bench.datasets`` has.

    ``distinct`` is the number of different samples held in memory; index i is sample i % distinct.
    ``columns`` are the names rows get in MindSpore. ``ragged`` samples differ in length and are padded by ``collate``.

    >>> WORKLOADS["tiny"]
    Workload('tiny', 600 x 256)
    """

    name: str
    title: str
    dataset: str
    batch_size: int
    batches: int
    distinct: int
    columns: tuple[str, ...] = ("data",)
    collate: str | None = None
    rng: str = "torch"
    ragged: bool = False
    sleep_s: float = 0.0  # what the mean batch sleeps, where sleeping is all it does

    def __repr__(self) -> str:
        return f"Workload({self.name!r}, {self.batches} x {self.batch_size})"

    def sized(self, batches: int | None = None, distinct: int | None = None) -> Workload:
        """The same with other counts; None leaves one as it is.

        >>> WORKLOADS["f32"].sized(batches=3)
        Workload('f32', 3 x 64)
        """
        return replace(self, batches=batches or self.batches, distinct=distinct or self.distinct)

    def make_dataset(self) -> Any:
        """The torch Dataset.

        >>> len(WORKLOADS["tiny"].sized(batches=2, distinct=4).make_dataset())
        512
        """
        make = getattr(importlib.import_module("dsbridge.bench.datasets"), self.dataset)
        return make(self.batch_size * self.batches, self.distinct)

    def collate_fn(self) -> Any:
        """The collate function for torch's and dsbridge's loaders, or None for the default one."""
        return None if self.collate is None else getattr(importlib.import_module("dsbridge.bench.datasets"), self.collate)

    def ideal_s(self, batches: int, workers: int) -> float | None:
        """Seconds that many batches take if all workers sleep all the time; None where work is not sleep.

        >>> round(WORKLOADS["stragglers"].ideal_s(40, workers=2), 2)
        0.68
        """
        return self.sleep_s * batches / max(workers, 1) if self.sleep_s else None


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("f32", "64 x float32[3,224,224], ready tensors", "ready_f32", 64, 60, 64),
        Workload("u8", "64 x uint8[3,224,224], ready tensors", "ready_u8", 64, 200, 64),
        Workload("tiny", "256 x (float32[1,28,28], int), ready", "ready_tiny", 256, 600, 512, ("data", "label")),
        Workload("jpeg", "64 x JPEG 256 px: decode, RandomResizedCrop(224), flip, normalise", "Jpegs", 64, 30, 64),
        Workload("ragged", "256 x int64 tokens, 16 to 512 long, padded", "Tokens", 256, 400, 1024, collate="pad", ragged=True),
        Workload(
            "stragglers",
            "slow and fast batches in turn, 8 x sleep, rng='sample'",
            "Stragglers",
            8,
            40,
            8,
            rng="sample",
            sleep_s=8 * (SLOW_S + FAST_S) / 2,
        ),
    )
}
