"""DataLoader.from_torch: the same loader, read from its parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from loader_data import LazySampler, Noisy, NoisyStream, plain, seed_globals
from torch.utils import data as tud

import dsbridge as dsb


class Untouchable(tud.DataLoader):
    """A subclass whose iteration and length are nobody's business."""

    def __iter__(self) -> Any:
        raise AssertionError("from_torch iterated the torch loader")

    def _get_iterator(self) -> Any:
        raise AssertionError("from_torch iterated the torch loader")


def _first(batch: list[Any]) -> Any:
    return batch[0]


KINDS: dict[str, Any] = {
    "plain": lambda ds: {"batch_size": 3},
    "drop_last": lambda ds: {"batch_size": 4, "drop_last": True},
    "shuffle": lambda ds: {"batch_size": 3, "shuffle": True},
    "generator": lambda ds: {"shuffle": True, "generator": torch.Generator().manual_seed(5)},
    "sampler": lambda ds: {"batch_size": 2, "sampler": tud.WeightedRandomSampler([1.0, 2.0] * 5, 7)},
    "user's sampler": lambda ds: {"batch_size": 2, "sampler": LazySampler(10)},
    "list": lambda ds: {"sampler": [3, 1, 2]},
    "batch_sampler": lambda ds: {"batch_sampler": tud.BatchSampler(tud.RandomSampler(ds), 4, False)},
    "batch lists": lambda ds: {"batch_sampler": [[1, 2], [3]]},
    "batch_size None": lambda ds: {"batch_size": None, "shuffle": True},
    "batch_size None, sampler": lambda ds: {"batch_size": None, "sampler": LazySampler(10)},
    "collate_fn": lambda ds: {"batch_size": 2, "collate_fn": _first},
    "convert": lambda ds: {"batch_size": 2, "collate_fn": tud.default_convert},
    "pin_memory": lambda ds: {"batch_size": 2, "worker_init_fn": print, "in_order": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_map_style(kind: str) -> None:
    """Every kind of loader over a map-style dataset gives torch's batches."""
    loader = tud.DataLoader(Noisy(), **KINDS[kind](Noisy()))
    seed_globals(1)
    expected = [plain(batch) for _ in range(2) for batch in loader]
    if loader.generator is not None:
        loader.generator.manual_seed(5)
    ours = dsb.DataLoader.from_torch(loader)
    seed_globals(1)
    assert [plain(batch) for _ in range(2) for batch in ours] == expected
    assert len(ours) == len(loader)


@pytest.mark.parametrize("arguments", [{"batch_size": 3}, {"batch_size": None}, {"batch_size": 4, "drop_last": True}])
def test_stream(arguments: dict[str, Any]) -> None:
    """Loaders over a stream give torch's batches."""
    loader = tud.DataLoader(NoisyStream(), **arguments)
    seed_globals(1)
    expected = [plain(batch) for batch in loader]
    seed_globals(1)
    assert [plain(batch) for batch in dsb.DataLoader.from_torch(loader)] == expected


def test_never_iterates() -> None:
    """The torch loader is not iterated, not even by iterating the new one."""
    dataset = Noisy()
    ours = dsb.DataLoader.from_torch(Untouchable(dataset, batch_size=4))
    assert dataset.loads == []
    assert len(list(ours)) == 3


def test_shares_the_parts() -> None:
    """Dataset, sampler, generator and collate_fn are the very objects."""
    generator = torch.Generator()
    loader = tud.DataLoader(Noisy(), 2, sampler=LazySampler(4), generator=generator, collate_fn=_first)
    ours = dsb.DataLoader.from_torch(loader)
    for name in ("dataset", "sampler", "generator", "collate_fn"):
        assert getattr(ours, name) is getattr(loader, name)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"batch_size": 5}, [[0.0, 1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0, 9.0]]),
        ({"batch_size": 6, "drop_last": True}, [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]),
        ({"sampler": [2, 1]}, [[2.0, 1.0]]),
        ({"batch_sampler": [[4], [5, 6]]}, [[4.0], [5.0, 6.0]]),
        ({"dataset": [7.0, 8.0]}, [[7.0, 8.0]]),
        ({"collate_fn": sum, "sampler": [1, 2, 3], "batch_size": 2}, [3.0, 3.0]),
        ({"output": "numpy", "batch_size": 9, "drop_last": True}, [list(map(float, range(9)))]),
    ],
)
def test_overrides(overrides: dict[str, Any], expected: list[Any]) -> None:
    """An override replaces what the torch loader has, and what it excludes."""
    loader = tud.DataLoader([float(i) for i in range(10)], batch_size=8)
    batches = list(dsb.DataLoader.from_torch(loader, **overrides))
    assert [batch if isinstance(batch, float) else batch.tolist() for batch in batches] == expected


def test_override_shuffle_and_seed() -> None:
    """shuffle=True with a seed gives the order of a generator with that seed."""
    loader = tud.DataLoader(range(10), batch_size=None, sampler=range(10))
    expected = list(tud.DataLoader(range(10), batch_size=None, shuffle=True, generator=torch.Generator().manual_seed(3)))
    assert list(dsb.DataLoader.from_torch(loader, shuffle=True, seed=3)) == expected


def test_override_num_workers() -> None:
    """A loader with workers is taken over into this process."""
    loader = tud.DataLoader(range(4), num_workers=2, prefetch_factor=3, persistent_workers=True, multiprocessing_context="fork")
    assert len(list(dsb.DataLoader.from_torch(loader, num_workers=0))) == 4


@pytest.mark.parametrize("what", [[1, 2], None, Noisy()])
def test_refuses_others(what: Any) -> None:
    """What is no torch DataLoader is a TypeError that names its type."""
    with pytest.raises(TypeError, match=type(what).__name__):
        dsb.DataLoader.from_torch(what)
