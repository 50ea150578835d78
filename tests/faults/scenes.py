"""What the scripts of the fault tests share: datasets, ways to kill, comparisons."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psutil
import torch

import dsbridge as dsb


class Augmented(torch.utils.data.Dataset):
    """Samples with random numbers of torch, numpy and random in them, each taking ``seconds``."""

    def __init__(self, length: int, seconds: float = 0.0, width: int = 64) -> None:
        self.length, self.seconds, self.width = length, seconds, width

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if self.seconds:
            time.sleep(self.seconds * random.Random(index).random() * 2)
        noise = torch.rand(self.width) + index
        return {"x": noise, "y": np.random.rand(3), "z": random.random(), "index": index, "name": f"sample {index}"}


class Stream(torch.utils.data.IterableDataset):
    """A sharded stream that draws when it starts, between samples and behind the last one."""

    def __init__(self, length: int, seconds: float = 0.0) -> None:
        self.length, self.seconds = length, seconds

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(self.length).tolist()  # drawn eagerly
        info = torch.utils.data.get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        return self._samples([i for i in order if i % workers == worker])

    def _samples(self, order: list[int]) -> Iterator[Any]:
        for index in order:
            time.sleep(self.seconds)
            if random.random() < 0.1:
                continue
            yield torch.rand(8) + index, np.random.rand(2), index
        np.random.rand()


class Ones(torch.utils.data.Dataset):
    """Float32 arrays full of their index."""

    def __init__(self, length: int, width: int = 1000) -> None:
        self.length, self.width = length, width

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return np.full(self.width, index, np.float32)


def flat(value: Any) -> Any:
    """Nested batches as nested tuples of bytes and plain values, to be compared by ==."""
    if isinstance(value, dict):
        return tuple((key, flat(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(flat(item) for item in value)
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value


def workers() -> list[psutil.Process]:
    """The live children of this process."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


def no_children(seconds: float = 3.0) -> bool:
    """Whether all children are gone within so many seconds."""
    return until(lambda: not workers(), seconds)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    """Whether a condition comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Killer(threading.Thread):
    """Sends ``number`` to a random worker ``times`` times, at random moments, but only once between two batches.

    Faster than that, on a slow machine, chance alone would kill seven workers over one batch, which is a poison sample's mark.
    """

    def __init__(self, times: int, pause: float, seed: int, batches: list[Any], number: int = signal.SIGKILL) -> None:
        super().__init__(daemon=True)
        self.times, self.pause, self.number, self.batches = times, pause, number, batches
        self.random = random.Random(seed)
        self.killed = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        seen = -1
        while self.killed < self.times and not self.stopped.wait(self.pause * self.random.random() * 2):
            found = workers()
            if found and len(self.batches) > seen:
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself, with its epoch
                    os.kill(self.random.choice(found).pid, self.number)
                    seen = len(self.batches)
                    self.killed += 1


def run_killed(make: Callable[[], Any], times: int, pause: float, seed: int, epochs: int = 1) -> tuple[Any, Any]:
    """(batches, killer) of a loader whose workers are killed while it runs; the loader stays in ``killer.loader``."""
    loader, batches = make(), []
    killer = Killer(times, pause, seed, batches)
    killer.loader = loader  # type: ignore[attr-defined]
    killer.start()
    for _ in range(epochs):
        for batch in loader:
            batches.append(flat(batch))
    killer.stopped.set()
    killer.join()
    loader.close()
    return batches, killer


def undisturbed(make: Callable[[], Any], epochs: int = 1) -> Any:
    """The batches of a loader left alone."""
    loader = make()
    batches = [flat(batch) for _ in range(epochs) for batch in loader]
    loader.close()
    return batches


def numpy_loader(dataset: Any, **arguments: Any) -> Any:
    """A dsbridge loader with two workers that gives numpy arrays."""
    return dsb.DataLoader(dataset, **{"num_workers": 2, "output": "numpy", **arguments})


def raises(kind: type[BaseException], call: Callable[[], Any]) -> Any:
    """The exception of exactly this type that a call raises."""
    try:
        call()
    except kind as found:
        if type(found).__name__ != kind.__name__:
            raise
        return found
    raise AssertionError(f"no {kind.__name__}")
