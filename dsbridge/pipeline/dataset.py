"""The GeneratorDataset that to_mindspore returns: torch's epochs inside MindSpore's pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mindspore.dataset as mds
from mindspore.dataset.engine.datasets import Dataset
from mindspore.dataset.engine.iterators import DictIterator, TupleIterator
from mindspore.dataset.engine.validators import check_dict_iterator, check_tuple_iterator

from dsbridge.errors import SchemaError
from dsbridge.pipeline.clock import EpochClock, Run
from dsbridge.pipeline.consumer import find_consumer
from dsbridge.pipeline.feeds import Feed, RowFeed
from dsbridge.pipeline.keyed import keyed_copy, transformed_copy
from dsbridge.report import Report
from dsbridge.schema.columns import Schema
from dsbridge.sources.rows import Row

PREFETCH_ROWS = 2  # MindSpore's default of 16 holds 18 batches; two keep its C++ threads busy


class RunSource:
    """What one iterator pulls from: each ``iter`` is the next epoch, begun when its first row is wanted."""

    def __init__(self, feed: Feed, run: Run) -> None:
        self._feed, self._run = feed, run

    def __iter__(self) -> Iterator[Row]:
        try:
            yield from self._feed.epoch(self._run.begin_epoch())
        except (Exception, KeyboardInterrupt, SystemExit) as exc:  # not GeneratorExit, which is MindSpore leaving
            self._run.error = exc
            raise


class PreviewSource:
    """Rows for whoever asks about shapes, types or size; no epoch begins."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __iter__(self) -> Iterator[Row]:
        yield from self._feed.preview()


class SizedPreview(PreviewSource):
    """The same with a length, which MindSpore reads once, when the dataset is made."""

    def __len__(self) -> int:
        assert self._feed.size is not None
        return self._feed.size


def _preview(feed: Feed) -> PreviewSource:
    # MindSpore checks what is delivered against a size given here and refuses 0, so it is told only sure ones.
    return SizedPreview(feed) if feed.exact and feed.size else PreviewSource(feed)


class BridgeDataset(mds.GeneratorDataset):  # type: ignore[misc]
    """A ``mindspore.dataset.GeneratorDataset`` over a dsbridge feed; made by ``to_mindspore``.

    ``row_schema`` and ``report`` say what it delivers and what was changed. Iterators made from it directly raise a
    dataset's exceptions in their original type; behind further operations MindSpore makes RuntimeErrors of them,
    whose text holds the original traceback.
    """

    def __init__(self, feed: Feed, clock: EpochClock) -> None:
        super().__init__(_preview(feed), feed.column_names, shuffle=False)
        self._feed, self._clock = _Shared(feed), clock
        self._run: Run | None = None

    @property
    def row_schema(self) -> Schema:
        """The columns it delivers (``schema`` is MindSpore's own attribute)."""
        return self._feed.value.schema  # type: ignore[no-any-return]

    @property
    def report(self) -> Report:
        """Casts and other findings."""
        return self._feed.value.report  # type: ignore[no-any-return]

    def parse(self, children: Any = None) -> Any:
        """Called by MindSpore on an iterator's own copy of this node, on the thread that makes the iterator."""
        feed, consumer = self._feed.value, find_consumer()
        if consumer.kind == "size":
            self._known_size()
        if consumer.reads_data:
            if feed.order is not None:
                feed.order.first_use()
            self._run = self._clock.new_run(consumer, self)
            if feed.order is not None:
                feed.order.begin_run(self._run.start, self._clock.oldest)
            self.source = RunSource(feed, self._run)
        before = mds.config.get_prefetch_size()
        mds.config.set_prefetch_size(PREFETCH_ROWS)
        try:
            return super().parse(children)
        finally:
            mds.config.set_prefetch_size(before)

    source: Any
    keyed = staticmethod(keyed_copy)  # for dsbridge.transforms, which knows no pipeline

    transformed = staticmethod(transformed_copy)

    def refeed(self, change: Callable[[Any], Any]) -> None:
        """Deliver the rows of another feed from now on; called on the copies that ``keyed`` and ``transformed`` make."""
        feed = change(self._feed.value)
        self._feed = _Shared(feed)
        self.source, self.column_names = _preview(feed), feed.column_names

    def get_dataset_size(self) -> int:
        """Rows (or batches) per epoch; ``SchemaError`` if that is unknown, where MindSpore would count for ever."""
        return self._known_size()

    def _known_size(self) -> int:
        size = self._feed.value.size
        if size is None:
            raise SchemaError(
                "the number of rows in an epoch is unknown: the dataset or its sampler has no __len__",
                hint="give it a __len__; without one, iterate with create_dict_iterator instead of Model.train",
            )
        return int(size)

    def __getitem__(self, index: int) -> Row:
        """Row ``index`` of the dataset as numpy arrays, whatever the order; only where rows have indices."""
        feed = self._feed.value
        if not isinstance(feed, RowFeed):
            raise TypeError("only rows of a map-style dataset can be read by index, not streams or batches")
        return feed.source[index]

    @check_dict_iterator  # type: ignore[untyped-decorator]
    def create_dict_iterator(self, num_epochs: int = -1, output_numpy: bool = False, do_copy: bool = False) -> Any:
        """As in MindSpore; exceptions of the dataset keep their type."""
        if Dataset._noop_mode():
            return super().create_dict_iterator(num_epochs, output_numpy, do_copy)
        return _DictIterator(self, num_epochs, output_numpy, do_copy)

    @check_tuple_iterator  # type: ignore[untyped-decorator]
    def create_tuple_iterator(
        self, columns: Any = None, num_epochs: int = -1, output_numpy: bool = False, do_copy: bool = False
    ) -> Any:
        """As in MindSpore; exceptions of the dataset keep their type."""
        if Dataset._noop_mode():
            return super().create_tuple_iterator(columns, num_epochs, output_numpy, do_copy)
        return _TupleIterator(self, columns, num_epochs, output_numpy, do_copy)


class _Shared:
    """Keeps one object one while MindSpore deep-copies the nodes that hold it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __deepcopy__(self, memo: Any) -> _Shared:
        return self


class _KeepsErrors:
    """Mixed into MindSpore's iterators: raises the dataset's own exception instead of MindSpore's account of it."""

    dataset: Any

    def __next__(self) -> Any:
        try:
            return super().__next__()  # type: ignore[misc]
        except RuntimeError:
            node = getattr(self, "dataset", None)
            while getattr(node, "children", None):
                node = node.children[0]  # type: ignore[union-attr]
            run = getattr(node, "_run", None)
            if run is None or run.error is None:
                raise
            original, run.error = run.error, None
        raise original from original.__cause__


class _DictIterator(_KeepsErrors, DictIterator):  # type: ignore[misc]
    pass


class _TupleIterator(_KeepsErrors, TupleIterator):  # type: ignore[misc]
    pass
