"""Configurations with worker processes: a drawn configuration and how its workers are set up; records of both loaders."""

from __future__ import annotations

import contextlib
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import compare
import configurations
import deviations
import numpy as np
import samples
import torch
from torch.utils import data as tud

OUTPUTS = ("torch", "numpy", "mindspore")
DATASETS = ("plain", "augmented", "informed", "sharded", "unsharded")

# torch's worker cannot pickle these: its feeder thread says so on stderr, and the trainer waits for ever
UNSENDABLE = ("mappingproxy", "grad", "big grad", "parameter")


class Augmented(tud.Dataset):
    """Adds random numbers of all three generators to the samples of another dataset."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: Any) -> Any:
        return self.inner[index], torch.rand(2), np.random.rand(2), random.random()


class Informed(Augmented):
    """Adds what torch's get_worker_info() says, and what worker_init_fn has left there."""

    def __getitem__(self, index: Any) -> Any:
        info = tud.get_worker_info()
        assert info is not None
        assert info.dataset is not None
        said = (info.id, info.num_workers, info.seed % 2**62, torch.initial_seed() % 2**62, torch.get_num_threads())
        return self.inner[index], said, getattr(info.dataset, "said", 0.0), torch.rand(())


class Sharded(tud.IterableDataset):
    """A stream with augmentation; each worker takes its part, or all of it."""

    def __init__(self, make: Any, size: int, shards: bool, noisy: bool) -> None:
        self.make, self.size, self.shards, self.noisy = make, size, shards, noisy

    def __iter__(self) -> Iterator[Any]:
        info = tud.get_worker_info()
        start, step = (info.id, info.num_workers) if info is not None and self.shards else (0, 1)
        for i in range(start, self.size, step):
            sample = self.make(i)
            yield (sample, torch.rand(1), np.random.rand(1), random.random()) if self.noisy else sample


def init_fn(worker: int) -> None:
    """What users do there: draw, seed one generator, leave something in the dataset."""
    info = tud.get_worker_info()
    assert info is not None
    with contextlib.suppress(AttributeError):  # a list takes no attributes
        info.dataset.said = float(torch.rand(()))
    np.random.seed((worker + 3) * 7)


def failing_init_fn(worker: int) -> None:
    """Fails in one worker."""
    if worker == 0:
        raise LookupError("no database")


INIT_FNS = {"none": None, "draws": init_fn, "fails": failing_init_fn}


@dataclass(frozen=True)
class Configuration:
    """A configuration of the in-process test, and what is about workers."""

    base: configurations.Configuration
    workers: int
    dataset: str
    prefetch: int | None
    persistent: bool
    in_order: bool
    leave_after: int | None
    init_fn: str
    output: str


