"""The contenders by name: who loads a workload. Data only; the code is imported in the contender's own process."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dsbridge.bench.workloads import WORKLOADS, Workload
from dsbridge.errors import UsageError


class CannotRunError(Exception):
    """A contender cannot run a workload, for a reason that is no failure: "not run: reason".

    >>> str(CannotRunError("grain is not installed"))
    'grain is not installed'
    """


@dataclass(frozen=True, slots=True)
class Case:
    """What one process is to load: sent to it as JSON. ``loader`` is "module:name" where it is the user's own.

    >>> Case("torch", workload="tiny", batches=3).make_workload()
    Workload('tiny', 3 x 256)
    """

    contender: str
    workload: str = ""
    loader: str = ""
    workers: int = 2
    batches: int | None = None
    distinct: int | None = None
    persistent: bool = False

    def make_workload(self) -> Workload:
        """The workload with this case's counts."""
        return WORKLOADS[self.workload].sized(self.batches, self.distinct)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; ``Case(**data)`` is the way back."""
        return asdict(self)


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Opened:
    """A contender that is ready: ``start`` begins an epoch and gives its batches, of MindSpore tensors.

    ``limit`` is after how many batches an epoch is broken off (None: at its end); ``stats`` the loader's own counters.

    >>> list(Opened(lambda: [1, 2]).start())
    [1, 2]
    """

    start: Callable[[], Iterable[Any]]
    close: Callable[[], object] = _nothing
    stats: Callable[[], dict[str, Any] | None] = _nothing
    batch_size: int = 1
    limit: int | None = None
    workers: int | None = None  # of the user's own loader, which decides that itself

    def __repr__(self) -> str:
        return f"Opened(batch_size={self.batch_size}, limit={self.limit})"


@dataclass(frozen=True, slots=True)
class Contender:
    """A named loader. ``open`` names ``function(case) -> Opened`` as "module:function"; ``peer`` marks optional packages.

    >>> CONTENDERS["torch"]
    Contender('torch')
    """

    name: str
    title: str
    open: str
    peer: str = ""

    def __repr__(self) -> str:
        return f"Contender({self.name!r})"


def _by_name(*contenders: Contender) -> dict[str, Contender]:
    return {contender.name: contender for contender in contenders}


_OURS, _MINDSPORE, _PEERS, _OWN = (f"dsbridge.bench.{name}" for name in ("loaders", "mindspore_loaders", "peers", "own"))
CONTENDERS = _by_name(
    Contender("dsbridge", "dsb.DataLoader", f"{_OURS}:open_dsbridge"),
    Contender("to_mindspore", "dsb.to_mindspore(dsb.DataLoader), MindSpore's iterator", f"{_OURS}:open_to_mindspore"),
    Contender("torch", "torch DataLoader, then Tensor.from_numpy", f"{_OURS}:open_torch"),
    Contender("generator-processes", "GeneratorDataset rows in processes + batch", f"{_MINDSPORE}:open_processes"),
    Contender("generator-threads", "GeneratorDataset rows in threads + batch", f"{_MINDSPORE}:open_threads"),
    Contender("generator-serial", "GeneratorDataset rows, one worker + batch", f"{_MINDSPORE}:open_serial"),
    Contender("mindspore-loader", "mindspore.dataset.dataloader.DataLoader", f"{_MINDSPORE}:open_loader"),
    Contender("grain", "grain MapDataset, batch, mp_prefetch", f"{_PEERS}:open_grain", "grain"),
    Contender("spdl", "spdl iterate_in_subprocess, segment pool, one process", f"{_PEERS}:open_spdl_pool", "spdl"),
    Contender("spdl-loader", "spdl PyTorchDataLoader", f"{_PEERS}:open_spdl_loader", "spdl"),
    Contender("bare", "bare processes that copy ready samples: the limit", "dsbridge.bench.bare:open_bare"),
    Contender("in-process", "dsb.DataLoader, num_workers=0", f"{_OURS}:open_in_process"),
    Contender("in-process-torch", "torch DataLoader, num_workers=0", f"{_OURS}:open_in_process_torch"),
)
OWN_CONTENDERS = _by_name(
    Contender("dsbridge", "dsb.DataLoader.from_torch(your loader)", f"{_OWN}:open_dsbridge"),
    Contender("torch", "your torch DataLoader, then Tensor.from_numpy", f"{_OWN}:open_torch"),
    Contender("in-process", "dsb.DataLoader.from_torch(your loader, num_workers=0)", f"{_OWN}:open_in_process"),
)
OURS = ("dsbridge", "to_mindspore")
GENERATORS = ("generator-processes", "generator-threads", "generator-serial")


def find(name: str, own: bool = False) -> Contender:
    """The contender of that name, or one of yours: "module:function" with ``function(case) -> Opened``.

    >>> find("grain").peer, find("my.module:open").open
    ('grain', 'my.module:open')
    """
    table = OWN_CONTENDERS if own else CONTENDERS
    if name in table:
        return table[name]
    if ":" in name:
        return Contender(name, name, name)
    raise UsageError(f"no contender {name!r}", hint=f"one of {', '.join(table)}, or module:function")


def open_case(case: Case) -> Opened:
    """Import the contender's code and let it get ready. Raises ``CannotRunError`` where it cannot run this.

    >>> open_case(Case("in-process", "tiny", batches=1, distinct=2))
    Opened(batch_size=256, limit=None)
    """
    contender = find(case.contender, own=bool(case.loader))
    if contender.peer and importlib.util.find_spec(contender.peer) is None:
        raise CannotRunError(f"the package {contender.peer} is not installed (make bench-peers installs it)")
    module, _, function = contender.open.partition(":")
    opened = getattr(importlib.import_module(module), function)(case)
    assert isinstance(opened, Opened)
    return opened


def processors() -> int:
    """How many cores this process may use.

    >>> processors() >= 1
    True
    """
    return len(os.sched_getaffinity(0))
