"""What to_mindspore promises beyond the traps: memory, bounds, arguments, stats, text."""

from __future__ import annotations

import mindspore.dataset as mds
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import dsbridge as dsb

PAIRS = [(np.float32(i), i) for i in range(10)]


def epoch(dataset, column: str = "label", **options) -> list:
    """One column of one epoch, flat."""
    iterator = dataset.create_dict_iterator(num_epochs=1, output_numpy=True, **options)
    return [value for row in iterator for value in np.ravel(row[column]).tolist()]


class Numbers(IterableDataset):
    def __iter__(self):
        return iter(range(10))


class Draws(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return index, float(torch.rand(())) + np.random.rand()


def test_batches_reach_the_trainer_without_a_copy() -> None:
    """The array MindSpore delivers is the memory the batch was collated into."""
    made = []
    loader = dsb.DataLoader([torch.rand(64, 1024) for _ in range(32)], batch_size=16)
    taken = loader._pool.empty
    loader._pool.empty = lambda shape, dtype: made.append(taken(shape, dtype)) or made[-1]
    for row in dsb.to_mindspore(loader).create_tuple_iterator(num_epochs=1, output_numpy=True):
        assert any(np.shares_memory(row[0], memory) for memory in made)


def test_kept_batches_stay_and_dropped_memory_is_recycled() -> None:
    """A user who keeps every batch has every batch; one who keeps none lets memory be used again."""
    data = [torch.full((64, 1024), float(i)) for i in range(256)]
    loader = dsb.DataLoader(data, batch_size=8)
    dataset = dsb.to_mindspore(loader)
    kept = [row[0] for row in dataset.create_tuple_iterator(num_epochs=1)]
    for _ in range(3):
        for _ in dataset.create_tuple_iterator(num_epochs=1):
            pass
    assert [batch.asnumpy()[:, 0, 0].tolist() for batch in kept] == np.arange(256.0).reshape(32, 8).tolist()
    allocated = loader._pool.allocated
    for _ in dataset.create_tuple_iterator(num_epochs=1):
        pass
    # How many MindSpore holds at a time depends on its threads, and what is free beyond a few is given back.
    assert loader._pool.allocated <= allocated + 32 // 8


def test_prefetch_depth_is_lowered_for_this_node_only() -> None:
    """Few batches are made ahead, and the user's global setting is as before."""
    before = mds.config.get_prefetch_size()
    asked = []

    class Asked(torch.utils.data.Dataset):
        def __len__(self):
            return 100

        def __getitem__(self, index):
            asked.append(index)
            return np.zeros(2)

    iterator = dsb.to_mindspore(Asked()).create_dict_iterator(num_epochs=1, output_numpy=True)
    next(iterator)
    asked_then = len(asked)
    del iterator
    assert asked_then <= 8
    assert mds.config.get_prefetch_size() == before


def test_num_epochs_bounds_what_is_ever_produced() -> None:
    """The epochs asked for come, then a clear error."""
    dataset = dsb.to_mindspore(PAIRS, num_epochs=2)
    assert [epoch(dataset) for _ in range(2)] == [list(range(10))] * 2
    with pytest.raises(dsb.SchemaError, match="num_epochs=2: all 2 epochs have been produced"):
        epoch(dataset)
    with pytest.raises(ValueError, match="positive int"):
        dsb.to_mindspore(PAIRS, num_epochs=0)


def test_endless_iterator_stops_producing_at_the_bound() -> None:
    """num_epochs on to_mindspore holds for iterators without a bound of their own."""
    iterator = dsb.to_mindspore(PAIRS, num_epochs=1).create_dict_iterator(output_numpy=True)
    assert len(list(iterator)) == 10


@pytest.mark.parametrize("generator", [False, True])
def test_sample_keyed_loaders_give_the_same_through_mindspore(generator: bool) -> None:
    """rng="sample": order and values are those of the loader itself, epoch by epoch."""

    def loader():
        own = torch.Generator().manual_seed(5) if generator else None
        return dsb.DataLoader(Draws(), batch_size=3, shuffle=True, rng="sample", seed=11, generator=own, output="numpy")

    direct = loader()
    expected = [[[leaf.tolist() for leaf in batch] for batch in direct] for _ in range(3)]
    dataset = dsb.to_mindspore(loader())
    state = torch.get_rng_state()
    found = [
        [[leaf.tolist() for leaf in row] for row in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)]
        for _ in range(3)
    ]
    assert found == expected
    assert torch.equal(torch.get_rng_state(), state)


