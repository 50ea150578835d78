"""Random loader configurations: ``draw(number)`` is a pure function, ``build`` makes fresh arguments from one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import deviations
import numpy as np
import samples
import torch
from torch.utils import data as tud

SEED = 20260


class Mapped(tud.Dataset):
    """A map-style dataset over a maker; ``noisy`` adds random augmentation by all three generators."""

    def __init__(self, make: Callable[[int], Any], size: int, noisy: bool = False) -> None:
        self.make, self.size, self.noisy = make, size, noisy

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        sample = self.make(int(index))
        return (sample, torch.rand(2), np.random.rand(2), random.random()) if self.noisy else sample


class Many(Mapped):
    """A dataset that loads a batch at once."""

    def __getitems__(self, indices: Any) -> list[Any]:
        return [self[index] for index in indices]


class Duck:
    """Only looks like a dataset."""

    def __init__(self, inner: Mapped) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: Any) -> Any:
        return self.inner[index]


class Stream(tud.IterableDataset):
    """A stream over a maker."""

    def __init__(self, inner: Mapped) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[Any]:
        return (self.inner[i] for i in range(len(self.inner)))


class SizedStream(Stream):
    """A stream with a length, which draws its order when it is opened."""

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(len(self.inner)).tolist()
        return iter(map(self.inner.__getitem__, order))


def _eager(make: Any, n: int) -> list[Any]:
    return [make(i) for i in range(n)]


DATASETS: dict[str, Callable[[Any, int], Any]] = {
    "map": Mapped,
    "noisy": lambda make, n: Mapped(make, n, noisy=True),
    "many": Many,
    "noisy many": lambda make, n: Many(make, n, noisy=True),
    "duck": lambda make, n: Duck(Mapped(make, n)),
    "list": _eager,
    "tensors": lambda make, n: tud.TensorDataset(torch.arange(n * 6.0).view(n, 2, 3), torch.arange(n)),
    "stack": lambda make, n: tud.StackDataset(a=_eager(make, n), b=list(range(n))),
    "stack tuple": lambda make, n: tud.StackDataset(Many(make, n), Mapped(make, n)),
    "subset": lambda make, n: tud.Subset(Many(make, n + 2), [*range(1, n), 0]),
    "concat": lambda make, n: tud.ConcatDataset([Mapped(make, n - n // 2), _eager(make, n // 2)]),
    "stream": lambda make, n: Stream(Mapped(make, n)),
    "noisy stream": lambda make, n: SizedStream(Mapped(make, n, noisy=True)),
    "chain": lambda make, n: tud.ChainDataset([Stream(Mapped(make, 3)), SizedStream(Mapped(make, n))]),
}
STREAMS = ("stream", "noisy stream", "chain")
EAGER = ("list", "stack", "concat")  # these make all samples beforehand, so that no sample may fail


class LazySampler(tud.Sampler):
    """A user's sampler, which draws from the global generator as it goes and has no length."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.n):
            yield int(torch.randint(self.n, ()))


