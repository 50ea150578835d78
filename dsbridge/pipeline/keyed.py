"""The hidden column: what a row's random numbers depend on, let into a pipeline that to_mindspore made."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.pipeline.feeds import BatchFeed, Feed
from dsbridge.pipeline.order import EpochOrder
from dsbridge.report import Report
from dsbridge.schema.columns import Column, Schema
from dsbridge.sources.rows import Row
from dsbridge.sources.samplers import may_repeat


class KeyedFeed:
    """A feed whose rows end in (epoch, dataset index, how often it came before in this epoch), int64 [3]."""

    def __init__(self, feed: Any, name: str) -> None:
        if isinstance(feed, BatchFeed) and feed._parts.batched:
            raise TransformError(
                "the dataset is batched, but operations take single samples. Hint: to_mindspore(loader.dataset), apply, batch"
            )
        self._name, self._hides_index = name, feed._index_column is None
        self._inner = feed
        if self._hides_index:
            self._inner = copy.copy(feed)
            self._inner._index_column = name
        self.size: int | None = feed.size
        self.exact: bool = feed.exact
        self.report: Report = feed.report
        self.order: EpochOrder | None = feed.order
        self._repeats = feed.order is None or may_repeat(feed.order.sampler)

    @property
    def schema(self) -> Schema:
        columns = self._inner.schema.columns
        key = Column(self._name, np.dtype(np.int64), (3,))
        return Schema((*(columns[:-1] if self._hides_index else columns), key))

    @property
    def column_names(self) -> list[str]:
        names = self._inner.column_names
        return [*names] if self._hides_index else [*names, self._name]

    def epoch(self, epoch: int) -> Iterator[Row]:
        """The rows of one epoch; called on MindSpore's thread."""
        seen: Counter[int] | None = Counter() if self._repeats else None
        for row in self._inner.epoch(epoch):
            occurrence = 0
            if seen is not None:
                index = int(row[-1])
                occurrence = seen[index]
                seen[index] += 1
            yield self._keyed(row, epoch, occurrence)

    def preview(self) -> Iterator[Row]:
        """Rows to read shapes and types from; nothing is consumed."""
        for row in self._inner.preview():
            yield self._keyed(row, 0, 0)

    def _keyed(self, row: Row, epoch: int, occurrence: int) -> Row:
        key = np.array([epoch, int(row[-1]), occurrence], np.int64)
        return (*(row[:-1] if self._hides_index else row), key)


class TransformedFeed:
    """A keyed feed with one column transformed, and the key left out again: the stage runs where rows are made."""

    def __init__(self, keyed: KeyedFeed, column: str, stage: Any) -> None:
        self._inner, self._stage = keyed, stage
        self._at = keyed.column_names.index(column)
        self.size, self.exact, self.report, self.order = keyed.size, keyed.exact, keyed.report, keyed.order

    @property
    def schema(self) -> Schema:
        columns = list(self._inner.schema.columns[:-1])
        for row in self.preview():
            found = row[self._at]
            columns[self._at] = Column(columns[self._at].name, found.dtype, found.shape)
            break
        return Schema(tuple(columns))

    @property
    def column_names(self) -> list[str]:
        return self._inner.column_names[:-1]

    def epoch(self, epoch: int) -> Iterator[Row]:
        """The rows of one epoch; called on MindSpore's thread."""
        return map(self._transformed, self._inner.epoch(epoch))

    def preview(self) -> Iterator[Row]:
        """Rows to read shapes and types from; nothing is consumed."""
        return map(self._transformed, self._inner.preview())

    def _transformed(self, row: Row) -> Row:
        *columns, key = row
        columns[self._at], _ = self._stage(columns[self._at], key)
        return tuple(columns)


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
    leaf.transform_rows(column, stage, name)
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
        node.let_in_key(name)


def as_keyed(feed: Feed, name: str) -> KeyedFeed:
    """The feed with the hidden column; a keyed feed is itself."""
    return feed if isinstance(feed, KeyedFeed) else KeyedFeed(feed, name)
