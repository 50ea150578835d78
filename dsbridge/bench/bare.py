"""The least a loader with processes can do: workers copy ready samples into shared memory, the trainer reads them.

No dataset, no seeds, no errors, no checks. What this reaches on a machine no loader in Python will beat by much.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dsbridge.bench.contenders import CannotRunError, Case, Opened
from dsbridge.frameworks.detect import require_mindspore, require_torch


def open_bare(case: Case) -> Opened:
    """Two bare processes for two workers, one slot more than there are workers, a byte through a pipe for each batch.

    >>> len(list(open_bare(Case("bare", "tiny", workers=1, batches=3, distinct=4)).start()))
    3
    """
    from dsbridge.bench.datasets import stack_rows

    workload = case.make_workload()
    if not workload.dataset.startswith("ready_"):
        raise CannotRunError("its samples have to be made first, which is more than copying")
    dataset = workload.make_dataset()
    rows = [dataset.row(index) for index in range(workload.batch_size)]
    columns = stack_rows(rows)
    samples = [[value[None] for value in column] for column in zip(*rows, strict=True)]
    sizes = [-(-column.nbytes // 4096) * 4096 for column in columns]
    shared = np.frombuffer(mmap.mmap(-1, sum(sizes) * (case.workers + 1)), np.uint8)
    starts = [0, *itertools.accumulate(sizes)]
    slots = [
        [
            shared[slot * sum(sizes) + start :][: column.nbytes].view(column.dtype).reshape(column.shape)
            for start, column in zip(starts, columns, strict=False)
        ]
        for slot in range(case.workers + 1)
    ]

    def fill(slot: int) -> None:
        for column, target in zip(samples, slots[slot], strict=True):
            np.concatenate(column, out=target)

    return Opened(lambda: _epoch(workload.batches, case.workers, fill, slots), batch_size=workload.batch_size)


def _epoch(batches: int, workers: int, fill: Callable[[int], None], slots: list[list[Any]]) -> Iterator[Any]:
    """Batch i is worker i % workers', in slot i % len(slots), once that batch's predecessor in the slot was dropped."""
    from_numpy = require_mindspore("a benchmark").Tensor.from_numpy
    free, results = [os.pipe() for _ in range(workers)], [os.pipe() for _ in range(workers)]
    pids = []
    for number in range(len(slots)):
        os.write(free[number % workers][1], b"+")
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            require_torch("a benchmark").set_num_threads(1)
            for number in range(worker, batches, workers):
                os.read(free[worker][0], 1)
                fill(number % len(slots))
                os.write(results[worker][1], b"+")
            os._exit(0)
        pids.append(pid)
    for number in range(batches):
        os.read(results[number % workers][0], 1)
        yield [from_numpy(column) for column in slots[number % len(slots)]]
        os.write(free[(number + len(slots)) % workers][1], b"+")
    for pid in pids:
        os.waitpid(pid, 0)
    for end in itertools.chain(*free, *results):
        os.close(end)
