"""Results made up for the tests of what is done with results."""

from __future__ import annotations

from dsbridge.bench.epoch import Run
from dsbridge.bench.results import Entry, Machine, Results, WorkloadResult

MACHINE = Machine("Linux", "a <processor> & more", 2, "3.11.7", {"torch": "2.13.0"}, (0.1, 0.2))


def entry(name: str, *rates: float, first_s: float = 0.01, **more: object) -> Entry:
    """An entry with a run a rate; a run lasts as long as its rate says."""
    runs = tuple(Run(20, 20 * 64, first_s, 20 / rate, rate, 1 / rate, 2 / rate, 3 / rate, 0.5) for rate in rates)
    return Entry(name, name, runs=runs, **more)  # type: ignore[arg-type]


def results(*entries: Entry, workload: str = "f32", workers: int = 2) -> Results:
    """Results of one workload."""
    return Results(workers, 3, MACHINE, (WorkloadResult(workload, "64 x <images>", 64, entries),), "dsbridge bench")
