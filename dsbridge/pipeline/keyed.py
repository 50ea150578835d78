"""The hidden column: what a row's random numbers depend on, let into a pipeline that to_mindspore made."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.loader.keys import Occurrences
from dsbridge.pipeline.feeds import BatchFeed, Feed
from dsbridge.pipeline.order import EpochOrder
from dsbridge.report import Report
from dsbridge.schema.columns import Column, Schema
from dsbridge.sources.rows import Row
from dsbridge.sources.samplers import may_repeat


class KeyedFeed:
    """A feed that knows each row's key: (epoch, dataset index, how often it came before in this epoch), int64 [3].

    ``shown``: whether rows end in it. ``stages``: (column's place, stage) that run where rows are made.
    """

    def __init__(self, feed: Any, name: str) -> None:
        if isinstance(feed, BatchFeed) and feed._parts.batched:
            raise TransformError(
                "the dataset is batched, but operations take single samples. Hint: to_mindspore(loader.dataset), apply, batch"
            )
        self.name, self._hides_index = name, feed._index_column is None
        self.shown, self.stages = False, ()  # type: bool, tuple[tuple[int, Any], ...]
        self._inner = feed
        if self._hides_index:
            self._inner = copy.copy(feed)
            self._inner._index_column = name
        self.size: int | None = feed.size
        self.exact: bool = feed.exact
        self.report: Report = feed.report
        self.order: EpochOrder | None = feed.order
        self._repeats = feed.order is None or may_repeat(feed.order.sampler)

    def showing(self) -> KeyedFeed:
        """The same with the key as a last column."""
        found = copy.copy(self)
        found.shown = True
        return found

    def staged(self, column: str, stage: Any) -> KeyedFeed:
        """The same with one more stage: (value, key) -> (value, key)."""
        found = copy.copy(self)
        found.stages = (*self.stages, (self.column_names.index(column), stage))
        return found

    @property
    def schema(self) -> Schema:
        columns = list(self._inner.schema.columns)
        columns = columns[:-1] if self._hides_index else columns
        row = next(self.preview(), None) if self.stages else None
        if row is not None:
            for at, _ in self.stages:
                columns[at] = Column(columns[at].name, row[at].dtype, row[at].shape)
        key = (Column(self.name, np.dtype(np.int64), (3,)),) if self.shown else ()
        return Schema((*columns, *key))

    @property
    def column_names(self) -> list[str]:
        names = self._inner.column_names[:-1] if self._hides_index else self._inner.column_names
        return [*names, self.name] if self.shown else [*names]

    def epoch(self, epoch: int) -> Iterator[Row]:
        """The rows of one epoch; called on MindSpore's thread."""
        occurrences = Occurrences(self._repeats)
        for row in self._inner.epoch(epoch):
            yield self._keyed(row, epoch, occurrences.of(row[-1]))

    def preview(self) -> Iterator[Row]:
        """Rows to read shapes and types from; nothing is consumed."""
        for row in self._inner.preview():
            yield self._keyed(row, 0, 0)

    def _keyed(self, row: Row, epoch: int, occurrence: int) -> Row:
        key = np.array([epoch, int(row[-1]), occurrence], np.int64)
        columns = list(row[:-1] if self._hides_index else row)
        for at, stage in self.stages:
            columns[at], _ = stage(columns[at], key)
        return (*columns, key) if self.shown else tuple(columns)


def transformed_copy(dataset: Any, column: str, stage: Any, name: str) -> Any:
    """A copy of a dataset of to_mindspore's whose rows are transformed where they are made, on the source's own thread.

    Raises ``TransformError`` behind further operations.
    """
    if dataset.children:
        raise TransformError(
            "num_parallel_workers=0 runs operations in the source, but there are others between. "
            "Hint: apply right behind to_mindspore, or num_parallel_workers=1"
        )
    leaf = copy.deepcopy(dataset)
    leaf.refeed(lambda feed: as_keyed(feed, name).staged(column, stage))
    return leaf


def keyed_copy(dataset: Any, name: str) -> Any:
    """A copy of a MindSpore pipeline whose rows carry the hidden column; epochs are counted together with the original's.

    Raises ``TransformError`` where an operation on the way makes one row of several.
    """
    tree = copy.deepcopy(dataset)
    _let_in(tree, name)
    return tree


_MIXES = ("BatchDataset", "PaddedBatchDataset", "BucketBatchByLengthDataset", "ZipDataset", "ConcatDataset")


def _let_in(node: Any, name: str) -> None:
    kind = type(node).__name__
    if kind in _MIXES:
        raise TransformError(f"apply after {kind}: a row is no longer one sample. Hint: apply before it")
    for child in node.children:
        _let_in(child, name)
    node._col_names = None  # MindSpore keeps the old ones
    if kind == "ProjectDataset" and name not in node.columns:
        node.columns = [*node.columns, name]
    if not node.children:
        node.refeed(lambda feed: as_keyed(feed, name).showing())


def as_keyed(feed: Feed, name: str) -> KeyedFeed:
    """The feed with keys; a keyed feed is itself."""
    return feed if isinstance(feed, KeyedFeed) else KeyedFeed(feed, name)
