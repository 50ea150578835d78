"""What a loader's workers run: torch's seeds and worker info, then fetch, collate into the slot, encode."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import RngRecorder, key_of, untouched
from dsbridge.loader.fetch import SKIPPED, Fetcher, OnError, StreamFetcher
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.parts import Parts
from dsbridge.loader.stats import LoaderStats
from dsbridge.loader.wire import Extra, encode, skipped
from dsbridge.loader.wire_errors import encode_error
from dsbridge.prefetch.channels import BATCH, END, ERROR
from dsbridge.prefetch.worker import SlotWriter
from dsbridge.sources.collate import Collator
from dsbridge.sources.locate import located

COUNTED = ("samples", "skipped_samples", "skipped_batches", "replaced_samples")


@dataclass(slots=True)
class Work:
    """One task: the batch at ``position``, made of ``index``. ``occurrences`` only where an index may come twice."""

    epoch: int
    position: int
    index: Any
    occurrences: list[int] | None = None

    def dumps(self) -> bytes:
        """As the payload of a task."""
        return pickle.dumps((self.epoch, self.position, self.index, self.occurrences), protocol=5)


class _GivenKeys(SampleKeys):
    """Keys whose occurrence counts were made by the trainer, who sees all indices."""

    given: Iterator[int] | None = None

    def occurrence(self, index: Any) -> int:
        return 0 if self.given is None else next(self.given)


class Portable:
    """A program as bytes, made once: unpickles as the program itself. For workers that are not forked.

    By cloudpickle, which sends lambdas and what is defined in ``__main__`` by value.
    """

    def __init__(self, program: LoaderProgram) -> None:
        from dsbridge.frameworks import pickling  # cloudpickle is for those workers only

        self._data = pickling.dumps(program)

    def __reduce__(self) -> Any:
        return pickle.loads, (self._data,)


@dataclass(slots=True, kw_only=True)
class Setup:
    """What a worker's program needs to know beside the dataset; picklable.

    ``sample_seed``: the seed of rng="sample", None for rng="torch". ``journalled``: whether a successor may have to go on
    where a worker was. ``strided``: whether tensors keep their strides (output="torch"). ``pipe_seed``: what torch
    seeds IterDataPipes with.
    """

    on_error: OnError
    base_seed: int
    workers: int
    init_fn: Any
    sample_seed: int | None
    journalled: bool
    strided: bool = False
    pipe_seed: int | None = None


class LoaderProgram:
    """Runs in each worker; pickled or forked with everything it needs."""

    def __init__(self, parts: Parts, setup: Setup) -> None:
        self._parts, self._setup = parts, setup
        self._failed: Exception | None = None
        self._failure_said = False
        self._epoch = 0
        self._attempts = 0  # batches of this epoch that were begun, failed ones too
        self._began_at = b""  # the generators when a stream was opened
        self._pipe_seed = setup.pipe_seed
        self._counts = LoaderStats()
        self._keys: _GivenKeys | None = None

    def setup(self, worker: int, journal: bytes) -> None:
        """torch's seeds for worker ``worker``; where a predecessor died, its generators' states."""
        self._worker = worker
        self._recorder = RngRecorder()
        self._asked = torch_data.become_worker(worker, self._setup.workers, self._setup.base_seed, self._parts.dataset)
        try:
            if self._setup.init_fn is not None:
                self._setup.init_fn(worker)
            self._go_on(journal) if journal else self._open(0)
        except Exception as exc:
            self._failed = exc

    def begin(self, epoch: int, seed: int) -> None:
        """A new epoch in a worker that lives on: streams start anew, generators go on; ``seed`` is for IterDataPipes."""
        self._failed, self._failure_said = None, False
        self._pipe_seed = None if self._setup.pipe_seed is None else seed
        try:
            self._open(epoch)
        except Exception as exc:
            self._failed = exc

    def _open(self, epoch: int) -> None:
        self._epoch, self._attempts = epoch, 0
        seed, parts = self._setup.sample_seed, self._parts
        if parts.iterable and self._setup.journalled:
            self._began_at = self._recorder.record()
        dataset = torch_data.reseed_pipe(parts.dataset, self._pipe_seed)
        if dataset is not parts.dataset:
            self._parts = parts = replace(parts, dataset=dataset)
        kind = StreamFetcher if parts.iterable else Fetcher
        if seed is None:
            self._fetcher = kind(parts, Collator(), self._setup.on_error, None, self._counts)
            return
        # a stream's samples have no index of their own: the worker's id tells them apart
        seed = key_of(seed, "worker", self._worker) if parts.iterable else seed
        self._keys = _GivenKeys(seed, epoch, counting=False)
        with untouched():
            self._keys.before_stream()
            self._fetcher = kind(parts, Collator(), self._setup.on_error, self._keys, self._counts)

    def journal(self) -> bytes:
        """Where the generators stand, or how far a stream is, for a successor."""
        if not self._setup.journalled or self._failed is not None:
            return b""
        if self._parts.iterable:
            return pickle.dumps((self._epoch, self._attempts, self._began_at))
        return self._recorder.record()

    def _go_on(self, journal: bytes) -> None:
        if not self._parts.iterable:
            self._open(0)
            RngRecorder.restore(journal)
            return
        # From the same generators on, doing the same again leads a stream to the same place.
        epoch, attempts, began_at = pickle.loads(journal)
        RngRecorder.restore(began_at)
        self._open(epoch)
        for position in range(attempts):
            with contextlib.suppress(Exception):  # it has been reported
                self._fetch([None] * self._parts.stream_batch if self._parts.batched else None, position)

    def produce(self, payload: bytes, writer: SlotWriter) -> tuple[int, bytes]:
        """Fetch, collate into the slot, encode; an exception becomes an error result."""
        if self._failed is not None:  # every batch fails that way, but a stream that never began has an end
            if self._parts.iterable and self._failure_said:
                return END, b""
            self._failure_said = True
            return ERROR, encode_error(self._failed, self._worker)
        try:
            return self._batch(payload, writer)
        except Exception as exc:
            return ERROR, encode_error(exc, self._worker)

    def _batch(self, payload: bytes, writer: SlotWriter) -> tuple[int, bytes]:
        epoch, position, index, occurrences = pickle.loads(payload)
        if self._keys is not None:
            self._keys.epoch = epoch
            self._keys.given = None if occurrences is None else iter(occurrences)
        self._fetcher.collator.into(writer.reserve)
        before = [getattr(self._counts, name) for name in COUNTED]
        start = self._fetcher.consumed
        try:
            found = self._fetch(index, position)
        except StopIteration:
            return END, b""
        changed = {name: getattr(self._counts, name) - old for name, old in zip(COUNTED, before, strict=True)}
        extra = Extra(**changed, consumed=self._fetcher.consumed - start, shard_asked=self._asked())
        if found is SKIPPED:
            return BATCH, skipped(extra)
        batch, fresh = found
        with located(self._fetcher.last_indices, position):
            return BATCH, encode(batch, fresh, writer, extra, strided=self._setup.strided)

    def _fetch(self, index: Any, position: int) -> Any:
        self._attempts += 1
        if self._keys is None:
            return self._fetcher.fetch(index, position)
        with untouched():
            return self._fetcher.fetch(index, position)
