"""Feeds: what produces the rows of an epoch, from a dataset or from a loader."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, repeat
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from dsbridge.errors import SchemaError
from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import untouched
from dsbridge.loader.dataloader import DataLoader
from dsbridge.loader.fetch import SKIPPED, Fetcher, StreamFetcher, pooled
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.output import Output
from dsbridge.loader.parallel import ParallelIterator
from dsbridge.loader.parts import Parts
from dsbridge.loader.state import Generators, Progress
from dsbridge.loader.stats import LoaderStats
from dsbridge.pipeline.indices import stamped
from dsbridge.pipeline.order import EpochOrder
from dsbridge.report import Report
from dsbridge.schema.columns import Column, Schema
from dsbridge.sources.iterable import IterableSource, Restartable
from dsbridge.sources.leaves import as_array
from dsbridge.sources.mapstyle import MapSource
from dsbridge.sources.rows import Described, Row, RowMaker
from dsbridge.sources.samplers import generators_of, may_repeat

_PREVIEW_ROWS = 1024


class Feed(Protocol):
    """Produces epochs of rows. ``size`` is their number, None if unknown; ``exact`` whether it can be relied on."""

    report: Report
    size: int | None
    exact: bool

    @property
    def schema(self) -> Schema: ...

    @property
    def column_names(self) -> list[str]: ...

    @property
    def order(self) -> EpochOrder | None: ...

    def epoch(self, epoch: int) -> Iterator[Row]:
        """The rows of one epoch; called on MindSpore's thread."""

    def preview(self) -> Iterator[Row]:
        """Rows to read shapes and types from; nothing is consumed."""


S = TypeVar("S", bound=Described)


class _SourceFeed(Generic[S]):
    """What both feeds of a source have in common: its columns, and an index column behind them if wanted."""

    source: S
    _index_column: str | None

    @property
    def schema(self) -> Schema:
        return with_index(self.source.schema, self._index_column, ())

    @property
    def column_names(self) -> list[str]:
        return self.source.column_names + ([self._index_column] if self._index_column else [])

    def _indexed(self, row: Row, index: Any) -> Row:
        return (*row, np.asarray(index, np.int64)) if self._index_column else row


class RowFeed(_SourceFeed[MapSource]):
    """Rows of a map-style source, in the order of an index sampler."""

    def __init__(self, source: MapSource, order: EpochOrder, size: int | None, index_column: str | None) -> None:
        self.source, self.order, self.size, self.exact = source, order, size, True
        self.report = source.report
        self._index_column = index_column

    def epoch(self, epoch: int) -> Iterator[Row]:
        return map(self._row, self.order.indices(epoch))

    def preview(self) -> Iterator[Row]:
        for index in range(len(self.source)):
            with untouched():
                row = self._row(index)
            yield row

    def _row(self, index: Any) -> Row:
        return self._indexed(self.source[index], index)


class StreamFeed(_SourceFeed[IterableSource]):
    """Rows of an iterable source; a shard is every ``num_shards``-th of them."""

    order = None
    exact = True

    def __init__(self, source: IterableSource, size: int | None, shard: tuple[int, int], index_column: str | None) -> None:
        self.source, self.size, self._shard, self._index_column = source, size, shard, index_column
        self.report = source.report

    def epoch(self, epoch: int) -> Iterator[Row]:
        number, shard = self._shard
        for position, row in islice(enumerate(self.source), shard, None, number):
            yield self._indexed(row, position)

    def preview(self) -> Iterator[Row]:
        row = self.source.first_row
        if row is None:
            return iter(())
        return repeat(self._indexed(row, 0), _PREVIEW_ROWS if self.size is None else self.size)


