"""One iteration over a loader in this process, in torch's order of events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import RngState, untouched
from dsbridge.loader.fetch import SKIPPED, Fetcher, StreamFetcher, pooled
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.parts import Parts
from dsbridge.loader.state import Progress
from dsbridge.sources.locate import located

if TYPE_CHECKING:
    from dsbridge.loader.dataloader import DataLoader


class SerialIterator(Iterator[Any]):
    """Iterates once. What draws from a generator happens when torch's iterator does it, in the same order:

    start of the sampler's iteration, the base seed, start of the stream; then per batch the indices, the samples,
    the collate. So the batches are torch's, bit for bit, and the global generators end up where torch leaves them.
    """

    def __init__(self, loader: DataLoader, progress: Progress, keys: SampleKeys | None) -> None:
        self._loader, self._progress, self._keys = loader, progress, keys
        self._counts = loader._counts
        self._left_at: float | None = None
        parts = loader._parts()
        self._length_said = loader._length_said
        self._pin_for = torch_data.pinning(loader) if loader.output == "torch" else None
        if keys is None:
            self._open(loader, parts)
            return
        with untouched():
            keys.before_indices(-1)
            self._open(loader, parts)

    def _open(self, loader: DataLoader, parts: Parts) -> None:
        dataset = torch_data.seed_datapipe(parts.dataset, parts.generator)
        if dataset is not parts.dataset:
            parts = loader._parts(dataset)
        self._indices = iter(self._progress.sampler)
        if self._keys is None:
            torch_data.draw_base_seed(parts.generator)
        else:
            self._keys.before_stream()
        if loader.timeout != 0:  # torch's own check, place and words
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        kind = StreamFetcher if parts.iterable else Fetcher
        self._fetcher = kind(parts, pooled(loader._pool), loader._on_error, self._keys, self._counts)
        self._parts = parts

    def start(self, batches: int, samples: int) -> None:
        """Go forward without loading: draws the indices of ``batches``, runs through ``samples`` of a stream."""
        for position in range(batches):
            index = self._next_indices(position)
            if self._keys is not None and not self._parts.iterable:
                for one in index if self._parts.batched else (index,):
                    self._keys.occurrence(one)
        if isinstance(self._fetcher, StreamFetcher):
            self._fetcher.skip(samples)

    def __iter__(self) -> SerialIterator:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        if self._left_at is not None:
            self._counts.hold_s += start - self._left_at
        kept = RngState.capture() if self._keys is not None else None
        try:
            batch = self._next_batch()
        except StopIteration:
            self._progress.finished = True
            raise
        finally:
            if kept is not None:  # the trainer's own random numbers are none of our business
                kept.restore()
            self._left_at = time.perf_counter()
            self._counts.wait_s += self._left_at - start
            self._counts.produce_s = self._counts.wait_s
        return batch

    def _next_indices(self, position: int) -> Any:
        if self._keys is not None:
            self._keys.before_indices(position)
        return next(self._indices)

    def _next_batch(self) -> Any:
        while True:
            position = self._progress.position
            index = self._next_indices(position)
            try:
                found = self._fetcher.fetch(index, position)
            except StopIteration:
                raise
            except BaseException:
                self._advance()  # as in torch, the iteration goes on behind the batch that failed
                raise
            self._advance()
            if found is SKIPPED:
                continue
            batch, fresh = found
            with located(self._fetcher.last_indices, position):
                batch = self._loader._output.convert(batch, fresh)
            self._counts.spilled_batches += self._loader._pool.take_spilled()
            if self._pin_for is not None:
                batch = torch_data.pin(batch, self._pin_for)
            self._counts.batches += 1
            torch_data.warn_if_longer(self._parts.dataset, self._length_said, self._progress.position, 0)
            return batch

    def _advance(self) -> None:
        self._progress.position += 1
        if isinstance(self._fetcher, StreamFetcher):
            self._progress.samples = self._fetcher.consumed
