"""Traps of group D: the order of epochs, samplers, shards, and going on after an interruption."""

from __future__ import annotations

import json
from typing import Any

import mindspore as ms
import mindspore.dataset as mds
import numpy as np
import pytest
import torch
from helpers import Recorder, epochs, firsts, rows
from torch.utils import data

import dsbridge as dsb

N = 9


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def torch_orders(count: int, **options: Any) -> list[list[int]]:
    """The orders of consecutive iterations over torch's loader."""
    loader = data.DataLoader(range(N), batch_size=None, **options)
    return [[int(i) for i in loader] for _ in range(count)]


def orders(dataset: Any, count: int) -> list[list[int]]:
    """The orders of the epochs of one iterator."""
    return [firsts(epoch) for epoch in epochs(dataset, count)]


class Trainer:
    """Trains a tiny network; ``train`` returns which samples its batches held, by epoch."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        seen = self.seen

        class Watch(ms.nn.Cell):
            def __init__(self) -> None:
                super().__init__()
                self.dense = ms.nn.Dense(2, 2)

            def construct(self, x: Any, label: Any) -> Any:
                seen.extend(x.asnumpy()[:, 0].astype(int).tolist())
                return self.dense(x).sum()

        network = Watch()
        self.model = ms.Model(network, optimizer=ms.nn.SGD(network.trainable_params(), 0.001))

    def train(self, dataset: Any, count: int, sink: bool) -> list[list[int]]:
        self.seen.clear()
        self.model.train(count, dataset, dataset_sink_mode=sink)
        size = len(self.seen) // count
        return [self.seen[i * size : (i + 1) * size] for i in range(count)]


def test_t71_rows_come_in_order_unless_shuffle_is_asked_for() -> None:
    """shuffle=False is the default, as in torch."""
    assert orders(dsb.to_mindspore(range(N)), 2) == [list(range(N))] * 2


def test_t71_every_epoch_has_an_order_of_its_own() -> None:
    """After ms.set_seed too, new iterators go on with the next epoch's order, as torch's do."""
    seed = ms.get_seed()
    ms.set_seed(7)
    try:
        torch.manual_seed(5)
        dataset = dsb.to_mindspore(range(N), shuffle=True)
        ours = [firsts(rows(dataset)) for _ in range(3)]
    finally:
        mds.config.set_seed(5489)
        ms.common.seed._GLOBAL_SEED = seed
    torch.manual_seed(5)
    assert ours == torch_orders(3, shuffle=True)
    assert len({tuple(order) for order in ours}) == 3


def test_t72_a_sampler_with_a_generator_goes_on_drawing() -> None:
    """RandomSampler(generator=g) gives torch's consecutive epochs, over one iterator and over several."""
    wanted = torch_orders(4, sampler=data.RandomSampler(range(N), generator=generator()))
    dataset = dsb.to_mindspore(range(N), sampler=data.RandomSampler(range(N), generator=generator()))
    assert orders(dataset, 2) + [firsts(rows(dataset)) for _ in range(2)] == wanted


SAMPLERS = {
    "random": lambda g: data.RandomSampler(range(N), generator=g),
    "replacement": lambda g: data.RandomSampler(range(N), replacement=True, num_samples=13, generator=g),
    "weighted": lambda g: data.WeightedRandomSampler([1.0, 5.0, 2.0] * 3, 7, generator=g),
    "subset": lambda g: data.SubsetRandomSampler([1, 3, 5, 8], generator=g),
    "list": lambda g: [4, 4, 0],
}


