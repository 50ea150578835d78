"""rng="sample" with worker processes: equal bytes for any number of workers, also across a resume; resume under rng="torch"."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import compare
import configurations
import numpy as np
import pytest
import samples
import torch
from torch.utils import data as tud

import dsbridge as dsb

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
SIZE = 12


def _collate(batch: list[Any]) -> Any:
    return tud.default_collate(batch), torch.rand(2), np.random.rand(2), random.random()


class Shuffled(tud.Sampler):
    """A user's sampler, which draws its whole order at once, some indices twice."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Any:
        return iter((torch.randperm(self.n).tolist() + np.random.permutation(self.n).tolist())[: self.n + 5])


def _data(sample: str = "pair", kind: str = "noisy") -> Any:
    return configurations.DATASETS[kind](samples.MAKERS[sample], SIZE)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(8)


KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "sequential": lambda: {"dataset": _data(), "batch_size": 5},
    "shuffle": lambda: {"dataset": _data("nested"), "batch_size": 3, "shuffle": True, "drop_last": True},
    "shuffle, generator": lambda: {"dataset": _data("bf16"), "batch_size": 3, "shuffle": True, "generator": _generator()},
    "one by one": lambda: {"dataset": _data("triple"), "batch_size": None, "shuffle": True},
    "replacement": lambda: {
        "dataset": _data("pair"),
        "sampler": tud.RandomSampler(range(SIZE), replacement=True, num_samples=30, generator=_generator()),
        "batch_size": 4,
    },
    "replacement, global": lambda: {
        "dataset": _data("python scalars"),
        "sampler": tud.RandomSampler(range(SIZE), replacement=True, num_samples=30),
        "batch_size": 4,
    },
    "several permutations": lambda: {
        "dataset": _data("text"),
        "sampler": tud.RandomSampler(range(SIZE), num_samples=2 * SIZE + 1),
        "batch_size": 4,
    },
    "weighted": lambda: {"dataset": _data(), "batch_size": 4, "sampler": tud.WeightedRandomSampler([1.0, 2.0] * 6, 20)},
    "subset random": lambda: {"dataset": _data("0-d"), "batch_size": 2, "sampler": tud.SubsetRandomSampler(range(9))},
    "distributed": lambda: {"dataset": _data(), "batch_size": 2, "sampler": tud.DistributedSampler(range(SIZE), 2, 1)},
    "list": lambda: {"dataset": _data("array dtypes"), "batch_size": 3, "sampler": [3, 3, 1, 7, 3, 0, 11, 5, 3]},
    "lazy sampler": lambda: {"dataset": _data("list"), "batch_size": 4, "sampler": configurations.LazySampler(SIZE)},
    "user's order": lambda: {"dataset": _data("image, permuted"), "batch_size": 4, "sampler": Shuffled(SIZE)},
    "odd batches": lambda: {"dataset": _data("keys in any order"), "batch_sampler": configurations.OddBatches(SIZE)},
    "batch sampler": lambda: {
        "dataset": _data("mixed dtypes"),
        "batch_sampler": tud.BatchSampler(tud.RandomSampler(range(SIZE)), 4, False),
    },
    "many at once": lambda: {"dataset": _data("tensor dtypes", "noisy many"), "batch_size": 3, "shuffle": True},
    "collate": lambda: {"dataset": _data(), "batch_size": 4, "shuffle": True, "collate_fn": _collate},
    "failing": lambda: {"dataset": _data("raises ValueError"), "batch_size": 2, "shuffle": True},
}


def _loader(kind: str, workers: int, rng: str = "sample", **more: Any) -> dsb.DataLoader:
    seed = {"seed": 5} if rng == "sample" else {}
    prefetch = {"prefetch_factor": 1 + (workers + len(kind)) % 3} if workers else {}
    return dsb.DataLoader(**KINDS[kind](), num_workers=workers, rng=rng, **seed, **prefetch, **more)


def _epochs(loader: Any, count: int) -> list[list[Any]]:
    epochs: list[list[Any]] = []
    for _ in range(count):
        events: list[Any] = []
        compare.one_epoch(loader, events)
        for event in events:
            if isinstance(event, Exception):
                event.__traceback__ = event.__context__ = None
        epochs.append(events)
    return epochs


def _same(expected: list[list[Any]], got: list[list[Any]], where: Any) -> None:
    for epoch, (old, new) in enumerate(zip(expected, got, strict=True)):
        assert len(old) == len(new), (where, epoch)
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            compare.same_event(a, b, "torch", f"{where}, epoch {epoch}, event {number}")


