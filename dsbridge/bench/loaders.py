"""dsbridge's and torch's loaders as contenders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from dsbridge.bench.contenders import Case, Opened
from dsbridge.frameworks.detect import require_mindspore, require_torch


def as_mindspore(batches: Iterable[Any]) -> Iterator[Any]:
    """Batches with their torch tensors and numpy arrays as MindSpore tensors: no copies, as one does it by hand.

    >>> import torch
    >>> [type(batch[0]).__name__ for batch in as_mindspore([[torch.ones(2), "text"]])]
    ['Tensor']
    """
    from_numpy = require_mindspore("a benchmark").Tensor.from_numpy

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: convert(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [convert(item) for item in value]
        if hasattr(value, "numpy"):
            value = value.numpy()
        return from_numpy(value) if hasattr(value, "__array_interface__") and value.ndim else value

    for batch in batches:
        yield convert(batch)
        del batch  # the consumer has dropped it; so must we before the next is fetched


def _torch_loader(case: Case, workers: int) -> Any:
    workload = case.make_workload()
    return require_torch("a benchmark").utils.data.DataLoader(
        workload.make_dataset(),
        batch_size=workload.batch_size,
        num_workers=workers,
        collate_fn=workload.collate_fn(),
        persistent_workers=case.persistent and workers > 0,
    )


def open_torch(case: Case) -> Opened:
    """torch's DataLoader.

    >>> len(list(open_torch(Case("torch", "tiny", workers=0, batches=2, distinct=4)).start()))
    2
    """
    loader = _torch_loader(case, case.workers)
    return Opened(lambda: as_mindspore(loader), batch_size=loader.batch_size)


def open_in_process_torch(case: Case) -> Opened:
    """torch's DataLoader without workers.

    >>> open_in_process_torch(Case("in-process-torch", "tiny", batches=2, distinct=4))
    Opened(batch_size=256, limit=None)
    """
    return open_torch(replace(case, workers=0))


def _dsbridge_loader(case: Case, workers: int) -> Any:
    from dsbridge.loader.dataloader import DataLoader

    workload = case.make_workload()
    return DataLoader(
        workload.make_dataset(),
        batch_size=workload.batch_size,
        num_workers=workers,
        collate_fn=workload.collate_fn(),
        persistent_workers=case.persistent and workers > 0,
        rng=workload.rng,
    )


def opened(loader: Any, limit: int | None = None) -> Opened:
    """A ``dsbridge.DataLoader`` as a contender.

    >>> from dsbridge import DataLoader
    >>> opened(DataLoader([1, 2], batch_size=2)).stats()["batches"]
    0
    """
    return Opened(lambda: loader, loader.close, lambda: loader.stats().to_dict(), loader.batch_size or 1, limit)


def open_dsbridge(case: Case) -> Opened:
    """dsbridge's DataLoader.

    >>> len(list(open_dsbridge(Case("dsbridge", "tiny", workers=0, batches=2, distinct=4)).start()))
    2
    """
    return opened(_dsbridge_loader(case, case.workers))


def open_in_process(case: Case) -> Opened:
    """dsbridge's DataLoader without workers.

    >>> open_in_process(Case("in-process", "tiny", batches=2, distinct=4))
    Opened(batch_size=256, limit=None)
    """
    return open_dsbridge(replace(case, workers=0))


def open_to_mindspore(case: Case) -> Opened:
    """dsbridge's DataLoader through ``to_mindspore`` and MindSpore's own iterator.

    >>> len(list(open_to_mindspore(Case("to_mindspore", "tiny", workers=0, batches=2, distinct=4)).start()))
    2
    """
    from dsbridge.pipeline.to_mindspore import to_mindspore

    loader = _dsbridge_loader(case, case.workers)
    dataset = to_mindspore(loader)
    return replace(opened(loader), start=lambda: dataset.create_tuple_iterator(num_epochs=1))
