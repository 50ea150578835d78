"""grain and spdl as contenders, where they are installed. They get numpy rows and collate in their own processes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from dsbridge.bench.contenders import Case, Opened
from dsbridge.bench.loaders import as_mindspore

_SEGMENTS = 4  # of spdl's pool: few, because those that stay in the cache are the fastest


class _Batches:
    """Batches of rows, made where they are asked for; spdl iterates it anew each epoch."""

    def __init__(self, rows: Any, batch_size: int, collate: Callable[[Any], Any]) -> None:
        self.rows, self.batch_size, self.collate = rows, batch_size, collate

    def __iter__(self) -> Iterator[Any]:
        for begin in range(0, len(self.rows), self.batch_size):
            yield self.collate([self.rows[index] for index in range(begin, begin + self.batch_size)])


def _make(case: Case) -> _Batches:
    from dsbridge.bench import datasets

    workload = case.make_workload()
    collate = datasets.pad_rows if workload.ragged else datasets.stack_rows
    return _Batches(datasets.Rows(workload.make_dataset()), workload.batch_size, collate)


def open_grain(case: Case) -> Opened:
    """grain: MapDataset, batch, mp_prefetch (which always spawns)."""
    grain = importlib.import_module("grain")
    made = _make(case)
    options = grain.MultiprocessingOptions(num_workers=case.workers)
    source = grain.MapDataset.source(made.rows).batch(
        made.batch_size, batch_fn=made.collate if case.make_workload().ragged else None
    )
    dataset = source.to_iter_dataset().mp_prefetch(options)

    def epoch() -> Iterator[Any]:
        iterator = iter(dataset)
        try:
            yield from as_mindspore(iterator)
        finally:
            iterator.close()

    return Opened(epoch, batch_size=made.batch_size)


def open_spdl_pool(case: Case) -> Opened:
    """spdl's segment pool: one producer process (all it supports) collates into recycled segments."""
    pipeline = importlib.import_module("spdl.pipeline")
    made = _make(case)
    largest = sum(array.nbytes for array in next(iter(made)))
    pool = pipeline.SharedMemorySegmentPool(2 * largest + (1 << 16), _SEGMENTS)
    batches = pipeline.iterate_in_subprocess(partial(_make, case), arena=pool)
    return Opened(lambda: as_mindspore(batches), batch_size=made.batch_size)


def open_spdl_loader(case: Case) -> Opened:
    """spdl's drop-in for torch's DataLoader, in order."""
    workload = case.make_workload()
    loader = importlib.import_module("spdl.dataloader").get_pytorch_dataloader(
        workload.make_dataset(),
        batch_size=workload.batch_size,
        num_workers=case.workers,
        collate_fn=workload.collate_fn(),
        in_order=True,
    )
    return Opened(lambda: as_mindspore(loader), batch_size=workload.batch_size)
