"""One measured epoch: what the consumer of a loader sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Run:
    """One epoch. ``first_s`` runs from asking for the iterator to the first batch; gaps lie between later batches.

    ``steady_per_s`` are batches a second after the first one. ``cpu_s`` is the CPU time of the whole process tree.

    >>> Run(batches=3, samples=6, first_s=0.5, epoch_s=1.5, steady_per_s=2.0)
    Run(3 batches, 2.0 batches/s, first after 500.0 ms)
    """

    batches: int
    samples: int
    first_s: float
    epoch_s: float
    steady_per_s: float
    gap_p50_s: float = 0.0
    gap_p99_s: float = 0.0
    gap_max_s: float = 0.0
    cpu_s: float = 0.0

    def __repr__(self) -> str:
        return f"Run({self.batches} batches, {self.steady_per_s:.1f} batches/s, first after {self.first_s * 1000:.1f} ms)"

    @property
    def samples_per_s(self) -> float:
        """Samples a second after the first batch."""
        return self.steady_per_s * self.samples / self.batches if self.batches else 0.0

    @property
    def whole_per_s(self) -> float:
        """Batches a second over the whole epoch, its start and its end included."""
        return self.batches / self.epoch_s

    def to_dict(self) -> dict[str, Any]:
        """As plain data; ``Run(**data)`` is the way back."""
        return asdict(self)


def touch(batch: Any) -> None:
    """Read one byte of each page of each tensor, so that a lazy mapping is paid for.

    >>> import mindspore as ms
    >>> touch([ms.Tensor([1.0, 2.0]), "text", {"a": 3}])
    """
    if isinstance(batch, dict):
        for value in batch.values():
            touch(value)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            touch(value)
    elif hasattr(batch, "asnumpy"):
        array = batch.asnumpy()  # shares the tensor's memory on the CPU
        if array.dtype.kind in "biufc" and array.size:
            array.reshape(-1).view("u1")[::_PAGE_BYTES].max()


def percentile(values: list[float], percent: float) -> float:
    """The nearest-rank percentile; 0 of nothing.

    >>> percentile([3.0, 1.0, 2.0], 50), percentile([], 99)
    (2.0, 0.0)
    """
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else 0.0


def run_epoch(
    start: Callable[[], Iterable[Any]], batch_size: int, limit: int | None = None, cpu_s: Callable[[], float] = lambda: 0.0
) -> Run:
    """Run one epoch (or its first ``limit`` batches) as a training loop does: each batch is dropped before the next.

    >>> run_epoch(lambda: [[1], [2]], batch_size=4).samples
    8
    """
    cpu_before = cpu_s()
    arrivals: list[float] = []
    begin = time.perf_counter()
    iterator = iter(start())
    while limit is None or len(arrivals) < limit:
        try:
            batch = next(iterator)
        except StopIteration:
            break
        arrivals.append(time.perf_counter())
        touch(batch)
        del batch
    del iterator
    end = time.perf_counter()
    if not arrivals:
        raise ValueError("the loader gave no batch at all")
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    return Run(
        batches=len(arrivals),
        samples=len(arrivals) * batch_size,
        first_s=arrivals[0] - begin,
        epoch_s=end - begin,
        steady_per_s=len(gaps) / sum(gaps) if gaps else 1 / (arrivals[0] - begin),
        gap_p50_s=percentile(gaps, 50),
        gap_p99_s=percentile(gaps, 99),
        gap_max_s=max(gaps, default=0.0),
        cpu_s=cpu_s() - cpu_before,
    )


def second_epoch_s(start: Callable[[], Iterable[Any]], limit: int | None, repeats: int) -> float:
    """Median seconds to the first batch of the second and later epochs, with workers that stay.

    >>> second_epoch_s(lambda: [1, 2], None, repeats=1) < 1
    True
    """
    return percentile([run_epoch(start, 1, limit).first_s for _ in range(repeats + 1)][1:], 50)
