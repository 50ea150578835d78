"""One iteration over a loader whose batches are made by worker processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import untouched
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.output import Output
from dsbridge.loader.program import COUNTED, LoaderProgram, Portable, Setup, Work
from dsbridge.loader.state import Progress, Workers
from dsbridge.loader.wire_errors import decode_error
from dsbridge.prefetch.channels import END, ERROR, Result
from dsbridge.prefetch.pool import MOST_UNDER_WAY, Settings, WorkerPool

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
        resumed: Workers | None = None,
    ) -> None:
        """``base_seed`` and ``output`` are given by whoever draws seeds and converts leaves elsewhere: the feed of
        a MindSpore pipeline, which also has workers of its own. ``resumed``: where workers of another process stood."""
        self._loader, self._progress, self._keys = loader, progress, keys
        self._output = output or loader._output
        self._keeps_pool = output is None and loader.persistent_workers
        self.last_indices: Any = None
        self._parts = parts = loader._parts()
        self._counts = loader._counts
        self._left_at: float | None = None
        self._pin_for = torch_data.pinning(loader) if self._output.kind == "torch" else None
        self._pipe_seed = torch_data.draw_pipe_seed(parts.dataset, parts.generator)
        self._indices = iter(progress.sampler)
        self._workers = loader.num_workers
        self._active = [True] * self._workers
        self._tasks = [0] * self._workers
        self._turn = self._send_position = 0
        self._sent: deque[Sent] = deque()
        self._static = keys is None or parts.iterable
        self._limit = min(loader.prefetch_factor * self._workers, MOST_UNDER_WAY)
        drew = base_seed is None and keys is None and self._draws(resumed)
        drawn = torch_data.draw_base_seed(parts.generator) if drew else 0
        if resumed is not None:
            drawn = resumed.base_seed
        self._pool = self._make_pool(drawn if base_seed is None else base_seed, resumed)
        progress.workers = Workers(loader._workers_seed, drew, self._pool.journals)
        self._restarts, self._spilled = self._pool.restarts, self._pool.slots.spilled

    def _draws(self, resumed: Workers | None) -> bool:
        # as in torch, workers that live on keep the seed they have, and none is drawn
        if resumed is not None:
            return resumed.drew
        return not (self._keeps_pool and self._loader._pool_of_workers is not None)

    def _make_pool(self, base_seed: int, resumed: Workers | None) -> WorkerPool:
        loader, parts = self._loader, self._parts
        pool = loader._pool_of_workers if self._keeps_pool else None
        if pool is not None:
            for number in pool.outstanding:  # is done first, as in torch: generators have moved on by it
                result = pool.wait([number])
                if result is not None:
                    pool.slots.release(result)
            if self._static:
                pool.begin(self._progress.epoch, self._pipe_seed or 0)
            return pool
        loader._workers_seed = base_seed
        setup = Setup(
            on_error=loader._on_error,
            base_seed=base_seed,
            workers=self._workers,
            init_fn=loader.worker_init_fn,
            sample_seed=None if self._keys is None else self._keys.seed,
            journalled=self._keys is None or (parts.iterable and loader.on_worker_death == "restart"),
            strided=self._output.kind == "torch",
            pipe_seed=self._pipe_seed,
        )
        program = LoaderProgram(parts.without_samplers(), setup)
        context = torch_data.process_context(loader.multiprocessing_context)
        settings = Settings(
            workers=self._workers,
            context=context,
            in_flight=self._limit,
            shared_tasks=not self._static,
            on_worker_death=loader.on_worker_death,
            max_restarts=loader.max_restarts,
            max_bytes=loader.max_memory,
            batch_timeout_s=loader.batch_timeout,
            describe=lambda index: list(index) if isinstance(index, (list, tuple)) else [index],
            journals=() if resumed is None else resumed.read(),
        )
        forked = context.get_start_method() == "fork"
        pool = WorkerPool(program if forked else Portable(program), settings, loader._spare_segments)
        if self._keeps_pool:
            loader._pool_of_workers = pool
        return pool

    def start(self, batches: int, samples: int) -> None:
        """Send the first batches. To begin behind ``batches``, their indices are drawn and dropped; of a stream, whose
        workers must move on too, the batches are made and dropped."""
        ahead = self._progress.ahead
        if not self._parts.iterable:
            for position in range(batches):
                self._count(self._next_indices(position))
            self._send_position, batches = batches, 0
            self._turn = self._send_position % self._workers
        for _ in range(self._limit):
            self._send(ahead)
        while batches and self._sent:
            sent, result = self._receive()
            self._pool.slots.release(result)
            if result.kind == END and sent.worker is not None:
                self._active[sent.worker] = False
            else:
                batches -= 1
            self._send(ahead)

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

    def _send(self, delivered: set[int] | frozenset[int] = frozenset()) -> None:
        """Hand out the next batch that was not ``delivered`` yet, if there is one and a worker to take it."""
        if not any(self._active):
            return
        while True:
            try:
                index = self._next_indices(self._send_position)
            except StopIteration:
                return
            if self._parts.batched and hasattr(index, "__next__"):
                index = list(index)
            occurrences = self._count(index)
            position, self._send_position = self._send_position, self._send_position + 1
            if position not in delivered:
                break
        worker = self._next_worker() if self._static else None
        work = Work(self._progress.epoch, position, index, occurrences)
        number = self._pool.submit(work.dumps(), worker, index)
        self._sent.append(Sent(number, position, worker, index))

    def _next_worker(self) -> int:
        """The next in turn that has work to do; out of order, one that has not too much of it already."""
        most = self._limit // sum(self._active)
        for _ in range(self._workers):
            worker, self._turn = self._turn, (self._turn + 1) % self._workers
            if self._active[worker] and (self._loader.in_order or self._tasks[worker] < most):
                break
        else:  # more workers than tasks allowed
            worker = next(worker for worker in range(self._workers) if self._active[worker])
        self._tasks[worker] += 1
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
            self._counts.wait_s += self._left_at - start

    def _next_batch(self) -> Any:
        while self._sent:
            sent, result = self._receive()
            if result.kind == END:
                assert sent.worker is not None
                self._active[sent.worker] = False
                self._send()
                continue
            self._progress.deliver(sent.position)
            self._send()
            if result.kind == ERROR:
                recipe = self._pool.slots.recipe(result)
                self._pool.slots.release(result)
                raise decode_error(recipe)
            skipped, batch = self._deliver(result)
            if not skipped:
                self._counts.batches += 1
                torch_data.warn_if_longer(
                    self._parts.dataset, self._loader._length_said, self._progress.position, self._workers
                )
                return batch
        self._finish()
        raise StopIteration

    def _receive(self) -> tuple[Sent, Result]:
        timeout = self._loader.timeout or None
        numbers = [self._sent[0].number] if self._loader.in_order else [sent.number for sent in self._sent]
        try:
            result = self._pool.wait(numbers, timeout)
        except LookupError:
            self._sent.clear()
            raise RuntimeError(
                "this iteration is over: a newer one over the same persistent workers has begun. "
                "Hint: finish it first, or use persistent_workers=False"
            ) from None
        except BaseException:
            self._forget_closed()
            raise
        if result is None:
            self._finish(kill=True)
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        if self._sent[0].number == result.number:
            sent = self._sent.popleft()
        else:
            sent = next(sent for sent in self._sent if sent.number == result.number)
            self._sent.remove(sent)
        if sent.worker is not None:
            self._tasks[sent.worker] -= 1
        self.last_indices = sent.index
        return sent, result

    def close(self) -> None:
        """Stop workers that serve this iteration alone."""
        self._finish()

    def _deliver(self, result: Result) -> tuple[bool, Any]:
        slots, counts = self._pool.slots, self._counts
        recipe = slots.recipe(result)
        batch, extra = self._output.received(recipe, slots.lease(result))
        for name, count in zip(COUNTED, extra, strict=False):
            if count:
                setattr(counts, name, getattr(counts, name) + count)
        counts.pickled_columns += extra.pickled
        counts.produce_s += (result.finished_ns - result.started_ns) / 1e9
        counts.queue_s += (time.monotonic_ns() - result.finished_ns) / 1e9
        self._progress.samples += extra.consumed
        self._add_up()
        if self._parts.iterable:
            self._judge_shards(result.worker, extra.shard_asked)
        if extra.skipped:
            return True, None
        return False, batch if self._pin_for is None else torch_data.pin(batch, self._pin_for)

    def _add_up(self) -> None:
        pool, counts = self._pool, self._counts
        counts.restarts += pool.restarts - self._restarts
        counts.spilled_batches += pool.slots.spilled - self._spilled
        counts.slots = max(counts.slots, pool.segment.slots_used)
        self._restarts, self._spilled = pool.restarts, pool.slots.spilled

    def _judge_shards(self, worker: int, asked: int) -> None:
        if worker > 0 and not asked:
            self._loader.report.add(
                "stream-not-sharded",
                "warning",
                type(self._parts.dataset).__name__,
                f"none of its code asked which worker it runs in: each of {self._workers} workers reads all of it",
                "shard by torch.utils.data.get_worker_info().id in __iter__, or use num_workers=1",
            )

    def _finish(self, kill: bool = False) -> None:
        self._progress.finished = True
        if kill or self._loader._pool_of_workers is not self._pool:
            self._pool.close()
            self._forget_closed()

    def _forget_closed(self) -> None:
        if self._pool.closed and self._loader._pool_of_workers is self._pool:
            self._loader._pool_of_workers = None
