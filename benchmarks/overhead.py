"""What dsbridge costs or saves in one process, as ratios against torch and MindSpore.

Question: how fast are batches made (a) by dsbridge.DataLoader against torch's DataLoader, both with num_workers=0, and
(b) by to_mindspore(loader) against a GeneratorDataset of rows followed by MindSpore's C++ batch?

Method: the dataset returns ready tensors, so that only loading is timed. Each contender runs one epoch in turn, A B C D,
A B C D, ...; one unmeasured round first, then ``--rounds`` (5); medians are compared. Absolute times depend on the machine
and its neighbours, the ratios much less. Each contender's consumer drops a batch when it asks for the next, as a training
loop does. GeneratorDataset gets numpy arrays, the best case for it (on numpy 2 it takes nothing else).

    python benchmarks/overhead.py [--rounds 5] [--json FILE]
    python benchmarks/overhead.py --sweep        (from which batch size on recycled memory pays)

On 2 cores of a shared x86-64 machine, numpy 1.26, torch 2.13, mindspore 2.10: see docs/guide/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable

import mindspore.dataset as mds
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import dsbridge as dsb
from dsbridge.prefetch.buffers import BufferPool
from dsbridge.sources.collate import Collator


class Ready(Dataset):
    """Hands out tensors that exist already."""

    def __init__(self, samples: int, distinct: int, shape: tuple[int, ...], labels: bool) -> None:
        self.tensors = [torch.rand(shape) for _ in range(distinct)]
        self.samples, self.labels = samples, labels

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int):
        tensor = self.tensors[index % len(self.tensors)]
        return (tensor, index) if self.labels else (tensor,)


class Rows:
    """The same samples as GeneratorDataset likes them best: tuples of numpy arrays."""

    def __init__(self, dataset: Ready) -> None:
        self.arrays = [tensor.numpy() for tensor in dataset.tensors]
        self.samples, self.labels = dataset.samples, dataset.labels

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int):
        array = self.arrays[index % len(self.arrays)]
        return (array, np.asarray(index)) if self.labels else (array,)


WORKLOADS = {
    "64 x float32[3,224,224]": (64, lambda: Ready(64 * 20, 128, (3, 224, 224), labels=False)),
    "256 x (float32[1,28,28], int)": (256, lambda: Ready(256 * 60, 512, (1, 28, 28), labels=True)),
}


def contenders(dataset: Ready, batch_size: int) -> dict[str, Callable[[], Iterable]]:
    """Functions that start one epoch each."""
    torch_loader = DataLoader(dataset, batch_size=batch_size)
    loader = dsb.DataLoader(dataset, batch_size=batch_size)
    names = ["image", "label"] if dataset.labels else ["image"]
    bridge = dsb.to_mindspore(DataLoader(dataset, batch_size=batch_size), column_names=names)
    rows = mds.GeneratorDataset(Rows(dataset), names, shuffle=False).batch(batch_size)
    return {
        "torch DataLoader": lambda: torch_loader,
        "dsbridge DataLoader": lambda: loader,
        "to_mindspore(loader)": lambda: bridge.create_tuple_iterator(num_epochs=1),
        "GeneratorDataset + batch": lambda: rows.create_tuple_iterator(num_epochs=1),
    }


def epoch_s(start: Callable[[], Iterable]) -> float:
    """Seconds for one epoch, from asking for the iterator to its end."""
    begin = time.perf_counter()
    for _ in start():
        pass
    return time.perf_counter() - begin


def measure(name: str, rounds: int) -> dict:
    batch_size, make = WORKLOADS[name]
    dataset = make()
    runs = contenders(dataset, batch_size)
    times: dict[str, list[float]] = {key: [] for key in runs}
    for number in range(rounds + 1):
        for key, start in runs.items():
            seconds = epoch_s(start)
            if number:
                times[key].append(seconds)
    median = {key: statistics.median(values) for key, values in times.items()}
    return {
        "workload": name,
        "batches_per_s": {key: len(dataset) / batch_size / value for key, value in median.items()},
        "loader_vs_torch": median["torch DataLoader"] / median["dsbridge DataLoader"],
        "bridge_vs_generator": median["GeneratorDataset + batch"] / median["to_mindspore(loader)"],
    }


def sweep() -> None:
    """Stack 64 tensors into fresh and into recycled memory, by batch size."""
    print("batch     fresh us  recycled us")
    for kilobytes in (256, 1024, 4096, 16384, 24576, 32768, 65536):
        tensors = [torch.rand(kilobytes * 1024 // 4 // 64) for _ in range(64)]
        pool = BufferPool()
        recycled = Collator(lambda nbytes, pool=pool: pool.empty((nbytes,), np.dtype(np.uint8)))
        pool.min_bytes = 0
        times: dict[str, list[float]] = {"fresh": [], "recycled": []}
        for _ in range(60):
            for key, stack in (("fresh", Collator()), ("recycled", recycled)):
                begin = time.perf_counter()
                stack(tensors)
                times[key].append(time.perf_counter() - begin)
        fresh, again = (statistics.median(times[key]) * 1e6 for key in ("fresh", "recycled"))
        print(f"{kilobytes:>6} KB {fresh:>9.0f} {again:>12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--sweep", action="store_true", help="measure the size from which recycled memory pays")
    arguments = parser.parse_args()
    if arguments.sweep:
        sweep()
        return
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, medians of {arguments.rounds}")
    results = [measure(name, arguments.rounds) for name in WORKLOADS]
    for result in results:
        print(f"\n{result['workload']}")
        for key, rate in result["batches_per_s"].items():
            print(f"  {key:<26} {rate:>9.1f} batches/s")
        print(f"  dsbridge.DataLoader / torch DataLoader        {result['loader_vs_torch']:.2f}x")
        print(f"  to_mindspore / GeneratorDataset + C++ batch   {result['bridge_vs_generator']:.2f}x")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
