"""rng="sample": random numbers depend on seed, epoch and index alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loader_data import LazySampler, Noisy, NoisyStream, OrderSampler, noise, plain, seed_globals
from torch.utils import data as tud

import dsbridge as dsb
from dsbridge.frameworks.rng import RngState


def _noisy_collate(batch: Any) -> Any:
    return tud.default_collate([(sample["index"], sample["noise"], noise()) for sample in batch])


KINDS: dict[str, Any] = {
    "sequential": lambda: {"dataset": Noisy(), "batch_size": 3},
    "shuffle": lambda: {"dataset": Noisy(), "batch_size": 3, "shuffle": True},
    "one by one": lambda: {"dataset": Noisy(), "batch_size": None, "shuffle": True},
    "replacement": lambda: {"dataset": Noisy(), "sampler": tud.RandomSampler(range(10), replacement=True, num_samples=50)},
    "weighted": lambda: {"dataset": Noisy(), "batch_size": 4, "sampler": tud.WeightedRandomSampler([1.0, 2.0] * 5, 9)},
    "subset random": lambda: {"dataset": Noisy(), "batch_size": 4, "sampler": tud.SubsetRandomSampler(range(5))},
    "batch sampler": lambda: {"dataset": Noisy(), "batch_sampler": tud.BatchSampler(tud.RandomSampler(range(10)), 4, True)},
    "lazy sampler": lambda: {"dataset": Noisy(), "batch_size": 4, "sampler": LazySampler(10)},
    "user's order": lambda: {"dataset": Noisy(), "batch_size": 4, "sampler": OrderSampler(10)},
    "collate": lambda: {"dataset": Noisy(), "batch_size": 4, "collate_fn": _noisy_collate},
    "stream": lambda: {"dataset": NoisyStream(), "batch_size": 4},
    "stream, one by one": lambda: {"dataset": NoisyStream(), "batch_size": None},
}


def _loader(kind: str, seed: int = 5) -> Any:
    return dsb.DataLoader(**KINDS[kind](), rng="sample", seed=seed)


def _epoch(loader: Any) -> list[Any]:
    return [plain(batch) for batch in loader]


@pytest.mark.parametrize("kind", KINDS)
def test_same_bytes_again(kind: str) -> None:
    """Two loaders give the same bytes whatever the global generators hold; epochs and seeds differ."""
    seed_globals(1)
    loader = _loader(kind)
    first = [_epoch(loader), _epoch(loader)]
    seed_globals(2)
    loader = _loader(kind)
    assert [_epoch(loader), _epoch(loader)] == first
    assert first[0] != first[1]
    assert _epoch(_loader(kind, seed=6)) != first[0]


@pytest.mark.parametrize("kind", KINDS)
def test_global_generators_untouched(kind: str) -> None:
    """The trainer's random numbers are the same with and without the loader, also between two batches."""
    loader = _loader(kind)
    seed_globals(3)
    expected = [noise() for _ in range(3)]
    seed_globals(3)
    iterator = iter(loader)
    got = [noise()]
    next(iterator)
    got.append(noise())
    for _ in iterator:
        assert RngState.capture().is_current()
    got.append(noise())
    assert got == expected


def test_noise_belongs_to_the_sample() -> None:
    """A sample has the same random numbers in any order and any batch."""

    def by_index(**arguments: Any) -> dict[int, Any]:
        loader = dsb.DataLoader(Noisy(), batch_size=None, rng="sample", seed=1, **arguments)
        return {sample["index"]: sample["noise"] for sample in loader}

    expected = by_index()
    assert len({tuple(value) for value in expected.values()}) == 10
    assert by_index(shuffle=True) == expected
    assert by_index(sampler=[7, 2]) == {7: expected[7], 2: expected[2]}


def test_every_occurrence_differs() -> None:
    """An index that comes several times in an epoch has other numbers each time, the first of them as ever."""
    loader = dsb.DataLoader(Noisy(), batch_size=None, sampler=[4, 4, 4, 1, 4], rng="sample", seed=1)
    seen = [tuple(sample["noise"]) for sample in loader if sample["index"] == 4]
    assert len(set(seen)) == 4
    alone = dsb.DataLoader(Noisy(), batch_size=None, sampler=[4], rng="sample", seed=1)
    assert tuple(next(iter(alone))["noise"]) == seen[0]


def test_lazy_sampler_draws_anew() -> None:
    """A sampler that draws as it goes has new numbers for each batch."""
    loader = dsb.DataLoader(range(1000), batch_size=4, sampler=LazySampler(1000), rng="sample", seed=1)
    batches = [tuple(batch.tolist()) for batch in loader]
    assert len(set(batches)) == len(batches) == 250


def test_set_epoch() -> None:
    """set_epoch makes every following iteration that epoch; without it epochs advance."""
    loader = _loader("shuffle")
    epochs = [_epoch(loader) for _ in range(3)]
    again = _loader("shuffle")
    again.set_epoch(2)
    assert [_epoch(again), _epoch(again)] == [epochs[2]] * 2
    again.set_epoch(1)
    assert _epoch(again) == epochs[1]


def test_set_epoch_reaches_the_sampler() -> None:
    """set_epoch is passed on to a DistributedSampler."""
    sampler = tud.DistributedSampler(range(10), 2, 0)
    loader = dsb.DataLoader(Noisy(), batch_size=None, sampler=sampler, rng="sample", seed=1)
    loader.set_epoch(3)
    assert sampler.epoch == 3
    assert [sample["index"] for sample in loader] == list(sampler)


def test_getitems_is_loaded_one_by_one() -> None:
    """A dataset that loads batches at once gives each sample its own numbers all the same."""

    class Many(Noisy):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            raise AssertionError("samples of a batch would share their random numbers")

    loader = dsb.DataLoader(Many(), batch_size=3, rng="sample", seed=5)
    assert _epoch(loader) == _epoch(_loader("sequential"))


def test_replay() -> None:
    """replay(index) gives the sample with the numbers it had in this epoch, and leaves the global generators alone."""
    loader = dsb.DataLoader(Noisy(), batch_size=None, shuffle=True, rng="sample", seed=5)
    for _ in range(2):
        delivered = {sample["index"]: sample for sample in loader}
    seed_globals(1)
    before = RngState.capture()
    assert loader.replay(7) == delivered[7]
    assert before.is_current()


def test_without_seed() -> None:
    """Without seed= it is drawn once, from the loader's generator or the global one, and kept."""

    def epochs(**arguments: Any) -> Any:
        seed_globals(9)
        loader = dsb.DataLoader(Noisy(), batch_size=5, rng="sample", **arguments)
        assert loader.seed is None
        found = _epoch(loader), _epoch(loader)
        assert isinstance(loader.seed, int)
        return found

    assert epochs() == epochs()
    assert epochs(generator=torch.Generator().manual_seed(1)) == epochs(generator=torch.Generator().manual_seed(1))
    assert epochs() != epochs(generator=torch.Generator().manual_seed(1))


def test_rng_torch_is_not_touched_by_any_of_this() -> None:
    """rng="torch" gives torch's random numbers."""
    seed_globals(4)
    expected = [plain(batch) for batch in tud.DataLoader(Noisy(), batch_size=3, shuffle=True)]
    seed_globals(4)
    assert [plain(batch) for batch in dsb.DataLoader(Noisy(), batch_size=3, shuffle=True)] == expected