def _json(state: Any) -> Any:
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("kind", KINDS)
def test_same_bytes_for_any_number_of_workers(kind: str) -> None:
    """Two epochs are the same with 0, 1, 2 and 3 workers, persistent or not, whatever the global generators hold."""
    compare.seed_globals(1)
    expected = _epochs(_loader(kind, 0, output="torch"), 2)
    for workers in (1, 2, 3):
        compare.seed_globals(100 + workers)
        before = compare.states(None)
        with _loader(kind, workers, output="torch", persistent_workers=workers == 2) as loader:
            _same(expected, _epochs(loader, 2), f"{workers} workers")
        assert compare.states(None) == before


@pytest.mark.parametrize("output", ["numpy", "mindspore"])
def test_same_bytes_in_other_outputs(output: str) -> None:
    """The other outputs hold the same values."""
    expected = _epochs(_loader("collate", 0, output="torch"), 1)
    for workers in (1, 3):
        for a, b in zip(expected[0], _epochs(_loader("collate", workers, output=output), 1)[0], strict=True):
            compare.same_event(a, b, output, f"{workers} workers")


@pytest.mark.parametrize("kind", KINDS)
def test_resume_with_another_number_of_workers(kind: str) -> None:
    """In the middle of the second epoch, from a to b workers through JSON: the rest and the third epoch are the same."""
    expected = _epochs(_loader(kind, 0, output="torch"), 3)
    position = len(expected[1]) // 2
    for old, new in ((0, 2), (2, 0), (3, 1)):
        compare.seed_globals(old)
        with _loader(kind, old, output="torch") as loader:
            _epochs(loader, 1)
            begun: list[Any] = []
            compare.one_epoch(loader, begun, leave_after=position)
            state = _json(loader.state_dict())
        with _loader(kind, new, output="torch") as loader:
            loader.load_state_dict(state)
            rest, third = _epochs(loader, 2)
        _same(expected[1:], [begun + rest, third], f"{old} to {new} workers at {position}")


TORCH_KINDS = [kind for kind in KINDS if kind != "failing"]


@pytest.mark.parametrize("workers", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_resume_under_rng_torch(workers: int) -> None:
    """With the same number of workers the rest, the next epoch and the generators are exact; the report says what it took."""
    for kind in TORCH_KINDS[workers - 1 :: 3]:
        compare.seed_globals(3)
        with _loader(kind, workers, "torch", output="torch") as loader:
            expected = _epochs(loader, 3)
            afterwards = compare.states(loader.generator)
        position = len(expected[1]) // 2
        compare.seed_globals(3)
        with _loader(kind, workers, "torch", output="torch") as loader:
            _epochs(loader, 1)
            begun: list[Any] = []
            compare.one_epoch(loader, begun, leave_after=position)
            state = _json(loader.state_dict())
        compare.seed_globals(77)
        with _loader(kind, workers, "torch", output="torch") as loader:
            loader.load_state_dict(state)
            rest, third = _epochs(loader, 2)
            _same(expected[1:], [begun + rest, third], f"{kind}, {workers} workers at {position}")
            assert compare.states(loader.generator) == afterwards
            assert "resume-fast-forward" not in str(loader.report.findings)


@pytest.mark.parametrize("size", [None, 3])
def test_resume_of_a_stream(size: int | None) -> None:
    """A sharded stream goes on exactly with the same number of workers, in both modes."""
    from workers import Sharded

    for rng in ("torch", "sample"):

        def make(rng: str = rng) -> dsb.DataLoader:
            dataset = Sharded(samples.MAKERS["pair"], 2 * SIZE, True, True)
            seed = 5 if rng == "sample" else None
            return dsb.DataLoader(dataset, batch_size=size, num_workers=2, rng=rng, seed=seed, output="torch")

        compare.seed_globals(3)
        expected = _epochs(make(), 1)
        compare.seed_globals(3)
        loader = make()
        begun: list[Any] = []
        compare.one_epoch(loader, begun, leave_after=3)
        state = _json(loader.state_dict())
        compare.seed_globals(77)
        loader = make()
        loader.load_state_dict(state)
        _same(expected, [begun + _epochs(loader, 1)[0]], rng)


def test_a_stream_that_cannot_begin() -> None:
    """worker_init_fn's failure is raised once per worker, with its type and without a sample's place; then the stream ends."""
    from workers import Sharded, failing_init_fn

    dataset = Sharded(samples.MAKERS["pair"], SIZE, True, False)
    loader = dsb.DataLoader(dataset, batch_size=2, num_workers=2, worker_init_fn=failing_init_fn)
    events = _epochs(loader, 1)[0]
    failures = [event for event in events if isinstance(event, Exception)]
    assert [(type(exc), str(exc)) for exc in failures] == [(LookupError, "no database")]
    assert events[-1] == "end of epoch"
    assert len(events) == 1 + 3 + 1
