"""What dsbridge is to reach, as a table, and whether it does. Ratios hold for two workers on two cores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dsbridge.bench.contenders import GENERATORS
from dsbridge.bench.results import Entry, Results, WorkloadResult
from dsbridge.bench.workloads import WORKLOADS


@dataclass(frozen=True, slots=True)
class Target:
    """One wanted figure. ``measure`` says what is compared:

    "rate": batches/s of ``contender`` over the fastest of ``against``; "first": seconds to the first batch, the same way;
    "pss": peak memory over that of ``against``; "ideal": the epoch's time over the ideal one; "second": seconds to the first
    batch of a later epoch with persistent workers; "gap": the 99th percentile of the gaps between batches, in seconds.
    With ``per_worker`` the limit counts once a usable worker.

    >>> print(Target("f32", "rate", at_least=6, against=("torch",)))
    f32: dsbridge rate / torch >= 6
    """

    workload: str
    measure: str
    at_least: float | None = None
    at_most: float | None = None
    against: tuple[str, ...] = ()
    contender: str = "dsbridge"
    per_worker: bool = False

    def __str__(self) -> str:
        versus = f" / {'best of ' if len(self.against) > 1 else ''}{', '.join(self.against)}" if self.against else ""
        limit = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return f"{self.workload}: {self.contender} {self.measure}{versus} {limit}{' a worker' if self.per_worker else ''}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target and what was measured; ``value`` and ``met`` are None where something is missing, named by ``missing``.

    >>> print(Outcome(Target("f32", "rate", at_least=6, against=("torch",)), 6.5, 6.0))
    met     f32: dsbridge rate / torch >= 6 (6.5)
    """

    target: Target
    value: float | None = None
    limit: float = 0.0
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if that was not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.target.at_least is not None else self.value <= self.limit

    def __str__(self) -> str:
        word = {True: "met", False: "MISSED", None: "unknown"}[self.met]
        return f"{word:<7} {self.target} ({self.missing if self.value is None else f'{self.value:.3g}'})"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"target": str(self.target), "value": self.value, "limit": self.limit, "met": self.met, "missing": self.missing}


TARGETS: tuple[Target, ...] = (
    Target("f32", "rate", at_least=6, against=("torch",)),
    Target("f32", "rate", at_least=6, against=("generator-processes",)),
    Target("f32", "rate", at_least=3, against=GENERATORS),
    Target("f32", "rate", at_least=1.2, against=("spdl",)),
    Target("u8", "rate", at_least=8, against=("torch",)),
    Target("u8", "rate", at_least=15, against=("generator-processes",)),
    Target("u8", "rate", at_least=2, against=GENERATORS),
    Target("u8", "rate", at_least=8, against=("grain",)),
    Target("tiny", "rate", at_least=3, against=("torch",)),
    Target("tiny", "rate", at_least=100, against=("generator-processes",)),
    Target("tiny", "rate", at_least=8, against=GENERATORS),
    Target("tiny", "rate", at_least=0.8, against=("in-process",), per_worker=True),
    Target("tiny", "second", at_most=0.005),
    Target("tiny", "gap", at_most=0.020),
    Target("jpeg", "rate", at_least=1.1, against=("torch",)),
    Target("jpeg", "rate", at_least=1.3, against=("generator-processes",)),
    Target("jpeg", "rate", at_least=0.9, against=("in-process",), per_worker=True),
    Target("ragged", "rate", at_least=2, against=("torch",)),
    Target("stragglers", "ideal", at_most=1.1),
    *(Target(name, "rate", at_least=0.5, against=("dsbridge",), contender="to_mindspore") for name in WORKLOADS),
    *(Target(name, "first", at_most=1.0, against=("torch",)) for name in WORKLOADS),
    *(Target(name, "pss", at_most=1.0, against=("torch",)) for name in WORKLOADS),
)


def check(results: Results, targets: Iterable[Target] = TARGETS) -> list[Outcome]:
    """The outcome of each target whose workload was run.

    >>> from dsbridge.bench.results import Machine
    >>> check(Results(2, 5, Machine.here()))
    []
    """
    outcomes = []
    for target in targets:
        workload = results.workload(target.workload)
        if workload is not None:
            outcomes.append(_outcome(target, workload, results))
    return outcomes


def _outcome(target: Target, workload: WorkloadResult, results: Results) -> Outcome:
    usable = max(min(results.workers, results.machine.cores), 1) if target.per_worker else 1
    limit = (target.at_least if target.at_least is not None else target.at_most or 0.0) * usable
    ours = workload.entry(target.contender)
    if ours is None:
        return Outcome(target, None, limit, f"{target.contender} has no figures")
    if target.against and workload.fastest(target.against) is None:
        return Outcome(target, None, limit, f"no figures of {', '.join(target.against)}")
    value = _value(target, workload, ours, results.workers)
    return Outcome(target, value, limit, "" if value is not None else f"{target.measure} was not measured")


def _value(target: Target, workload: WorkloadResult, ours: Entry, workers: int) -> float | None:
    against = workload.fastest(target.against) or ""
    if target.measure == "rate":
        return workload.ratio(target.contender, against)
    if target.measure == "first":
        return workload.ratio(target.contender, against, "first_s")
    if target.measure == "gap":
        return ours.median("gap_p99_s")
    if target.measure == "second":
        return ours.second_first_s
    if target.measure == "ideal":
        return workload.ideal_ratio(target.contender, workers)
    theirs = workload.entry(against)
    if theirs is None or not ours.peak_pss_bytes or not theirs.peak_pss_bytes:
        return None
    return ours.peak_pss_bytes / theirs.peak_pss_bytes
