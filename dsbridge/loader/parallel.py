"""One iteration over a loader whose batches are made by worker processes."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import untouched
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.output import Output
from dsbridge.loader.program import COUNTED, LoaderProgram, Portable, Work
from dsbridge.loader.state import Progress
from dsbridge.loader.wire import decode, decode_error
from dsbridge.prefetch.channels import END, ERROR, Result
from dsbridge.prefetch.pool import Settings, WorkerPool

if TYPE_CHECKING:
    from dsbridge.loader.dataloader import DataLoader


@dataclass(slots=True)
class Sent:
    """A batch under way."""

    number: int
    position: int
    worker: int | None
    index: Any


class ParallelIterator(Iterator[Any]):
    """Iterates once, in torch's order of events: sampler, base seed, workers, then ``prefetch_factor`` batches each.

    Under rng="torch" (and for streams) batch i is worker i % n's, as in torch; under rng="sample" whoever is free takes
    the next one. Batches are delivered in order unless ``in_order=False``.
    """

    def __init__(
        self,
        loader: DataLoader,
        progress: Progress,
        keys: SampleKeys | None,
        *,
        base_seed: int | None = None,
        output: Output | None = None,
    ) -> None:
        """``base_seed`` and ``output`` are given by whoever draws seeds and converts leaves elsewhere: the feed of
        a MindSpore pipeline, which also has workers of its own."""
        self._loader, self._progress, self._keys = loader, progress, keys
        self._output = output or loader._output
        self._keeps_pool = output is None and loader.persistent_workers
        self.last_indices: Any = None
        self._parts = parts = loader._parts()
        self._counts = loader._counts
        self._left_at: float | None = None
        self._indices = iter(progress.sampler)
        if base_seed is None:
            # as in torch, workers that live on keep the seed they have, and none is drawn
            draws = keys is None and not (self._keeps_pool and loader._pool_of_workers is not None)
            base_seed = torch_data.draw_base_seed(parts.generator) if draws else 0
        self._workers = loader.num_workers
        self._active = [True] * self._workers
        self._turn = 0
        self._send_position = 0
        self._sent: deque[Sent] = deque()
        self._static = keys is None or parts.iterable
        self._pool = self._make_pool(base_seed)
        self._limit = loader.prefetch_factor * self._workers

    def _make_pool(self, base_seed: int) -> WorkerPool:
        loader, parts = self._loader, self._parts
        pool = loader._pool_of_workers if self._keeps_pool else None
        if pool is not None:
            self._drain(pool)
            if self._static:
                pool.begin(pickle.dumps(self._progress.epoch))
            return pool
        program = LoaderProgram(
            parts.without_samplers(),
            on_error=loader._on_error,
            base_seed=base_seed,
            workers=self._workers,
            init_fn=loader.worker_init_fn,
            sample_seed=None if self._keys is None else self._keys.seed,
            journalled=loader.on_worker_death == "restart" and (self._keys is None or parts.iterable),
            strided=self._output.kind == "torch",
        )
        context = torch_data.process_context(loader.multiprocessing_context)
        forked = context.get_start_method() == "fork"
        pool = WorkerPool(
            program if forked else Portable(program),
            Settings(
                workers=self._workers,
                context=context,
                in_flight=loader.prefetch_factor * self._workers,
                shared_tasks=not self._static,
                on_worker_death=loader.on_worker_death,
                max_restarts=loader.max_restarts,
                max_bytes=loader.max_memory,
                batch_timeout_s=loader.batch_timeout,
                describe=lambda index: list(index) if isinstance(index, (list, tuple)) else [index],
            ),
            loader._spare_segments,
        )
        if self._keeps_pool:
            loader._pool_of_workers = pool
        return pool

    @staticmethod
    def _drain(pool: WorkerPool) -> None:
        """What an earlier iteration left under way is done first, as in torch: generators have moved on by it."""
        for number in pool.outstanding:
            result = pool.wait([number])
            if result is not None:
                pool.slots.release(result)

    def start(self, batches: int, samples: int) -> None:
        """Send the first batches. To begin behind ``batches``, indices are drawn and dropped; where workers' generators or
        streams must move on too, the batches are made and dropped."""
        if not self._static:
            for position in range(batches):
                self._count(self._next_indices(position))
            self._send_position, batches = batches, 0
        for _ in range(self._limit):
            self._send()
        while batches and self._sent:
            sent, result = self._receive()
            self._pool.slots.release(result)
            if result.kind == END and sent.worker is not None:
                self._active[sent.worker] = False
            else:
                batches -= 1
            self._send()

    def _next_indices(self, position: int) -> Any:
        if self._keys is None:
            return next(self._indices)
        with untouched():
            self._keys.before_indices(position)
            return next(self._indices)

    def _count(self, index: Any) -> list[int] | None:
        if self._keys is None or self._parts.iterable:
            return None
        return [self._keys.occurrence(one) for one in (index if self._parts.batched else (index,))]

    def _send(self) -> None:
        """Hand out the next batch, if there is one and a worker to take it."""
        if not any(self._active):
            return
        try:
            index = self._next_indices(self._send_position)
        except StopIteration:
            return
        if self._parts.batched and hasattr(index, "__next__"):
            index = list(index)
        position, self._send_position = self._send_position, self._send_position + 1
        worker = self._next_worker() if self._static else None
        work = Work(self._progress.epoch, position, index, self._count(index))
        number = self._pool.submit(work.dumps(), worker, index)
        self._sent.append(Sent(number, position, worker, index))

    def _next_worker(self) -> int:
        while not self._active[self._turn]:
            self._turn = (self._turn + 1) % self._workers
        worker, self._turn = self._turn, (self._turn + 1) % self._workers
        return worker

    def __iter__(self) -> ParallelIterator:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        if self._left_at is not None:
            self._counts.hold_s += start - self._left_at
        try:
            return self._next_batch()
        finally:
            self._left_at = time.perf_counter()
            self._counts.produce_s += self._left_at - start

    def _next_batch(self) -> Any:
        while self._sent:
            sent, result = self._receive()
            if result.kind == END:
                assert sent.worker is not None
                self._active[sent.worker] = False
                self._send()
                continue
            self._progress.position += 1
            self._send()
            if result.kind == ERROR:
                recipe = self._pool.slots.recipe(result)
                self._pool.slots.release(result)
                raise decode_error(recipe)
            skipped, batch = self._deliver(result)
            if not skipped:
                self._counts.batches += 1
                return batch
        self._finish()
        raise StopIteration

    def _receive(self) -> tuple[Sent, Result]:
        timeout = self._loader.timeout or None
        numbers = [self._sent[0].number] if self._loader.in_order else [sent.number for sent in self._sent]
        try:
            result = self._pool.wait(numbers, timeout)
        except BaseException:
            if self._pool.closed:
                self._loader._pool_of_workers = None
            raise
        if result is None:
            self._finish(kill=True)
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        sent = next(sent for sent in self._sent if sent.number == result.number)
        self._sent.remove(sent)
        self.last_indices = sent.index
        return sent, result

    def close(self) -> None:
        """Stop workers that serve this iteration alone."""
        self._finish()

    def _deliver(self, result: Result) -> tuple[bool, Any]:
        recipe = self._pool.slots.recipe(result)
        spilled = self._pool.slots.spilled
        batch, extra = decode(recipe, self._pool.slots.lease(result), self._output.received)
        changed, consumed, skipped = extra
        for name, count in zip(COUNTED, changed, strict=True):
            setattr(self._counts, name, getattr(self._counts, name) + count)
        self._counts.spilled_batches += self._pool.slots.spilled - spilled
        self._counts.restarts = self._pool.stats.restarts
        self._progress.samples += consumed
        return skipped, batch

    def _finish(self, kill: bool = False) -> None:
        self._progress.finished = True
        if kill or self._loader._pool_of_workers is not self._pool:
            self._pool.close()
