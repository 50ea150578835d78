"""Traps of group C and T47: how MindSpore asks a dataset for its samples, and for how many."""

from __future__ import annotations

import threading
from typing import Any

import mindspore as ms
import mindspore.dataset as mds
import numpy as np
import pytest
import torch
from helpers import Items, Recorder, SizedStream, Stream, epochs, firsts, rows
from torch.utils import data

import dsbridge as dsb


def test_t47_order_and_values_do_not_depend_on_the_thread() -> None:
    """A source runs on a thread of MindSpore's; order, values and iterators made on other threads are the same."""
    seen: list[str] = []

    class Where(Recorder):
        def __getitem__(self, index: int) -> Any:
            seen.append(threading.current_thread().name)
            return super().__getitem__(index)

    here = firsts(rows(dsb.to_mindspore(Where(4))))
    assert any(name != "MainThread" for name in seen)
    there: list[Any] = []
    thread = threading.Thread(target=lambda: there.extend(firsts(rows(dsb.to_mindspore(Where(4))))))
    thread.start()
    thread.join(20)
    assert there == here == [[i, i] for i in range(4)]


@pytest.mark.parametrize("sized", [False, True])
def test_t50_iterable_datasets_are_iterated(sized: bool) -> None:
    """An IterableDataset is iterated, though it inherits __getitem__; with and without a length."""
    stream = SizedStream([1.0, 2.0], 2) if sized else Stream([1.0, 2.0])
    assert firsts(rows(dsb.to_mindspore(stream))) == [1.0, 2.0]
    source = dsb.wrap(stream)
    assert firsts(rows(mds.GeneratorDataset(source, source.column_names))) == [1.0, 2.0]


def test_t50_chain_datasets_work() -> None:
    """A ChainDataset of unsized streams delivers all of them."""
    assert firsts(rows(dsb.to_mindspore(data.ChainDataset([Stream([1.0]), Stream([2.0, 3.0])])))) == [1.0, 2.0, 3.0]


def test_t51_no_sample_of_a_stream_comes_twice() -> None:
    """In this process a stream sees no worker info, and shards of it are disjoint and complete."""
    assert firsts(rows(dsb.to_mindspore(Stream(range(7))))) == list(range(7))
    parts = [firsts(rows(dsb.to_mindspore(Stream(range(7)), num_shards=3, shard_id=s))) for s in range(3)]
    assert parts == [[0, 3, 6], [1, 4], [2, 5]]
    sizes = [dsb.to_mindspore(SizedStream(range(7), 7), num_shards=3, shard_id=s).get_dataset_size() for s in range(3)]
    assert sizes == [3, 2, 2]


def test_t52_shuffle_of_a_stream_is_never_ignored() -> None:
    """shuffle=True or a sampler with a stream is an error that names the buffer; the buffer shuffles."""
    for options in ({"shuffle": True}, {"sampler": [0]}):
        with pytest.raises(ValueError, match=r"iterable dataset has none.*\.shuffle\(buffer_size\)"):
            dsb.to_mindspore(Stream([1.0]), **options)
    shuffled = firsts(rows(dsb.to_mindspore(Stream(range(50))).shuffle(50)))
    assert sorted(shuffled) == list(range(50))
    assert shuffled != list(range(50))


def endless() -> Any:
    number = 0.0
    while True:
        yield number
        number += 1


def test_t53_endless_streams_iterate_and_have_no_size() -> None:
    """An endless stream can be read; its size is an error at once, never an endless count."""
    dataset = dsb.to_mindspore(endless).batch(2)
    iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
    assert [next(iterator)[0].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(dsb.SchemaError, match="number of rows in an epoch is unknown"):
        dataset.get_dataset_size()


def test_t53_endless_streams_show_shapes_and_types() -> None:
    """Shapes, types and names of an endless stream are known without reading it."""
    dataset = dsb.to_mindspore(endless)
    assert (dataset.get_col_names(), dataset.output_shapes(), dataset.output_types()) == (["data"], [[]], [np.float64])


@pytest.mark.parametrize(("said", "real"), [(10, 4), (4, 10)])
def test_t54_a_wrong_length_names_both_numbers(said: int, real: int) -> None:
    """A stream whose __len__ is wrong: an error with both numbers, in the first epoch."""
    with pytest.raises(dsb.SchemaError, match=rf"says {said} samples, but it delivered {real}"):
        rows(dsb.to_mindspore(SizedStream([1.0] * real, said)))


def test_t54_a_correct_length_is_the_size() -> None:
    """A length that is right is the dataset's size, for streams and for their loaders."""
    assert dsb.to_mindspore(SizedStream([1.0] * 5, 5)).get_dataset_size() == 5
    assert dsb.to_mindspore(SizedStream([1.0] * 5, 5)).batch(2).get_dataset_size() == 3
    assert dsb.to_mindspore(data.DataLoader(SizedStream([1.0] * 5, 5), batch_size=2)).get_dataset_size() == 3


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda: Items([]),
        lambda: Stream([]),
        lambda: SizedStream([], 0),
        lambda: data.DataLoader(Items([]), batch_size=2),
        lambda: dsb.DataLoader(Stream([]), batch_size=2),
        lambda: data.Subset([1.0], []),
    ],
    ids=["list", "map", "stream", "sized stream", "loader", "stream loader", "subset"],
)
def test_t55_an_empty_dataset_gives_no_rows(make: Any) -> None:
    """An empty dataset is zero rows in every epoch, and behind .batch too; its size is 0 where it has one."""
    assert epochs(dsb.to_mindspore(make()), 2) == [[], []]
    assert rows(dsb.to_mindspore(make()).batch(2)) == []
    if hasattr(make(), "__len__") and not isinstance(getattr(make(), "dataset", None), Stream):
        assert dsb.to_mindspore(make()).get_dataset_size() == 0


