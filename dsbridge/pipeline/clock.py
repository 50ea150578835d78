"""Which epoch an iterator starts at, though MindSpore begins epochs that nobody has asked for."""

from __future__ import annotations

import math
import threading
import weakref
from typing import Any

from dsbridge.errors import SchemaError
from dsbridge.pipeline.consumer import Consumer


class Run:
    """The epochs produced for one iterator, from ``start`` on, and how many of them it has begun to read."""

    def __init__(self, start: int, consumer: Consumer, limit: int | None) -> None:
        self.start, self.consumer, self.limit = start, consumer, limit
        self.error: BaseException | None = None
        self._rows_at_start: list[int | None] = []
        self._end: tuple[int | None, int | None] | None = None

    def begin_epoch(self) -> int:
        """The epoch to produce next; called when MindSpore wants its first row."""
        epoch = self.start + len(self._rows_at_start)
        if self.limit is not None and epoch >= self.limit:
            raise SchemaError(
                f"num_epochs={self.limit}: all {self.limit} epochs have been produced", hint="raise num_epochs in to_mindspore"
            )
        self._rows_at_start.append(self.consumer.rows())
        return epoch

    def close(self) -> None:
        """The iterator's copy of the pipeline is going away: note how far it came while it can still be asked."""
        if self._end is None:
            self._end = self.consumer.rows(), self.consumer.rows_per_epoch()

    @property
    def begun(self) -> int:
        """Epochs the iterator has begun to read.

        An endless iterator lets an epoch start only when the one before was read to its end, so an epoch is begun
        if rows were delivered after its start. A bounded one lets all epochs run ahead; there the size of an epoch
        decides. A live iterator has begun its first: its order is spoken for. Where MindSpore does not tell (device
        queues), what was produced counts.
        """
        rows, per_epoch = self._end or (self.consumer.rows(), self.consumer.rows_per_epoch())
        alive = self._end is None and self.consumer.alive
        produced = len(self._rows_at_start)
        if rows is None:
            return max(produced, int(alive))
        if rows == 0:
            return int(alive)
        if self.consumer.num_epochs != -1:
            return min(produced, math.ceil(rows / per_epoch)) if per_epoch else 1
        while produced > 1:
            before = self._rows_at_start[produced - 1]
            if before is None or rows > before:
                break
            produced -= 1
        return produced


class EpochClock:
    """Counts epochs over all iterators of one dataset: each goes on after the last epoch its predecessors began."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._next = 0
        self._runs: list[Run] = []
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: Any) -> EpochClock:
        return self

    def new_run(self, consumer: Consumer, owner: Any) -> Run:
        """A run for a new iterator; ``owner`` is the iterator's copy of the node, whose end is the run's."""
        with self._lock:
            start = max([self._next, *(run.start + run.begun for run in self._runs)])
            self._next = start
            self._runs = [run for run in self._runs if run.consumer.alive]
            run = Run(start, consumer, self.limit)
            self._runs.append(run)
        weakref.finalize(owner, self._finish, run).atexit = False
        return run

    def _finish(self, run: Run) -> None:
        run.close()
        with self._lock:
            self._next = max(self._next, run.start + run.begun)
            if run in self._runs:
                self._runs.remove(run)

    @property
    def oldest(self) -> int:
        """The first epoch that a live iterator may still ask for: MindSpore's thread may not have begun its own."""
        with self._lock:
            return min((run.start for run in self._runs), default=self._next)