def draw(number: int) -> Configuration:
    """The configuration of this number; every kind of sample, dataset, sampler and collate comes up in turn."""
    rng = random.Random(f"workers-{number}")
    base = configurations.draw(number)
    while base.sample in UNSENDABLE or (base.fault or "").startswith(("num_workers", "no dataset")):
        base = configurations.draw(rng.randrange(10_000))
    failing = base.sample == "stop" or base.sample.startswith("raises")
    dataset = rng.choice(DATASETS[:3] if base.dataset not in configurations.STREAMS else ("plain", *DATASETS[3:]))
    in_order = rng.random() < 0.85
    noisy = "noisy" in base.dataset or base.dataset == "chain" or base.collate == "noisy"
    if not in_order and (noisy or base.sampler == "lazy"):
        in_order = True  # torch itself gives other random numbers each time: who is free takes the next batch
    if not in_order and dataset in ("augmented", "informed"):
        dataset = "plain"
    persistent = rng.random() < 0.35
    # a stream whose worker_init_fn failed never ends in torch
    fails = rng.random() < 0.05 and not failing and base.dataset not in configurations.STREAMS
    return Configuration(
        base=replace(base, epochs=2 if persistent else rng.choice([1, 1, 2])),
        workers=1 + number % 3,
        dataset=dataset,
        prefetch=rng.choice([None, 1, 2, 3]),
        persistent=persistent,
        in_order=in_order,
        leave_after=rng.choice([1, 2]) if persistent and in_order and rng.random() < 0.5 else None,
        init_fn=rng.choice(["fails"] if fails else ["none", "none", "draws"]),
        output=OUTPUTS[number // 3 % 3],
    )


def build(config: Configuration, *, promised: bool = False) -> dict[str, Any]:
    """Fresh arguments for a loader; ``promised``: for torch's, to do what dsbridge promises (deviations.py)."""
    arguments = configurations.build(config.base, promised=promised)
    dataset = arguments["dataset"]
    if config.dataset in ("augmented", "informed"):
        arguments["dataset"] = (Augmented if config.dataset == "augmented" else Informed)(dataset)
    elif config.dataset in ("sharded", "unsharded"):
        make = samples.MAKERS[config.base.sample]
        arguments["dataset"] = Sharded(make, config.base.size, config.dataset == "sharded", config.in_order)
    if promised and config.base.sample == "complex":
        arguments["collate_fn"] = resolved(arguments["collate_fn"], config.base.collate is None)
    return {
        "num_workers": config.workers,
        "prefetch_factor": config.prefetch,
        "persistent_workers": config.persistent,
        "in_order": config.in_order,
        "worker_init_fn": INIT_FNS[config.init_fn],
        "timeout": 20,  # a batch that torch's worker cannot send must not stop the test
        **arguments,
    }


def resolved(collate: Any, before: bool) -> Any:
    """torch's worker fails to stack conjugated tensors, and sends one without its conj bit, that is, with other values.

    dsbridge does neither. ``before``: for its own collate; a user's that calls torch's fails in both.
    """

    def resolve(part: Any) -> Any:
        return part.resolve_conj() if isinstance(part, torch.Tensor) else part

    def everywhere(value: Any) -> Any:
        return torch.utils._pytree.tree_map(resolve, value)

    return lambda batch: everywhere(collate(everywhere(batch) if before else batch))


def record(loader: Any, config: Configuration) -> tuple[list[list[Any]], list[bytes]]:
    """What a loader gave in each epoch (batches and exceptions), and the trainer's generators afterwards."""
    compare.seed_globals(config.base.seed)
    epochs: list[list[Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch in range(config.base.epochs):
            if hasattr(loader.sampler, "set_epoch"):
                loader.sampler.set_epoch(epoch)
            events: list[Any] = []
            epochs.append(events)
            compare.one_epoch(loader, events, config.leave_after if epoch == 0 else None)
            for event in events:
                if isinstance(event, Exception):
                    event.__traceback__ = event.__context__ = None  # their frames would keep the iterator and its workers
    return epochs, compare.states(loader.generator)


def same_records(expected: Any, got: Any, config: Configuration) -> None:
    """Raise ``Mismatch`` unless both loaders did the same; out of order, the same in any order."""
    for epoch, (old, new) in enumerate(zip(expected[0], got[0], strict=True)):
        if len(old) != len(new):
            raise compare.Mismatch(f"epoch {epoch}: expected {len(old)} events, got {len(new)}: {old} != {new}")
        if config.in_order:
            for number, (a, b) in enumerate(zip(old, new, strict=True)):
                same_event(a, b, config.output, f"epoch {epoch}, event {number}")
            continue
        left = list(new)
        for number, event in enumerate(old):
            found = next((i for i, other in enumerate(left) if _is_same(event, other, config.output)), None)
            if found is None:
                raise compare.Mismatch(f"epoch {epoch}: event {number}, {event!r}, is not among {left!r}")
            del left[found]
    for name, a, b in zip(("torch", "numpy", "random", "own"), expected[1], got[1], strict=False):
        if a != b:
            raise compare.Mismatch(f"the {name} generator's state differs afterwards")


def _is_same(expected: Any, got: Any, output: str) -> bool:
    try:
        same_event(expected, got, output, "")
    except compare.Mismatch:
        return False
    return True


_CAUGHT = re.compile(r"Caught (\w+) (?:in DataLoader worker process (\d+)|in)")


def same_event(expected: Any, got: Any, output: str, where: str) -> None:
    """As in one process; torch's exceptions are read from the traceback that its worker sent."""
    caught = _CAUGHT.match(str(expected.args[0] if expected.args else "")) if isinstance(expected, Exception) else None
    if caught is None:
        compare.same_event(expected, got, output, where)
        return
    name = caught.group(1)
    text = re.split(rf"^(?:[\w.]+\.)?{name}: ?", str(expected.args[0]), flags=re.MULTILINE)[-1].strip().strip("'\"")
    if not isinstance(got, Exception):
        raise compare.Mismatch(f"{where}: expected {expected!r}, got {got!r}")
    if isinstance(got, compare.SampleError) and name in ("RuntimeError", deviations.Refused.__name__):
        return
    if name == "UnboundLocalError" and "'fetcher'" in text:  # torch's words after worker_init_fn failed: the next batches
        name, text = "LookupError", "no database"
    if type(got).__name__ != name or (text not in str(got) and "default_collate" not in text):
        raise compare.Mismatch(f"{where}: expected {name}: {text!r}, got {got!r}") from got