def test_t56_a_one_shot_iterator_used_twice_is_an_error() -> None:
    """The second epoch over a used-up iterator is an error, over two iterators and in one.

    In one iterator MindSpore begins the second epoch early, and the error overtakes queued rows of the first.
    """
    dataset = dsb.to_mindspore(iter([1.0, 2.0]))
    assert firsts(rows(dataset)) == [1.0, 2.0]
    for second in (lambda: rows(dataset), lambda: epochs(dsb.to_mindspore(iter([1.0, 2.0])), 2)):
        with pytest.raises(dsb.SampleError, match="one-shot iterator was used up"):
            second()


def test_t56_a_generator_function_starts_anew_each_epoch() -> None:
    """The function itself, instead of the generator it returns, gives every epoch."""
    wanted = [0, 1, 2]
    assert [firsts(e) for e in epochs(dsb.to_mindspore(lambda: iter(range(3))), 2)] == [wanted, wanted]


def test_t56_probing_takes_nothing_from_a_one_shot_iterator() -> None:
    """The probed element is the first one delivered, and the iterator is not read ahead."""
    taken = []

    def watched() -> Any:
        for i in range(3):
            taken.append(i)
            yield i

    source = dsb.wrap(watched())
    assert taken == [0]
    assert [row[0].item() for row in source] == [0, 1, 2]
    assert taken == [0, 1, 2]


def test_t57_indices_are_python_ints() -> None:
    """A dataset is asked with int, never with numpy.int64, in every way of reading."""
    recorder = Recorder(3)
    source = dsb.wrap(recorder)
    rows(dsb.to_mindspore(recorder, shuffle=True))
    rows(mds.GeneratorDataset(source, source.column_names))
    rows(dsb.to_mindspore(recorder, sampler=np.array([2, 0]).tolist()))
    source[np.int64(1)]
    list(dsb.DataLoader(recorder))
    assert {type(index) for index in recorder.asked} == {int}


def test_t58_a_row_of_the_pipeline_can_be_read_by_index() -> None:
    """dataset[i] is row i as numpy, whatever the order; streams and batches say why not."""
    dataset = dsb.to_mindspore(Items([torch.tensor([1.0]), torch.tensor([2.0])]), shuffle=True)
    assert [dataset[i][0].tolist() for i in (1, 0)] == [[2.0], [1.0]]
    assert isinstance(dataset[0][0], np.ndarray)
    for other in (dsb.to_mindspore(Stream([1.0])), dsb.to_mindspore(data.DataLoader([1.0]))):
        with pytest.raises(TypeError, match="only rows of a map-style dataset"):
            other[0]


BASE = data.TensorDataset(torch.arange(6.0), torch.arange(6))


@pytest.mark.parametrize(
    ("dataset", "wanted"),
    [
        (BASE, [0, 1, 2, 3, 4, 5]),
        (data.Subset(BASE, [4, 1]), [4, 1]),
        (data.ConcatDataset([data.Subset(BASE, [5]), BASE]), [5, 0, 1, 2, 3, 4, 5]),
        (data.StackDataset(torch.arange(3.0), [7, 8, 9]), [0, 1, 2]),
        (data.StackDataset(a=torch.arange(3.0), b=[7, 8, 9]), [0, 1, 2]),
        (data.random_split(BASE, [2, 4], generator=torch.Generator().manual_seed(0))[0], None),
    ],
    ids=["TensorDataset", "Subset", "ConcatDataset", "StackDataset", "StackDataset of a dict", "random_split"],
)
def test_t58_torch_datasets_work(dataset: Any, wanted: list[float] | None) -> None:
    """Every map-style dataset of torch's works, with column names from its samples."""
    if wanted is None:
        wanted = [float(dataset[i][0]) for i in range(len(dataset))]
    bridged = dsb.to_mindspore(dataset)
    assert firsts(rows(bridged)) == wanted
    assert bridged.get_dataset_size() == len(wanted)
    assert bridged.get_col_names() == (["a", "b"] if isinstance(dataset[0], dict) else ["data", "label"])


