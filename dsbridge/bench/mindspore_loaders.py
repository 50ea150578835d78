"""MindSpore's own ways of loading Python datasets as contenders. They get numpy arrays, their best case."""

from __future__ import annotations

import importlib
from typing import Any

from dsbridge.bench.contenders import CannotRunError, Case, Opened
from dsbridge.frameworks.detect import require_mindspore


def _rows(case: Case) -> Any:
    from dsbridge.bench.datasets import Rows

    require_mindspore("a benchmark")
    return Rows(case.make_workload().make_dataset())


def _generator(case: Case, workers: int, processes: bool) -> Opened:
    """A GeneratorDataset of rows, batched in C++ (and padded there where rows are ragged)."""
    rows, workload = _rows(case), case.make_workload()
    dataset = importlib.import_module("mindspore.dataset").GeneratorDataset(
        rows,
        list(workload.columns),
        shuffle=False,
        num_parallel_workers=workers,
        python_multiprocessing=processes,
    )
    size = workload.batch_size
    batched = dataset.padded_batch(size, pad_info={}) if workload.ragged else dataset.batch(size)
    return Opened(lambda: batched.create_tuple_iterator(num_epochs=1), batch_size=size)


def open_processes(case: Case) -> Opened:
    """Rows made in worker processes.

    >>> open_processes(Case("generator-processes", "tiny", batches=1, distinct=2))
    Opened(batch_size=256, limit=None)
    """
    return _generator(case, case.workers, processes=True)


def open_threads(case: Case) -> Opened:
    """Rows made in threads.

    >>> open_threads(Case("generator-threads", "tiny", batches=1, distinct=2))
    Opened(batch_size=256, limit=None)
    """
    return _generator(case, case.workers, processes=False)


def open_serial(case: Case) -> Opened:
    """Rows made by one worker, which MindSpore runs in this process.

    >>> len(list(open_serial(Case("generator-serial", "tiny", batches=2, distinct=2)).start()))
    2
    """
    return _generator(case, 1, processes=False)


def _pad(rows: Any) -> Any:
    from dsbridge.bench.datasets import pad_rows

    return [require_mindspore("a benchmark").Tensor.from_numpy(array) for array in pad_rows(rows)]


def open_loader(case: Case) -> Opened:
    """MindSpore's DataLoader (2.10 and later).

    >>> open_loader(Case("mindspore-loader", "tiny", batches=1, distinct=2))
    Opened(batch_size=256, limit=None)
    """
    rows, workload = _rows(case), case.make_workload()
    try:
        module = importlib.import_module("mindspore.dataset.dataloader")
    except ImportError as exc:
        raise CannotRunError("this mindspore has no mindspore.dataset.dataloader") from exc
    collate = {"collate_fn": _pad} if workload.ragged else {}
    loader = module.DataLoader(rows, batch_size=workload.batch_size, num_workers=case.workers, **collate)
    return Opened(lambda: loader, batch_size=workload.batch_size)
