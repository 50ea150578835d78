"""Two worker processes: dsbridge against torch's DataLoader and MindSpore's GeneratorDataset, as ratios.

Question: how many batches a second reach the trainer as MindSpore tensors when two workers make them?

Method: as in overhead.py: the dataset returns tensors that exist already; contenders run one epoch each in turn, one round
unmeasured, then ``--rounds`` (5); medians. The time to the first batch is left out of the rate and shown beside it. torch's
batches are turned into MindSpore tensors without a copy (``Tensor.from_numpy``). GeneratorDataset runs ``--rows`` epochs of
few batches, because it is slow.

    DSBRIDGE_UNFINISHED_WORKERS=1 python benchmarks/workers.py [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterable

import mindspore.dataset as mds
import torch
from mindspore import Tensor
from overhead import Ready, Rows
from torch.utils.data import DataLoader

import dsbridge as dsb

WORKERS = 2
WORKLOADS = {
    "64 x float32[3,224,224]": (64, lambda: Ready(64 * 30, 64, (3, 224, 224), labels=False)),
    "64 x uint8[3,224,224]": (64, lambda: Bytes(64 * 80, 64, (3, 224, 224), labels=False)),
    "256 x (float32[1,28,28], int)": (256, lambda: Ready(256 * 200, 512, (1, 28, 28), labels=True)),
}


class Bytes(Ready):
    """The same with uint8 tensors."""

    def __init__(self, *arguments, **keywords) -> None:
        super().__init__(*arguments, **keywords)
        self.tensors = [(tensor * 255).to(torch.uint8) for tensor in self.tensors]


def as_mindspore(loader: DataLoader) -> Iterable:
    """torch's batches with MindSpore tensors, the way a user would do it by hand."""
    for batch in loader:
        yield [Tensor.from_numpy(tensor.numpy()) for tensor in batch]


def contenders(dataset: Ready, batch_size: int) -> dict[str, Callable[[], Iterable]]:
    names = ["image", "label"] if dataset.labels else ["image"]
    torch_loader = DataLoader(dataset, batch_size=batch_size, num_workers=WORKERS)
    loader = dsb.DataLoader(dataset, batch_size=batch_size, num_workers=WORKERS)
    bridge = dsb.to_mindspore(DataLoader(dataset, batch_size=batch_size, num_workers=WORKERS), column_names=names)
    few = Rows(dataset)
    few.samples = batch_size * 8
    rows = mds.GeneratorDataset(few, names, shuffle=False, num_parallel_workers=WORKERS).batch(batch_size)
    return {
        "torch DataLoader": lambda: as_mindspore(torch_loader),
        "dsbridge DataLoader": lambda: loader,
        "to_mindspore(loader)": lambda: bridge.create_tuple_iterator(num_epochs=1),
        "GeneratorDataset, 2 processes": lambda: rows.create_tuple_iterator(num_epochs=1),
    }


def rate(start: Callable[[], Iterable]) -> tuple[float, float]:
    """(batches per second after the first, seconds to the first)."""
    begin = time.perf_counter()
    first, batches = begin, 0
    for _ in start():
        if not batches:
            first = time.perf_counter()
        batches += 1
    return (batches - 1) / (time.perf_counter() - first), first - begin


def measure(name: str, rounds: int) -> dict:
    batch_size, make = WORKLOADS[name]
    runs = contenders(make(), batch_size)
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
    for number in range(rounds + 1):
        for key, start in runs.items():
            result = rate(start)
            if number:
                found[key].append(result)
    rates = {key: statistics.median(r for r, _ in values) for key, values in found.items()}
    return {
        "workload": name,
        "batches_per_s": rates,
        "first_batch_ms": {key: 1000 * statistics.median(f for _, f in values) for key, values in found.items()},
        "vs_torch": rates["dsbridge DataLoader"] / rates["torch DataLoader"],
        "vs_generator": rates["dsbridge DataLoader"] / rates["GeneratorDataset, 2 processes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--json", help="also write the figures to this file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {WORKERS} workers, medians of {arguments.rounds}")
    results = []
    for name in WORKLOADS:
        result = measure(name, arguments.rounds)
        results.append(result)
        print(f"\n{name}")
        for key, value in result["batches_per_s"].items():
            print(f"  {key:<30} {value:>8.1f} batches/s   first after {result['first_batch_ms'][key]:>5.0f} ms")
        print(f"  dsbridge / torch {result['vs_torch']:.1f}x, dsbridge / GeneratorDataset {result['vs_generator']:.1f}x")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