@pytest.mark.parametrize("own", [True, False], ids=["own generator", "global generator"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_t72_every_sampler_gives_the_orders_of_torch(name: str, own: bool) -> None:
    """torch's samplers, with a generator or the global one: torch's orders for three epochs."""
    torch.manual_seed(11)
    wanted = torch_orders(3, sampler=SAMPLERS[name](generator() if own else None))
    torch.manual_seed(11)
    dataset = dsb.to_mindspore(range(N), sampler=SAMPLERS[name](generator() if own else None))
    assert orders(dataset, 3) == wanted


class Rotating(data.Sampler):
    """A user's sampler with a private state: every epoch starts one further."""

    def __init__(self) -> None:
        self.start = 0

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Any:
        start, self.start = self.start, self.start + 1
        return ((start + i) % N for i in range(N))


def test_t72_a_users_sampler_is_run_once_per_epoch() -> None:
    """A user-made sampler is not copied or run in vain: its private state moves on by one per epoch."""
    dataset = dsb.to_mindspore(range(N), sampler=Rotating())
    assert dataset.get_dataset_size() == N
    dataset.output_shapes()
    assert orders(dataset, 3) == torch_orders(3, sampler=Rotating())


def distributed(rank: int = 1, **options: Any) -> data.DistributedSampler:
    return data.DistributedSampler(range(N), 2, rank, **{"shuffle": True, "seed": 4, **options})


def distributed_orders(start: int, count: int) -> list[list[int]]:
    """What torch gives where set_epoch is called before every epoch, as it must be."""
    sampler, wanted = distributed(), []
    for epoch in range(start, start + count):
        sampler.set_epoch(epoch)
        wanted.append([int(i) for i in data.DataLoader(range(N), batch_size=None, sampler=sampler)])
    return wanted


def test_t73_set_epoch_comes_by_itself() -> None:
    """A DistributedSampler gets its epoch without anybody calling set_epoch, in one iterator or several."""
    dataset = dsb.to_mindspore(range(N), sampler=distributed())
    ours = [*orders(dataset, 3), firsts(rows(dataset))]
    assert ours == distributed_orders(0, 4)
    assert len({tuple(order) for order in ours}) == 4


def test_t73_set_epoch_of_the_user_counts() -> None:
    """A set_epoch that the user calls before an iterator is where that iterator starts."""
    sampler = distributed()
    dataset = dsb.to_mindspore(range(N), sampler=sampler)
    assert orders(dataset, 1) == distributed_orders(0, 1)
    sampler.set_epoch(7)
    assert orders(dataset, 2) == distributed_orders(7, 2)


@pytest.mark.parametrize("sink", [False, True])
def test_t73_model_train_sees_every_epoch_of_a_distributed_sampler(sink: bool) -> None:
    """Model.train gets the orders torch gives with set_epoch, though MindSpore prefetches across epochs."""
    dataset = dsb.to_mindspore(Recorder(N), sampler=distributed(drop_last=True)).batch(2)
    sampler, wanted = distributed(drop_last=True), []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        wanted.append(list(sampler))
    assert Trainer().train(dataset, 3, sink) == wanted


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("batched", [False, True], ids=["rows", "loader"])
def test_t73_model_train_sees_the_epochs_of_torch(batched: bool, sink: bool) -> None:
    """Each epoch of Model.train has the samples of torch's corresponding iteration, and a second train goes on."""

    def loader() -> data.DataLoader:
        return data.DataLoader(Recorder(8), batch_size=4, sampler=data.RandomSampler(range(8), generator=generator()))

    torch_loader = loader()
    wanted = [[int(i) for x, _ in torch_loader for i in x[:, 0]] for _ in range(5)]
    dataset = dsb.to_mindspore(loader()) if batched else dsb.to_mindspore(Recorder(8), sampler=loader().sampler).batch(4)
    trainer = Trainer()
    assert trainer.train(dataset, 3, sink) == wanted[:3]
    assert trainer.train(dataset, 2, sink) == wanted[3:]


@pytest.mark.parametrize("kind", ["bounded", "endless"])
@pytest.mark.parametrize("extra", [0, 2], ids=["whole epochs", "broken off"])
def test_t73_a_new_iterator_goes_on_after_the_last_epoch_begun(extra: int, kind: str) -> None:
    """What MindSpore only prefetched was not begun: the next iterator starts behind what was really read."""
    wanted = torch_orders(5, sampler=data.RandomSampler(range(N), generator=generator()))
    dataset = dsb.to_mindspore(range(N), sampler=data.RandomSampler(range(N), generator=generator()))
    iterator = dataset.create_tuple_iterator(num_epochs=4 if kind == "bounded" else -1, output_numpy=True)
    assert [firsts(list(iterator)) for _ in range(2)] == wanted[:2]
    assert [row[0].item() for _, row in zip(range(extra), iterator, strict=False)] == wanted[2][:extra]
    begun = 2 + bool(extra)
    assert firsts(rows(dataset)) == wanted[begun]


def test_t73_looking_at_a_dataset_draws_nothing() -> None:
    """Size, shapes, types, names, an unread iterator: none of them moves an epoch or a generator."""
    g = generator()
    dataset = dsb.to_mindspore(range(N), sampler=data.RandomSampler(range(N), generator=g))
    before, world = g.get_state(), torch.get_rng_state()
    dataset.get_dataset_size(), dataset.output_shapes(), dataset.output_types(), dataset.get_col_names()
    assert torch.equal(g.get_state(), before)
    assert torch.equal(torch.get_rng_state(), world)
    assert orders(dataset, 1) == torch_orders(1, sampler=data.RandomSampler(range(N), generator=generator()))


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 1]), (True, [4, 4])])
def test_t74_batch_samplers_keep_their_sizes(drop_last: bool, sizes: list[int]) -> None:
    """A torch BatchSampler gives its batches, sizes and number, and torch's orders."""

    def loader() -> data.DataLoader:
        return data.DataLoader(
            range(N), batch_sampler=data.BatchSampler(data.RandomSampler(range(N), generator=generator()), 4, drop_last)
        )

    torch_loader = loader()
    wanted = [[batch.tolist() for batch in torch_loader] for _ in range(2)]
    dataset = dsb.to_mindspore(loader())
    assert dataset.get_dataset_size() == len(sizes)
    ours = orders(dataset, 2)
    assert ours == wanted
    assert [len(batch) for batch in ours[0]] == sizes