@pytest.mark.parametrize("order", ["rows", "shuffled", "user's sampler"])
def test_t60_two_iterators_at_once(order: str) -> None:
    """Live iterators over one dataset do not disturb each other: each has the next epoch of torch's."""
    options: dict[str, Any] = {"shuffle": True, "seed": 1} if order == "shuffled" else {}
    if order == "user's sampler":
        options["sampler"] = Backwards()
    wanted = [firsts(epoch) for epoch in epochs(dsb.to_mindspore(Items(SAMPLES), **options), 3)]
    dataset = dsb.to_mindspore(Items(SAMPLES), **options)
    live = [dataset.create_tuple_iterator(num_epochs=1, output_numpy=True) for _ in range(3)]
    together = [[row[0].item() for row in three] for three in zip(*live, strict=True)]
    assert [list(one) for one in zip(*together, strict=True)] == wanted


SAMPLES = [float(i) for i in range(5)]


class Backwards(data.Sampler):
    """A user's sampler."""

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Any:
        return iter([4, 3, 2, 1, 0])


def test_t61_a_torch_loader_gives_its_own_batches() -> None:
    """A torch DataLoader works as it is, several epochs, and after an iteration that was broken off."""
    loader = data.DataLoader(BASE, batch_size=4)
    dataset = dsb.to_mindspore(loader)
    assert dataset.get_dataset_size() == len(loader) == 2
    for _ in dataset.create_tuple_iterator(num_epochs=1):
        break
    wanted = [batch[0].tolist() for batch in loader]
    assert [firsts(e) for e in epochs(dataset, 3)] == [wanted] * 3


def test_t61_dict_batches_keep_their_names() -> None:
    """The batch of a loader over dict samples is one column per key."""
    loader = data.DataLoader([{"x": torch.ones(2), "meta": {"id": i}} for i in range(4)], batch_size=2)
    dataset = dsb.to_mindspore(loader)
    assert dataset.get_col_names() == ["x", "meta.id"]
    assert [row[1].tolist() for row in rows(dataset)] == [[0, 1], [2, 3]]


def test_t62_column_names_of_any_sequence() -> None:
    """column_names may be a list or a tuple, for one column a string; project and rename go on from there."""
    samples = [(1.0, 2)]
    assert dsb.to_mindspore(samples, column_names=("x", "y")).get_col_names() == ["x", "y"]
    assert dsb.to_mindspore([1.0], column_names="x").get_col_names() == ["x"]
    projected = dsb.to_mindspore(samples, column_names=["x", "y"]).project(["y", "x"])
    assert [a.item() for a in rows(projected)[0]] == [2, 1.0]


@pytest.mark.parametrize("sink", [False, True])
def test_t63_model_train_takes_mindspore_dtypes(sink: bool) -> None:
    """With dtypes="mindspore" float64 inputs and int64 labels train with CrossEntropyLoss; casts are reported."""
    samples = [(np.array([i, 1.0]), i % 2) for i in range(8)]
    dataset = dsb.to_mindspore(samples, dtypes="mindspore")
    casts = {f.where: f.message for f in dataset.report if f.code == "cast"}
    assert set(casts) == {"data", "label"}
    assert "float64 becomes float32" in casts["data"]
    assert "int64 becomes int32" in casts["label"]
    assert [column.dtype.name for column in dataset.row_schema] == ["float32", "int32"]
    network = ms.nn.Dense(2, 2)
    optimizer = ms.nn.SGD(network.trainable_params(), 0.1)
    before = network.weight.asnumpy().copy()
    model = ms.Model(network, ms.nn.CrossEntropyLoss(), optimizer)
    model.train(2, dataset.batch(4), dataset_sink_mode=sink)
    after = network.weight.asnumpy()
    assert np.isfinite(after).all()
    assert not np.array_equal(before, after)


def test_t63_keep_is_the_default_and_single_columns_can_be_cast() -> None:
    """Nothing is cast unasked; a dict casts the columns it names."""
    samples = [(np.array([1.0]), 3)]
    assert [a.dtype.name for a in rows(dsb.to_mindspore(samples))[0]] == ["float64", "int64"]
    assert len(dsb.to_mindspore(samples).report) == 0
    cast = rows(dsb.to_mindspore(samples, dtypes={"label": "float16"}))[0]
    assert [a.dtype.name for a in cast] == ["float64", "float16"]
