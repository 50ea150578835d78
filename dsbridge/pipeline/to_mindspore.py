"""``dsbridge.to_mindspore``: a dataset or a loader as a mindspore.dataset pipeline."""

from __future__ import annotations

from typing import Any

from dsbridge.errors import SchemaError
from dsbridge.frameworks import torch_data
from dsbridge.frameworks.detect import require_mindspore, require_torch
from dsbridge.loader.dataloader import DataLoader
from dsbridge.pipeline.clock import EpochClock
from dsbridge.pipeline.feeds import BatchFeed, Feed, RowFeed, StreamFeed
from dsbridge.pipeline.order import EpochOrder
from dsbridge.sources.iterable import IterableSource
from dsbridge.sources.mapstyle import MapSource
from dsbridge.sources.wrap import wrap


def to_mindspore(
    dataset_or_loader: Any,
    *,
    column_names: Any = None,
    shuffle: bool = False,
    sampler: Any = None,
    num_workers: int = 0,
    batch_size: int | None = None,
    num_shards: int | None = None,
    shard_id: int | None = None,
    seed: int | None = None,
    dtypes: Any = "keep",
    num_epochs: int | None = None,
    index_column: str | None = None,
) -> Any:
    """A ``mindspore.dataset.GeneratorDataset`` over a dataset (its rows) or a loader (its batches).

    ``shuffle``, ``sampler``: torch's orders; epoch e is what torch's e-th iteration would give. ``seed``: with
    shuffle, epoch e is torch's order for ``manual_seed(seed + e)``. ``batch_size``: collate rows as torch would.
    ``num_shards``, ``shard_id``: this rank's part, as torch's DistributedSampler takes it (a stream: every n-th row).
    ``dtypes``: as in :func:`dsbridge.wrap`. ``num_epochs``: a bound on the epochs ever produced.
    ``index_column``: name of an additional int64 column with the dataset index (of a stream: the position).

    A loader brings its own order, batches and workers, so that only ``column_names``, ``dtypes``, ``num_epochs`` and
    ``index_column`` go with it. Rows are handed to MindSpore without a copy.

    Raises ``SampleError`` and ``SchemaError`` as ``wrap`` does, ValueError for arguments that exclude each other.

    >>> dataset = to_mindspore([(1.5, 0), (2.5, 1)], shuffle=False)
    >>> [row["label"].item() for row in dataset.create_dict_iterator(num_epochs=1, output_numpy=True)]
    [0, 1]
    """
    require_mindspore("to_mindspore")
    from dsbridge.pipeline.dataset import BridgeDataset

    if num_epochs is not None and (not isinstance(num_epochs, int) or num_epochs < 1):
        raise ValueError(f"num_epochs must be a positive int or None, got {num_epochs!r}")
    if index_column is not None and not (isinstance(index_column, str) and index_column):
        raise SchemaError(f"index_column must be a non-empty string or None, got {index_column!r}")
    order = {"shuffle": shuffle or None, "sampler": sampler, "batch_size": batch_size, "seed": seed}
    order |= {"num_shards": num_shards, "shard_id": shard_id, "num_workers": num_workers or None}
    given = [name for name, value in order.items() if value is not None]
    feed: Feed
    if isinstance(dataset_or_loader, DataLoader) or torch_data.is_loader(dataset_or_loader):
        if given:
            raise ValueError(
                f"{', '.join(given)}: a loader brings its own. Hint: set it on the loader, or pass loader.dataset instead"
            )
        loader = dataset_or_loader
        loader = loader if isinstance(loader, DataLoader) else DataLoader.from_torch(loader)
        feed = BatchFeed(loader, column_names, dtypes, index_column)
    else:
        _check_order(shuffle, sampler, num_shards, shard_id, seed)
        source = wrap(dataset_or_loader, column_names, dtypes)
        if isinstance(source, IterableSource):
            if num_workers:
                raise ValueError("num_workers with an iterable dataset: pass a DataLoader(dataset, num_workers=...) of it")
            feed = _stream_feed(source, shuffle, sampler, batch_size, num_shards, shard_id, index_column)
        else:
            index_sampler = _index_sampler(source, shuffle, sampler, num_shards, shard_id, seed)
            epoch_seed = seed if num_shards is None else None  # a DistributedSampler has its own
            if batch_size is not None or num_workers:
                loader = DataLoader(source.dataset, batch_size=batch_size, sampler=index_sampler, num_workers=num_workers)
                feed = BatchFeed(loader, column_names, dtypes, index_column, epoch_seed)
            else:
                order_of_rows = EpochOrder(index_sampler, seed=epoch_seed)
                feed = RowFeed(source, order_of_rows, _length(index_sampler), index_column)
    names = feed.column_names
    if len(set(names)) != len(names):
        raise SchemaError(f"index_column {index_column!r} is the name of another column: {names}")
    return BridgeDataset(feed, EpochClock(num_epochs))


def _check_order(shuffle: Any, sampler: Any, num_shards: Any, shard_id: Any, seed: Any) -> None:
    if (num_shards is None) != (shard_id is None):
        raise ValueError("num_shards and shard_id go together")
    if num_shards is not None and not 0 <= shard_id < num_shards:
        raise ValueError(f"shard_id must be in [0, {num_shards}), got {shard_id}")
    if sampler is not None and (shuffle or num_shards is not None):
        raise ValueError("sampler is mutually exclusive with shuffle and num_shards")
    if seed is not None and not shuffle:
        raise ValueError("seed without shuffle=True has no effect. Hint: pass shuffle=True, or leave seed out")


def _index_sampler(source: MapSource, shuffle: bool, sampler: Any, num_shards: Any, shard_id: Any, seed: Any) -> Any:
    data = require_torch("to_mindspore").utils.data
    if sampler is not None:
        return sampler
    if num_shards is not None:
        return data.DistributedSampler(source.dataset, num_shards, shard_id, shuffle=shuffle, seed=seed or 0)
    if not shuffle or len(source) == 0:
        return data.SequentialSampler(source.dataset)
    return data.RandomSampler(source.dataset, generator=None if seed is None else torch_data.seeded_generator(seed))


def _stream_feed(
    source: IterableSource, shuffle: Any, sampler: Any, batch_size: Any, num_shards: Any, shard_id: Any, index_column: Any
) -> Feed:
    if shuffle or sampler is not None:
        raise ValueError(
            "shuffle and sampler need indices, and an iterable dataset has none. "
            "Hint: to_mindspore(dataset).shuffle(buffer_size) shuffles within a buffer"
        )
    if batch_size is not None:
        raise ValueError("batch_size with an iterable dataset: use to_mindspore(dataset).batch(n), or pass a DataLoader")
    shard = (1, 0) if num_shards is None else (num_shards, shard_id)
    size = _length(source)
    if size is not None:
        size = len(range(shard[1], size, shard[0]))
    return StreamFeed(source, size, shard, index_column)


def _length(sized: Any) -> int | None:
    try:
        return len(sized)
    except (TypeError, NotImplementedError):
        return None