class OddBatches:
    """A user's batch sampler, whose batches are lists, tuples, arrays, tensors and iterators of several sizes."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[Any]:
        kinds = (list, tuple, np.array, torch.tensor, iter, set)
        order = torch.randperm(self.n).tolist() * 2
        for start, kind in zip(range(0, self.n, 2), kinds * 3, strict=False):
            yield kind(order[start : start + 1 + start % 3])


Maker = Callable[[Any, int, Any], Any]
SAMPLERS: dict[str, Maker] = {
    "random": lambda ds, n, g: tud.RandomSampler(ds, generator=g),
    "replacement": lambda ds, n, g: tud.RandomSampler(ds, replacement=True, num_samples=n + 40, generator=g),
    "num_samples": lambda ds, n, g: tud.RandomSampler(ds, num_samples=2 * n + 1, generator=g),
    "subset random": lambda ds, n, g: tud.SubsetRandomSampler(range(0, n, 2), generator=g),
    "weighted": lambda ds, n, g: tud.WeightedRandomSampler([1.0 + i % 3 for i in range(n)], n, generator=g),
    "sequential": lambda ds, n, g: tud.SequentialSampler(ds),
    "distributed": lambda ds, n, g: tud.DistributedSampler(ds, num_replicas=2, rank=1, seed=3),
    "lazy": lambda ds, n, g: LazySampler(n),
    "list": lambda ds, n, g: [n - 1, *range(n), 0],
    "tensors": lambda ds, n, g: torch.arange(n),
    "once": lambda ds, n, g: iter(range(n)),
}
BATCH_SAMPLERS: dict[str, Maker] = {
    "odd": lambda ds, n, g: OddBatches(n),
    "lists": lambda ds, n, g: [[0], [n - 1, 0], [], [n // 2]],
    "BatchSampler": lambda ds, n, g: tud.BatchSampler(tud.RandomSampler(ds, generator=g), 3, True),
    "BatchSampler of lazy": lambda ds, n, g: tud.BatchSampler(LazySampler(n), 4, False),
}


def _short(batch: Any) -> Any:
    if isinstance(batch, list) and len(batch) < 2:
        raise samples.CustomError(7, "a batch of one")
    return samples.tensor(1, 2)


COLLATES: dict[str, Callable[[Any], Any]] = {
    "torch": lambda batch: samples.tensor(1, 3, 2).t(),
    "numpy": lambda batch: (samples.ndarray(3, 6, dtype=">i2")[::-2], np.float32(2), np.array(["a"]), np.array([None])),
    "nested": lambda batch: {"a": (samples.tensor(2, 2), [samples.ndarray(1, 3), {"b": None}]), "n": 3, "d": np.ones(())},
    "strings": lambda batch: ["x", b"y"],
    "none": lambda batch: None,
    "object": lambda batch: samples.Opaque(3),
    "dataclass": lambda batch: samples.Record(samples.tensor(2, 2), samples.Opaque(3)),
    "namedtuple": lambda batch: samples.Point(samples.ndarray(1, 2), samples.tensor(1, 3)[::2]),
    "identity": lambda batch: batch,
    "default inside": lambda batch: (tud.default_collate(batch), "end") if isinstance(batch, list) else batch,
    "noisy": lambda batch: (torch.rand(3), np.random.rand(2), random.random()),
    "raises": _short,
}

FAULTS: dict[str, dict[str, Any]] = {
    **{f"batch_size {value!r}": {"batch_size": value} for value in (0, -1, 2.5, True, "2")},
    "drop_last text": {"drop_last": "yes"},
    "batch_size None, drop_last": {"batch_size": None, "drop_last": True},
    "num_workers": {"num_workers": -1},
    "prefetch_factor": {"prefetch_factor": 2},
    "persistent_workers": {"persistent_workers": True},
    "negative timeout": {"timeout": -1},
    "timeout": {"timeout": 5},
    "multiprocessing_context": {"multiprocessing_context": "fork"},
    "unknown": {"bathc_size": 3},
    "sampler and shuffle": {"sampler": [0, 1], "shuffle": True},
    "shuffle 2": {"shuffle": 2},
    "sampler": {"sampler": [1, 0]},
    "batch_sampler and batch_size": {"batch_sampler": [[0]], "batch_size": 2},
    "batch_sampler and drop_last": {"batch_sampler": [[0]], "batch_size": 1, "drop_last": True},
    "batch_sampler": {"batch_sampler": [[0], [1]], "batch_size": 1},
    "no index": {"sampler": [0, 10_000]},
    "no generator": {"generator": 5, "shuffle": True},
    "no sampler": {"sampler": 5},
    "empty": {"dataset": []},
    "empty, shuffle": {"dataset": [], "shuffle": True, "sampler": None, "batch_sampler": None},
    "no dataset": {"dataset": None},
    "no collate": {"collate_fn": 5},
}


@dataclass(frozen=True)
class Configuration:
    """One drawn configuration; the names are keys of the tables above and of samples.MAKERS."""

    number: int
    dataset: str
    sample: str
    size: int
    sampler: str | None
    batch_size: int | None
    drop_last: bool
    collate: str | None
    generator: int | None
    seed: int
    epochs: int
    fault: str | None


def draw(number: int) -> Configuration:
    """The configuration of this number. Every sample maker, dataset, sampler, collate and fault comes up in turn."""
    rng = random.Random(f"{SEED}-{number}")
    bad = rng.random() < 0.35
    sample = _in_turn(number, tuple(samples.BAD if bad else samples.GOOD), rng)
    fault = _in_turn(number, tuple(FAULTS), rng) if not bad and rng.random() < 0.3 else None
    lazy = [name for name in DATASETS if name not in EAGER]
    dataset = rng.choice(lazy if sample == "stop" or sample.startswith("raises") else list(DATASETS))
    sampler = rng.choice([None, "shuffle", "shuffle", *SAMPLERS, *BATCH_SAMPLERS])
    if dataset in STREAMS:  # a stream takes no sampler, which some have to be told
        sampler = rng.choice(["shuffle", "list", "lists"]) if fault is None and rng.random() < 0.05 else None
    return Configuration(
        number=number,
        dataset=dataset,
        sample=sample,
        size=rng.randint(5, 7) if sample.startswith("big") else rng.randint(5, 12),
        sampler=sampler,
        batch_size=1 if sampler in BATCH_SAMPLERS else rng.choice([None, 1, 2, 3, 4, 5, 20]),
        drop_last=sampler not in BATCH_SAMPLERS and rng.random() < 0.3,
        collate=rng.choice([None, None, None, *COLLATES]) if rng.random() < 0.5 else None,
        generator=rng.choice([None, rng.randrange(2**31)]),
        seed=rng.randrange(2**31),
        epochs=1 if sample.startswith("big") else rng.choice([1, 2, 3]),
        fault=fault,
    )


def _in_turn(number: int, names: tuple[str, ...], rng: random.Random) -> str:
    return names[(number // 2 + rng.randrange(3)) % len(names)]


def build(config: Configuration, *, promised: bool = False) -> dict[str, Any]:
    """Fresh arguments for a loader; ``promised``: for torch's, to do what dsbridge promises (deviations.py)."""
    make = samples.MAKERS[config.sample]
    if promised and config.sample == "stop" and config.dataset not in STREAMS:
        make = _refuse_stop
    dataset = DATASETS[config.dataset](make, config.size)
    generator = None if config.generator is None else torch.Generator().manual_seed(config.generator)
    arguments: dict[str, Any] = {
        "dataset": dataset,
        "batch_size": config.batch_size,
        "drop_last": config.drop_last and config.batch_size is not None,
        "generator": generator,
        "collate_fn": COLLATES.get(config.collate or ""),
    }
    if config.sampler == "shuffle":
        arguments["shuffle"] = True
    elif config.sampler in SAMPLERS:
        arguments["sampler"] = SAMPLERS[config.sampler](dataset, config.size, generator)
    elif config.sampler in BATCH_SAMPLERS:
        arguments["batch_sampler"] = BATCH_SAMPLERS[config.sampler](dataset, config.size, generator)
    arguments |= FAULTS.get(config.fault or "", {})
    if promised and arguments["collate_fn"] is None:
        batched = arguments.get("batch_sampler") is not None or arguments["batch_size"] is not None
        arguments["collate_fn"] = deviations.collate if batched else deviations.convert
    return arguments


def _refuse_stop(i: int) -> Any:
    try:
        return samples.MAKERS["stop"](i)
    except StopIteration:
        raise deviations.Refused(f"stop at {i}") from None
