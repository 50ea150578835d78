"""Datasets and samplers of the loader tests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils import data as tud

from dsbridge.frameworks import mindspore_tensors


class Noisy(tud.Dataset):
    """Random augmentation by torch, numpy and random; counts what it loads."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.loads: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.loads.append(int(index))
        return {"index": int(index), "noise": noise()}


class NoisyStream(tud.IterableDataset):
    """The same as a stream, whose order is drawn when it is opened."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.loads: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(self.size).tolist()
        return map(self._load, order)

    def _load(self, index: int) -> dict[str, Any]:
        self.loads.append(index)
        return {"index": index, "noise": noise()}


class Broken(tud.Dataset):
    """Raises for some indices; ``many`` for a dataset that loads batches at once."""

    def __init__(self, size: int = 10, bad: tuple[int, ...] = (3, 4)) -> None:
        self.size, self.bad = size, bad

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> float:
        if index in self.bad:
            raise ValueError(f"bad sample {index}")
        return float(index)


class BrokenMany(Broken):
    """Loads batches at once; a bad sample fails them whole."""

    def __getitems__(self, indices: list[int]) -> list[float]:
        return [self[index] for index in indices]


class BrokenStream(tud.IterableDataset):
    """An iterator that survives its failures."""

    def __init__(self, size: int = 10, bad: tuple[int, ...] = (3, 4)) -> None:
        self.size, self.bad = size, bad

    def __iter__(self) -> Iterator[Any]:
        return map(Broken(self.size, self.bad).__getitem__, range(self.size))


class LazySampler(tud.Sampler):
    """A user's sampler, drawing from the global generators while it is iterated."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.size):
            yield int(torch.randint(self.size, ()))

    def __len__(self) -> int:
        return self.size


class OrderSampler(LazySampler):
    """A user's sampler, drawing its whole order at once when iteration starts."""

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self.size).tolist())


def noise() -> list[float]:
    """One number from each of the global generators."""
    return [float(torch.rand(())), float(np.random.rand()), random.random()]


def seed_globals(seed: int) -> None:
    """Seed torch, numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def plain(batch: Any) -> Any:
    """A batch with its leaves as (dtype, shape, bytes), to be compared with ==."""
    if isinstance(batch, Mapping):
        return {key: plain(value) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [plain(value) for value in batch]
    if isinstance(batch, torch.Tensor):
        batch = batch.detach().numpy()
    elif mindspore_tensors.is_tensor(batch):
        batch = mindspore_tensors.to_numpy(batch)
    return (batch.dtype.name, batch.shape, batch.tobytes()) if isinstance(batch, np.ndarray) else batch


def numbers(loader: Any) -> list[list[float]]:
    """The batches of a loader over plain numbers, as lists."""
    return [mindspore_tensors.to_numpy(batch).tolist() for batch in loader]
