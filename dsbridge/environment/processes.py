"""Processes: how children are started, a round trip through a worker, and workers that were left behind."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Iterator
from pathlib import Path

from dsbridge.environment.child import ask
from dsbridge.environment.diagnosis import Fact
from dsbridge.environment.matrix import installed
from dsbridge.report import Finding

Found = Iterator[Fact | Finding]

_SLOW_S = 10.0  # of a round trip that takes a tenth of a second
_WORKER = re.compile(r"dsb:(\d+)")  # as prefetch/worker.py names its process: by its trainer

_ROUND_TRIP = """
import time, numpy as np, torch, dsbridge as dsb
data = torch.utils.data.TensorDataset(torch.arange(64.).reshape(16, 4), torch.arange(16))
start = time.perf_counter()
dataset = dsb.to_mindspore(torch.utils.data.DataLoader(data, batch_size=4, num_workers={workers}))
rows = [[column.asnumpy() for column in row] for row in dataset.create_tuple_iterator(num_epochs=1)]
seconds = time.perf_counter() - start
x, y = (np.concatenate(column) for column in zip(*rows))
threads = len(__import__("os").listdir("/proc/self/task"))
equal = all(np.array_equal(got, sent.numpy()) for got, sent in zip((x, y), data.tensors))
answer(seconds=seconds, threads=threads, equal=equal)
"""


def check_start_method() -> Found:
    """How this Python starts processes unless told otherwise; asking settles nothing."""
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    yield Fact("start method", method)
    if method != "fork":
        message = f"{method}: each worker imports torch anew, which takes seconds, and datasets must be picklable"
        hint = "DataLoader(multiprocessing_context='fork'), unless the process has threads that fork breaks"
        yield Finding("start-method", "info", "multiprocessing", message, hint)


def check_round_trip(workers: int, timeout_s: float = 60.0) -> Found:
    """A torch dataset, through workers, into MindSpore tensors: every value compared, and timed."""
    if not installed("torch") or not installed("mindspore"):
        return
    answer = ask(_ROUND_TRIP.format(workers=workers), timeout_s=timeout_s)
    name = f"round trip, {workers} worker" + ("s" if workers != 1 else "")
    if answer.error:
        yield Fact(name, "fails")
        message = f"torch Dataset -> worker -> MindSpore tensor: {answer.error}"
        hint = "the other findings often say why; if there are none, report it with the output of dsbridge doctor --json"
        yield Finding("round-trip", "error", name, message, hint)
        return
    seconds = answer.data["seconds"]
    yield Fact(name, f"{seconds * 1000:,.0f} ms, values {'equal' if answer.data['equal'] else 'DIFFER'}")
    if not answer.data["equal"]:
        message = "values that came out are not those that went in"
        yield Finding("round-trip", "error", name, message, "report it with the output of dsbridge doctor --json")
    if seconds > _SLOW_S:
        message = f"{seconds:.0f} s, for what takes a tenth of one: the machine is overloaded or swaps"
        yield Finding("slow-round-trip", "warning", name, message, "uptime; free -m")


def check_orphans(proc: Path = Path("/proc"), patience_s: float = 3.0) -> Found:
    """Workers of dsbridge's whose trainer is gone; a worker that can run at all ends by itself, which is waited for."""
    left, deadline = set(_orphans(proc)), time.monotonic() + patience_s
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left &= set(_orphans(proc))
    yield Fact("orphaned workers", ", ".join(map(str, sorted(left))) or "none")
    if left:
        pids = " ".join(map(str, sorted(left)))
        message = f"processes {pids} outlived their trainer: stopped, or stuck in native code; they hold memory"
        yield Finding("orphans", "warning", "processes", message, f"kill -9 {pids}")


def _orphans(proc: Path) -> Iterator[int]:
    for comm in proc.glob("[0-9]*/comm"):
        try:
            named = _WORKER.fullmatch(comm.read_text().strip())
            if named is None:
                continue
            began = _began(comm.parent)
        except OSError:  # it has ended
            continue
        try:
            lives = _began(proc / named.group(1)) <= began  # otherwise another process has got the number
        except OSError:
            lives = False
        if not lives and began:
            yield int(comm.parent.name)


def _began(process: Path) -> int:
    """When a process was started, in clock ticks since boot; 0 for one that is dead and not yet waited for."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()  # from the third on, after the name
    return 0 if fields[0] in "ZX" else int(fields[19])