def test_t74_a_collate_function_gets_samples() -> None:
    """collate_fn is torch's: it gets the list of samples, not columns."""
    loader = data.DataLoader([(1, 2), (3, 4)], batch_size=2, collate_fn=lambda s: torch.tensor([a * b for a, b in s]))
    assert firsts(rows(dsb.to_mindspore(loader))) == [[2, 12]]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("total", [9, 10, 2])
def test_t75_shards_are_those_of_a_distributed_sampler(total: int, shuffle: bool) -> None:
    """num_shards and shard_id give what torch's DistributedSampler gives, padding and epochs included."""
    for rank in range(3):
        options = {"seed": 6} if shuffle else {}
        dataset = dsb.to_mindspore(range(total), shuffle=shuffle, num_shards=3, shard_id=rank, **options)
        sampler, wanted = data.DistributedSampler(range(total), 3, rank, shuffle=shuffle, seed=6), []
        for epoch in range(2):
            sampler.set_epoch(epoch)
            wanted.append(list(sampler))
        assert dataset.get_dataset_size() == len(sampler)
        assert orders(dataset, 2) == wanted


def test_t76_seed_is_the_seed_of_torch() -> None:
    """seed=s with shuffle: epoch e is torch's order for manual_seed(s + e)."""
    ours = orders(dsb.to_mindspore(range(N), shuffle=True, seed=21), 3)
    assert ours == [torch.randperm(N, generator=generator(21 + epoch)).tolist() for epoch in range(3)]


def test_t76_the_global_generator_ends_where_torch_leaves_it() -> None:
    """manual_seed means the same on both sides: same order, and the same next random number after an epoch."""
    torch.manual_seed(8)
    wanted, after = torch_orders(1, shuffle=True), torch.rand(1)
    torch.manual_seed(8)
    assert orders(dsb.to_mindspore(range(N), shuffle=True), 1) == wanted
    assert torch.equal(torch.rand(1), after)


@pytest.mark.parametrize("rng", ["torch", "sample"])
def test_t77_a_loader_goes_on_in_the_middle_of_an_epoch(rng: str) -> None:
    """state_dict as JSON, loaded into a new loader: the very next batches, then the same next epoch."""

    class Noisy(Recorder):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)[0] + np.random.rand() + torch.rand(1).numpy()

    def loader() -> dsb.DataLoader:
        seed = {"seed": 2} if rng == "sample" else {"generator": generator()}
        return dsb.DataLoader(Noisy(N), batch_size=2, shuffle=True, rng=rng, output="numpy", **seed)

    torch.manual_seed(1)
    np.random.seed(1)
    first = loader()
    iterator = iter(first)
    for _ in range(2):
        next(iterator)
    state = json.loads(json.dumps(first.state_dict()))
    wanted = [*iterator, *first]
    torch.manual_seed(99)
    np.random.seed(99)
    second = loader()
    second.load_state_dict(state)
    ours = [*second, *second]
    assert len(ours) == len(wanted) == 3 + 5
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_t77_resuming_loads_no_sample_again() -> None:
    """With a map-style dataset only indices are drawn on the way to the position."""
    first = dsb.DataLoader(Recorder(N), batch_size=2, shuffle=True, generator=generator())
    iterator = iter(first)
    for _ in range(3):
        next(iterator)
    recorder = Recorder(N)
    second = dsb.DataLoader(recorder, batch_size=2, shuffle=True, generator=generator())
    second.load_state_dict(first.state_dict())
    next(iter(second))
    assert recorder.asked == torch_orders(1, shuffle=True, generator=generator())[0][6:8]


def test_t77_a_state_of_another_loader_is_refused() -> None:
    """A state of a loader with other arguments is an error naming them."""
    state = dsb.DataLoader(range(4), batch_size=2).state_dict()
    with pytest.raises(dsb.SchemaError, match="batch_size was 2, is 3"):
        dsb.DataLoader(range(4), batch_size=3).load_state_dict(state)
    with pytest.raises(dsb.SchemaError, match="not a loader state"):
        dsb.DataLoader(range(4)).load_state_dict({"epoch": 1})


def test_t77_training_goes_on_at_the_next_epoch() -> None:
    """Model.train called again after some epochs goes on with the next one; num_epochs bounds them all."""
    wanted = torch_orders(3, sampler=data.RandomSampler(range(N), generator=generator()))
    sampler = data.RandomSampler(range(N), generator=generator())
    dataset = dsb.to_mindspore(Recorder(N), sampler=sampler, num_epochs=3).batch(3)
    trainer = Trainer()
    assert trainer.train(dataset, 1, False) + trainer.train(dataset, 2, False) == wanted
    with pytest.raises(RuntimeError, match="all 3 epochs have been produced"):
        trainer.train(dataset, 1, False)