def test_batch_size_is_torchs_collate_in_torchs_order() -> None:
    """to_mindspore(dataset, batch_size=, shuffle=True) equals a torch loader."""
    torch.manual_seed(4)
    expected = [batch[1].tolist() for batch in DataLoader(PAIRS, batch_size=4, shuffle=True)]
    torch.manual_seed(4)
    dataset = dsb.to_mindspore(PAIRS, batch_size=4, shuffle=True)
    assert dataset.get_dataset_size() == 3
    assert [row["label"].tolist() for row in dataset.create_dict_iterator(num_epochs=1, output_numpy=True)] == expected


def test_index_column_names_every_sample() -> None:
    """Rows carry their index, batches the indices of their samples, streams positions."""
    rows = dsb.to_mindspore([i * 10 for i in range(5)], shuffle=True, seed=0, index_column="i")
    pairs = [(int(r["i"]), int(r["data"])) for r in rows.create_dict_iterator(num_epochs=1, output_numpy=True)]
    assert sorted(pairs) == [(i, i * 10) for i in range(5)] and pairs != sorted(pairs)
    batches = dsb.to_mindspore(DataLoader(PAIRS, batch_size=4), index_column="i")
    assert epoch(batches, "i") == epoch(batches) == list(range(10))
    stream = dsb.to_mindspore(DataLoader(Numbers(), batch_size=4), index_column="i")
    assert epoch(stream, "i") == list(range(10))


def test_streams_are_sharded_by_stride() -> None:
    """Every row of a stream is in exactly one shard."""
    shards = [epoch(dsb.to_mindspore(Numbers(), num_shards=3, shard_id=k), "data") for k in range(3)]
    assert shards == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


def test_text_of_a_batch_is_one_column() -> None:
    """Strings, which collates leave as lists or tuples, are one text column."""
    samples = [{"name": "ab" * i, "pair": ("x", i)} for i in range(3)]
    dataset = dsb.to_mindspore(DataLoader(samples, batch_size=2))
    found = [row["name"].tolist() for row in dataset.create_dict_iterator(num_epochs=1, output_numpy=True)]
    assert found == [["", "ab"], ["abab"]]
    assert dataset.row_schema.names == ("name", "pair.0", "pair.1")


def test_on_error_holds_behind_mindspore_and_is_counted() -> None:
    """Skipped samples are missing from the rows and present in the stats."""

    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            if index in (2, 3):
                raise ValueError("bad")
            return index

    loader = dsb.DataLoader(Broken(), batch_size=2, on_error="skip")
    assert epoch(dsb.to_mindspore(loader), "data") == [0, 1, 4, 5]
    stats = loader.stats()
    assert stats.skipped_samples == 2 and stats.skipped_batches == 1 and not stats.ok


def test_a_sampler_without_length_works_and_has_no_size() -> None:
    """An unsized sampler is iterated as it comes; its size is a clear error."""

    class Odd(torch.utils.data.Sampler):
        def __iter__(self):
            return iter([1, 3, 5])

    dataset = dsb.to_mindspore(PAIRS, sampler=Odd())
    assert [epoch(dataset) for _ in range(2)] == [[1, 3, 5]] * 2
    with pytest.raises(dsb.SchemaError, match="unknown"):
        dataset.get_dataset_size()


def test_arguments_that_exclude_each_other() -> None:
    """Each wrong combination says what is wrong."""
    loader = DataLoader(PAIRS)
    for bad, text in [
        (lambda: dsb.to_mindspore(loader, shuffle=True), "a loader brings its own"),
        (lambda: dsb.to_mindspore(loader, batch_size=3), "a loader brings its own"),
        (lambda: dsb.to_mindspore(PAIRS, num_shards=2), "go together"),
        (lambda: dsb.to_mindspore(PAIRS, num_shards=2, shard_id=2), r"shard_id must be in \[0, 2\)"),
        (lambda: dsb.to_mindspore(PAIRS, sampler=[1], shuffle=True), "mutually exclusive"),
        (lambda: dsb.to_mindspore(PAIRS, seed=1), "no effect"),
        (lambda: dsb.to_mindspore(Numbers(), shuffle=True), "need indices"),
        (lambda: dsb.to_mindspore(Numbers(), batch_size=2), "pass a DataLoader"),
    ]:
        with pytest.raises(ValueError, match=text):
            bad()


def test_bfloat16_arrives_as_float32_and_is_reported() -> None:
    """mindspore.dataset has no bfloat16; the cast is exact and said."""
    dataset = dsb.to_mindspore(DataLoader([torch.tensor([1.5, -2.0]).bfloat16()] * 2, batch_size=2))
    row = next(dataset.create_dict_iterator(num_epochs=1, output_numpy=True))
    assert row["data"].dtype == np.float32 and row["data"].tolist() == [[1.5, -2.0]] * 2
    assert "cast" in dataset.report
    with pytest.raises(dsb.SampleError, match="column 'data'.*cannot carry"):
        dsb.to_mindspore(DataLoader([torch.ones(2).to(torch.float8_e5m2)]))
