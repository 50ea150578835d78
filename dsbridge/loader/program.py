"""What a loader's workers run: torch's seeds and worker info, then fetch, collate into the slot, encode."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import RngState, key_of, untouched
from dsbridge.loader.fetch import SKIPPED, Fetcher, OnError, StreamFetcher
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.parts import Parts
from dsbridge.loader.stats import LoaderStats
from dsbridge.loader.wire import encode, encode_error
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
        import cloudpickle

        self._data = cloudpickle.dumps(program)

    def __reduce__(self) -> Any:
        return pickle.loads, (self._data,)


class LoaderProgram:
    """Runs in each worker; pickled or forked with everything it needs."""

    def __init__(
        self,
        parts: Parts,
        *,
        on_error: OnError,
        base_seed: int,
        workers: int,
        init_fn: Any,
        sample_seed: int | None,
        journalled: bool,
        strided: bool = False,
    ) -> None:
        self._parts, self._on_error, self._base_seed, self._workers = parts, on_error, base_seed, workers
        self._init_fn, self._sample_seed, self._journalled = init_fn, sample_seed, journalled
        self._strided = strided  # whether tensors keep their strides: output="torch"
        self._failed: Exception | None = None
        self._failure_said = False
        self._epoch = 0
        self._counts = LoaderStats()

    def setup(self, worker: int, journal: bytes) -> None:
        """torch's seeds for worker ``worker``; where a predecessor died, its generators' states."""
        self._worker = worker
        self._keys: _GivenKeys | None = None
        torch_data.become_worker(worker, self._workers, self._base_seed, self._parts.dataset)
        self._batches = 0
        try:
            if self._init_fn is not None:
                self._init_fn(worker)
            self._fetcher = self._make_fetcher(0)
            if journal:
                self._catch_up(journal)
        except Exception as exc:
            self._failed = exc

    def begin(self, payload: bytes) -> None:
        """A new epoch in a worker that lives on: streams start anew, generators go on."""
        self._failed, self._failure_said = None, False
        try:
            self._batches = 0
            self._fetcher = self._make_fetcher(pickle.loads(payload))
        except Exception as exc:
            self._failed = exc

    def _make_fetcher(self, epoch: int) -> Fetcher:
        self._epoch = epoch
        if self._sample_seed is not None:
            # a stream's samples have no index of their own: the worker's id tells them apart
            seed = key_of(self._sample_seed, "worker", self._worker) if self._parts.iterable else self._sample_seed
            self._keys = _GivenKeys(seed, epoch, counting=False)
        kind = StreamFetcher if self._parts.iterable else Fetcher
        return kind(self._parts, Collator(), self._on_error, self._keys, self._counts)

    def journal(self) -> bytes:
        """Where the generators stand, or how far a stream is, for a successor."""
        if not self._journalled:
            return b""
        if self._parts.iterable:
            return pickle.dumps(("stream", (self._epoch, self._batches)))
        return pickle.dumps(("generators", RngState.capture().to_bytes()))

    def _catch_up(self, journal: bytes) -> None:
        kind, value = pickle.loads(journal)
        if kind == "generators":
            RngState.from_bytes(value).restore()
        else:
            # A stream's successor has the same seeds: doing the same again leads to the same place.
            epoch, batches = value
            if epoch:
                self._fetcher = self._make_fetcher(epoch)
            for position in range(batches):
                self._fetcher.fetch([None] * self._parts.stream_batch if self._parts.batched else None, position)
            self._batches = batches

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
        try:
            if self._keys is None:
                found = self._fetcher.fetch(index, position)
            else:
                with untouched():
                    found = self._fetcher.fetch(index, position)
        except StopIteration:
            return END, b""
        self._batches += 1
        changed = [getattr(self._counts, name) - old for name, old in zip(COUNTED, before, strict=True)]
        extra = (changed, self._fetcher.consumed if isinstance(self._fetcher, StreamFetcher) else 0)
        if found is SKIPPED:
            return BATCH, pickle.dumps((None, (*extra, True)))
        batch, fresh = found
        with located(self._fetcher.last_indices, position):
            return BATCH, encode(batch, fresh, writer, (*extra, False), strided=self._strided)
