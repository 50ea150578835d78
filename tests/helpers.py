"""What several test files need: datasets that misbehave on order, and the rows of a pipeline as numpy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Items(torch.utils.data.Dataset):
    """A map-style torch dataset over a list; an exception in the list is raised when it is asked for."""

    def __init__(self, items: list[Any], length: int | None = None) -> None:
        self.items, self.length = items, len(items) if length is None else length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        item = self.items[index]
        if isinstance(item, BaseException):
            raise item
        return item


class Stream(torch.utils.data.IterableDataset):
    """An iterable torch dataset over a list, without a length."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __iter__(self) -> Any:
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            yield item


class SizedStream(Stream):
    """The same with a length, which may be a lie."""

    def __init__(self, items: Any, length: int) -> None:
        super().__init__(items)
        self.length = length

    def __len__(self) -> int:
        return self.length


class Recorder(torch.utils.data.Dataset):
    """Sample i is (float32 [i, i], int32 i % 2); ``asked`` holds every index asked for, in order."""

    def __init__(self, length: int) -> None:
        self.length, self.asked = length, []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return np.full(2, index, np.float32), np.int32(index % 2)


def rows(dataset: Any) -> list[tuple[np.ndarray, ...]]:
    """The rows of one epoch of a MindSpore dataset."""
    return [tuple(row) for row in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)]


def epochs(dataset: Any, count: int) -> list[list[tuple[np.ndarray, ...]]]:
    """The rows of ``count`` epochs of one iterator."""
    iterator = dataset.create_tuple_iterator(num_epochs=count, output_numpy=True)
    return [[tuple(row) for row in iterator] for _ in range(count)]


def firsts(epoch: list[tuple[np.ndarray, ...]]) -> list[Any]:
    """The first column of an epoch as a plain list."""
    return [row[0].tolist() for row in epoch]


def lint(folder: Path) -> None:
    """ruff, as it comes, and from the folder above, has nothing to say of what is written there."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "128", str(folder)]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
