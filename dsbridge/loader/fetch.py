"""Indices -> samples -> collated batch, in this process, with the error policy applied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dsbridge.errors import SampleError
from dsbridge.frameworks import torch_data
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.parts import Parts
from dsbridge.loader.stats import LoaderStats
from dsbridge.prefetch.buffers import BufferPool
from dsbridge.schema.structure import Path, map_leaves
from dsbridge.sources.collate import Collator
from dsbridge.sources.leaves import refuse_masked
from dsbridge.sources.locate import locate, located

logger = logging.getLogger("dsbridge")

OnError = str | Callable[[Any, Exception], Any]
SKIPPED = object()
_MAX_FAILURES = 1000  # an iterator that raises for ever must not loop for ever


def pooled(pool: BufferPool) -> Collator:
    """A collator into recycled memory of this process."""
    return Collator(lambda nbytes: pool.empty((nbytes,), np.dtype(np.uint8)), pool.min_bytes)


class Fetcher:
    """Loads the batches of one iteration. ``fetch`` returns (batch, ids of fresh tensors) or ``SKIPPED``.

    One instance serves one iteration, on one thread at a time. ``keys`` seeds each sample (rng="sample").
    """

    def __init__(
        self, parts: Parts, collator: Collator, on_error: OnError, keys: SampleKeys | None, counts: LoaderStats
    ) -> None:
        self._parts, self._keys, self._on_error, self._counts = parts, keys, on_error, counts
        self.collator = collator
        self._collate = self._collate_function(parts.collate_fn)
        self._many = None if keys else getattr(parts.dataset, "__getitems__", None)
        self.last_indices: Any = None

    @property
    def consumed(self) -> int:
        """How many samples were taken from a stream."""
        return 0

    def _collate_function(self, fn: Any) -> Callable[[Any], Any]:
        if fn is torch_data.default_collate():
            return self.collator
        if fn is torch_data.default_convert():

            def checked(leaf: Any, path: Path) -> Any:
                refuse_masked(leaf)
                return leaf

            def convert(sample: Any) -> Any:
                map_leaves(checked, sample)
                return fn(sample)

            return convert
        return fn  # type: ignore[no-any-return]

    def fetch(self, index: Any, position: int) -> Any:
        """The batch (or with batch_size=None the sample) for what the index sampler gave."""
        self.last_indices = index
        if not self._parts.batched:
            samples = self._one(index, position)
            if samples is SKIPPED:
                self._counts.skipped_batches += 1
                return SKIPPED
            self._counts.samples += 1
            return self.collate(samples, index, position)
        names = list(index)
        if hasattr(index, "__next__"):  # a user's batch sampler may yield iterators
            index = iter(names)
        samples = self._samples(index, names, position)
        if not samples and names and self._on_error == "skip":
            self._counts.skipped_batches += 1
            return SKIPPED
        self._counts.samples += len(samples)
        return self.collate(samples, names, position)

    def collate(self, samples: Any, index: Any, position: int) -> Any:
        """(batch, fresh ids); an exception names all indices of the batch."""
        if self._keys is not None:
            self._keys.before_collate(position)
        self.collator.fresh = set()
        try:
            with located(index, position):
                return self._collate(samples), self.collator.fresh
        except Exception as exc:
            if self._on_error != "skip":
                raise
            self._counts.skipped_batches += 1
            logger.warning("batch %d skipped: %s: %s", position, type(exc).__name__, exc)
            return SKIPPED

    def _samples(self, indices: Any, names: list[Any], position: int) -> list[Any]:
        if self._many is not None:
            try:
                with located(names, position):
                    return self._many(indices)  # type: ignore[no-any-return]
            except Exception:
                if self._on_error == "raise":
                    raise
                indices = names  # which sample it was is only known one by one
        dataset, keys = self._parts.dataset, self._keys
        if keys is None and self._on_error == "raise":  # the hot path: no call per sample but the dataset's own
            index = None
            try:
                return [dataset[index := i] for i in indices]
            except Exception as exc:
                with located(index, position):
                    raise exc
        found = (self._one(index, position) for index in indices)
        return [sample for sample in found if sample is not SKIPPED]

    def _one(self, index: Any, position: int) -> Any:
        if self._keys is not None:
            self._keys.before_sample(index)
        try:
            with located(index, position):
                return self._parts.dataset[index]
        except Exception as exc:
            return self._handle(index, exc)

    def _handle(self, index: Any, exc: Exception) -> Any:
        """What on_error says: raise, ``SKIPPED``, or the user's replacement."""
        if self._on_error == "raise":
            raise exc
        if callable(self._on_error):
            with located(index):
                sample = self._on_error(index, exc)
            self._counts.replaced_samples += 1
            return sample
        self._counts.skipped_samples += 1
        logger.warning("sample %r skipped: %s: %s", index, type(exc).__name__, exc)
        return SKIPPED


class StreamFetcher(Fetcher):
    """The same for an IterableDataset: ``index`` only says how many samples make a batch."""

    def __init__(
        self, parts: Parts, collator: Collator, on_error: OnError, keys: SampleKeys | None, counts: LoaderStats
    ) -> None:
        super().__init__(parts, collator, on_error, keys, counts)
        with located(0, 0):
            self._stream: Iterator[Any] = iter(parts.dataset)
        self._position = 0
        self._ended = False

    def fetch(self, index: Any, position: int) -> Any:
        """The next batch; raises StopIteration at the end, as torch's fetcher does."""
        if self._ended:
            raise StopIteration
        start = self._position
        if not self._parts.batched:
            sample = self._next(position)
            if self._ended:
                raise StopIteration
            self._counts.samples += 1
            self.last_indices = self._position - 1
            return self.collate(sample, self.last_indices, position)
        wanted = len(index)
        samples: list[Any] = []
        while len(samples) < wanted:
            sample = self._next(position)
            if self._ended:
                break
            samples.append(sample)
        if not samples or (self._parts.drop_last and len(samples) < wanted):
            raise StopIteration
        self._counts.samples += len(samples)
        self.last_indices = list(range(start, self._position))
        return self.collate(samples, self.last_indices, position)

    def skip(self, samples: int) -> None:
        """Run through samples without delivering them: how a stream is resumed."""
        while self._position < samples and not self._ended:  # a sample that is skipped counts, too
            self._next(0)

    @property
    def consumed(self) -> int:
        """How many samples were taken from the stream."""
        return self._position

    def _next(self, position: int) -> Any:
        failures = 0
        while True:
            if self._keys is not None:
                self._keys.before_sample(self._position)
            try:
                sample = next(self._stream)
            except StopIteration:
                self._ended = True
                return None
            except Exception as exc:
                locate(exc, self._position, position)
                sample = self._handle(self._position, exc)
                failures += 1
                if failures > _MAX_FAILURES:
                    raise SampleError(f"the dataset failed {failures} times in a row", index=self._position) from exc
            self._position += 1
            if sample is not SKIPPED:
                return sample


def check_on_error(on_error: Any) -> OnError:
    """``on_error`` itself if it is "raise", "skip" or callable; ValueError otherwise.

    >>> check_on_error("skip")
    'skip'
    """
    if on_error in ("raise", "skip") or callable(on_error):
        return on_error  # type: ignore[no-any-return]
    raise ValueError(f"on_error must be 'raise', 'skip' or a callable(index, exception) -> sample, got {on_error!r}")