class BatchFeed:
    """The batches of a loader, each as one row; leaves without copies from the collate to MindSpore."""

    def __init__(
        self, loader: DataLoader, column_names: Any, dtypes: Any, index_column: str | None, seed: int | None = None
    ) -> None:
        """``seed``: epoch e has the order of ``manual_seed(seed + e)``."""
        self._loader, self._index_column = loader, index_column
        parts = loader._parts()
        if parts.iterable:
            self._stream = Restartable(parts.dataset)
            parts = replace(parts, dataset=self._stream)
        self._parts = parts
        self.exact = loader._on_error == "raise" and not parts.iterable
        self.size = loader._length_or_none()
        self.order = None if parts.iterable else loader_order(loader, parts, seed)
        self._output = Output("numpy", loader._pool)
        self.report = Report("to_mindspore", loader.report)
        self._maker: RowMaker | None = None
        self._first: Row | None = None
        self._lock = threading.Lock()
        self._seeds = torch_data.seeds_from(loader.generator)  # nothing is drawn before the first epoch
        self._base_seeds: list[int] = []
        if loader.num_workers and loader.persistent_workers:
            self.report.add(
                "workers-per-epoch",
                "info",
                "persistent_workers",
                "MindSpore's iterators start workers of their own for every epoch; random numbers inside them start anew too",
            )
        if parts.iterable and loader.num_workers and index_column:
            raise ValueError("index_column: the rows of a stream read by several workers have no positions")
        self._probe(column_names, dtypes)

    @property
    def schema(self) -> Schema:
        schema = Schema() if self._maker is None else self._maker.schema
        return with_index(schema, self._index_column, (None,) if self._parts.batched else ())

    @property
    def column_names(self) -> list[str]:
        names = list(self._maker.schema.names) if self._maker is not None else ["data"]
        return names + ([self._index_column] if self._index_column else [])

    def epoch(self, epoch: int) -> Iterator[Row]:
        loader, parts = self._loader, self._parts
        repeating = may_repeat(parts.index_sampler)
        keys = SampleKeys(loader.fixed_seed(), epoch, repeating) if loader.rng == "sample" else None
        indices = parts.index_sampler if self.order is None else self.order.indices(epoch)
        if getattr(parts.dataset, "wants_keys", False):
            indices = stamped(indices, epoch, repeating)
        delivered = 0
        for row in self._made_by_workers(epoch, indices, keys) if loader.num_workers else self._made_here(indices, keys):
            delivered += 1
            yield row
        if parts.iterable and self.size is not None and delivered != self.size:
            raise SchemaError(
                f"len() of {type(self._loader.dataset).__name__} promises {self.size} batches, but it delivered {delivered}",
                hint="correct its __len__ or remove it",
            )

    def _made_here(self, indices: Iterable[Any], keys: SampleKeys | None) -> Iterator[Row]:
        fetcher = self._fetcher(keys, self._loader._counts)
        for position, index in enumerate(indices):
            try:
                found = _keyed(fetcher, index, position) if keys else fetcher.fetch(index, position)
            except StopIteration:
                return
            if found is SKIPPED:
                continue
            batch, fresh = found
            yield self._row(self._arrays(batch, fresh), fetcher.last_indices)

    def _made_by_workers(self, epoch: int, indices: Iterable[Any], keys: SampleKeys | None) -> Iterator[Row]:
        """The loader's workers, started for this epoch: an iterator of MindSpore's shares nothing with another."""
        progress = Progress(epoch, Generators.capture([]), indices, None)
        base_seed = 0 if self.order is None else self.order.base_seed(epoch)
        if self.order is None and keys is None:
            base_seed = self._stream_seed(epoch)
        batches = ParallelIterator(self._loader, progress, keys, base_seed=base_seed, output=self._output)
        try:
            batches.start(0, 0)
            for batch in batches:
                yield self._row(text_as_arrays(batch), batches.last_indices)
        finally:
            batches.close()

    def _stream_seed(self, epoch: int) -> int:
        """Base seeds of a stream's epochs: drawn from one generator, epoch after epoch, whoever asks."""
        with self._lock:
            while len(self._base_seeds) <= epoch:
                self._base_seeds.append(next(self._seeds))
            return self._base_seeds[epoch]

    def preview(self) -> Iterator[Row]:
        if self._first is None:
            return iter(())
        return repeat(self._first, _PREVIEW_ROWS if self.size is None else self.size)

    def _fetcher(self, keys: SampleKeys | None, counts: LoaderStats) -> Fetcher:
        kind = StreamFetcher if self._parts.iterable else Fetcher
        return kind(self._parts, pooled(self._loader._pool), self._loader._on_error, keys, counts)

    def _probe(self, column_names: Any, dtypes: Any) -> None:
        """Collate one batch, unobservably: of a stream its first sample, which is delivered again."""
        with untouched():
            if self._parts.iterable:
                try:
                    sample = self._stream.peek()
                except LookupError:
                    return
                index: Any = [0]
                fetcher = Fetcher(self._parts, pooled(self._loader._pool), "raise", None, LoaderStats())
                found = fetcher.collate([sample] if self._parts.batched else sample, index, 0)
            else:
                assert self.order is not None
                index = self.order.peek()
                if index is None and not self.order.builtin:
                    index = next(iter(self.order.indices(0)), None)
                if index is None:
                    return
                found = self._fetcher(None, LoaderStats()).fetch(index, 0)
        if found is SKIPPED:
            raise SchemaError("the first batch failed, so the columns are unknown", hint="see the log for the reason")
        batch, fresh = found
        arrays = self._arrays(batch, fresh)
        self._maker = RowMaker(arrays, 0, column_names, dtypes, self.report, batched=self._parts.batched)
        self._first = self._row(arrays, index)

    def _arrays(self, batch: Any, fresh: Any) -> Any:
        return text_as_arrays(self._output.convert(batch, fresh))

    def _row(self, arrays: Any, indices: Any) -> Row:
        assert self._maker is not None
        row = self._maker(arrays, indices, copy=False)
        return (*row, np.asarray(indices, np.int64)) if self._index_column else row


def loader_order(loader: DataLoader, parts: Parts, seed: int | None = None) -> EpochOrder:
    """The order of a map-style loader's epochs: what iterating the loader itself would give."""
    if loader.rng == "torch":
        return EpochOrder(parts.index_sampler, parts.generator, seed=seed)
    explicit = bool(generators_of(parts.index_sampler))  # a sampler with a generator of its own is not reseeded
    return EpochOrder(parts.index_sampler, None, seed=None if explicit else loader.fixed_seed(), base_seed=False)


def _keyed(fetcher: Fetcher, index: Any, position: int) -> Any:
    with untouched():
        return fetcher.fetch(index, position)


def text_as_arrays(tree: Any) -> Any:
    """Lists and tuples of text, which collates leave as they are, as one array each; the rest unchanged.

    >>> text_as_arrays({"name": ("a", "b"), "n": 1})["name"].tolist()
    ['a', 'b']
    """
    if isinstance(tree, dict):
        return {key: text_as_arrays(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)) and tree:
        if all(isinstance(value, (str, bytes)) for value in tree):
            for value in tree:
                as_array(value)  # refuses what numpy would cut
            return np.asarray(tree)
        values = [text_as_arrays(value) for value in tree]
        if hasattr(tree, "_fields"):
            return type(tree)(*values)
        return tuple(values) if isinstance(tree, tuple) else values
    return tree


def with_index(schema: Schema, name: str | None, shape: tuple[int | None, ...]) -> Schema:
    """The schema with an int64 index column at its end, if ``name`` is given.

    >>> with_index(Schema(), "index", ()).names
    ('index',)
    """
    if not name:
        return schema
    return Schema((*schema.columns, Column(name, np.dtype(np.int64), shape)))
