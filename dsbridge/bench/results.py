"""What was measured, as data: entries, workloads, the machine; ratios and medians of it; to JSON and back."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from dsbridge.bench.contenders import GENERATORS, processors
from dsbridge.bench.epoch import Run
from dsbridge.bench.workloads import WORKLOADS

_PACKAGES = ("dsbridge", "torch", "mindspore", "numpy", "pillow", "grain", "spdl")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender on one workload. ``status`` is "ok", "not run" or "failed"; ``reason`` says why it is not "ok".

    >>> Entry("grain", "grain", "not run", "not installed")
    Entry('grain', not run: not installed)
    """

    contender: str
    title: str
    status: str = "ok"
    reason: str = ""
    runs: tuple[Run, ...] = ()
    peak_pss_bytes: int | None = None
    second_first_s: float | None = None
    stats: dict[str, Any] | None = None

    def __repr__(self) -> str:
        state = f"{self.median('steady_per_s'):.1f} batches/s" if self.ok else f"{self.status}: {self.reason}"
        return f"Entry({self.contender!r}, {state})"

    @property
    def ok(self) -> bool:
        """Whether there are figures."""
        return self.status == "ok" and bool(self.runs)

    def values(self, name: str) -> list[float]:
        """An attribute of each run."""
        return [float(getattr(run, name)) for run in self.runs]

    def median(self, name: str) -> float:
        """The median of an attribute over the runs."""
        return statistics.median(self.values(name))


@dataclass(frozen=True, slots=True)
class WorkloadResult:
    """The entries of one workload, in the order in which they took turns.

    >>> WorkloadResult("tiny", "tiny samples", 256).ratio("dsbridge", "torch") is None
    True
    """

    name: str
    title: str
    batch_size: int
    entries: tuple[Entry, ...] = ()
    verdict: str = ""

    def __repr__(self) -> str:
        return f"WorkloadResult({self.name!r}, {len(self.entries)} entries)"

    @property
    def headline(self) -> str:
        """The rate to compare at a glance. Where work is sleep, whole epochs count: loading ahead is no speed.

        >>> WorkloadResult("tiny", "", 256).headline, WorkloadResult("stragglers", "", 8).headline
        ('steady_per_s', 'whole_per_s')
        """
        return "whole_per_s" if self.name in WORKLOADS and WORKLOADS[self.name].sleep_s else "steady_per_s"

    def entry(self, name: str) -> Entry | None:
        """The entry of a contender, if it has figures."""
        return next((entry for entry in self.entries if entry.contender == name and entry.ok), None)

    def ratio(self, ours: str, theirs: str, name: str = "steady_per_s") -> float | None:
        """The median over rounds of ours / theirs in the same round; None where one has no figures."""
        one, other = self.entry(ours), self.entry(theirs)
        if one is None or other is None:
            return None
        return statistics.median(a / b for a, b in zip(one.values(name), other.values(name), strict=False))

    def fastest(self, names: Iterable[str]) -> str | None:
        """Which of these contenders has the highest median rate; None if none has figures."""
        entries = [entry for name in names if (entry := self.entry(name)) is not None]
        return max(entries, key=lambda e: e.median("steady_per_s")).contender if entries else None

    def ideal_ratio(self, name: str, workers: int) -> float | None:
        """How many times as long as the ideal a contender took; None where the workload has no ideal time."""
        entry, workload = self.entry(name), WORKLOADS.get(self.name)
        if entry is None or workload is None or not workload.sleep_s:
            return None
        return statistics.median(run.epoch_s / float(workload.ideal_s(run.batches, workers) or 1) for run in entry.runs)

    def summary(self, workers: int) -> str:
        """One line: how dsbridge compares."""
        if self.verdict:
            return self.verdict
        if self.entry("dsbridge") is None:
            return "dsbridge has no figures here"
        ideal, against = self.ideal_ratio("dsbridge", workers), self.ideal_ratio("torch", workers)
        if ideal is not None:
            return f"dsbridge takes {ideal:.2f}x the ideal time" + (f", torch {against:.2f}x" if against else "")
        best = self.fastest(GENERATORS)
        rivals = [("torch", "torch"), (best, f"the best GeneratorDataset mode ({best})"), ("grain", "grain"), ("spdl", "spdl")]
        found = [(self.ratio("dsbridge", name), text) for name, text in rivals if name]
        return "dsbridge is " + (", ".join(f"{ratio:.1f}x {text}" for ratio, text in found if ratio) or "alone here")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what it was measured. ``load`` is the load average before and after.

    >>> Machine.here().cores >= 1
    True
    """

    system: str
    processor: str
    cores: int
    python: str
    packages: dict[str, str]
    load: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def here(cls, load_before: float = 0.0) -> Machine:
        """This machine; versions are read without importing anything."""
        packages = {name: version for name in _PACKAGES if (version := _version(name))}
        load = (round(load_before, 2), round(os.getloadavg()[0], 2))
        python = platform.python_version()
        return cls(platform.platform(), _processor(), processors(), python, packages, load)

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return f"{self.cores} cores, {self.processor}, load average {self.load[0]} to {self.load[1]}; {packages}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one call of ``dsbridge bench`` measured.

    >>> Results(2, 5, Machine.here()).ok
    True
    """

    workers: int
    rounds: int
    machine: Machine
    workloads: tuple[WorkloadResult, ...] = ()
    command: str = field(default_factory=lambda: " ".join(["dsbridge", *sys.argv[1:]]))

    def __repr__(self) -> str:
        return f"Results({len(self.workloads)} workloads, {self.workers} workers, {self.rounds} rounds)"

    @property
    def ok(self) -> bool:
        """True unless a contender failed; one that cannot run here is no failure."""
        return all(entry.status != "failed" for workload in self.workloads for entry in workload.entries)

    def workload(self, name: str) -> WorkloadResult | None:
        """The results of a workload, if it was run."""
        return next((workload for workload in self.workloads if workload.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, with the medians beside the runs."""
        data = {"format": _FORMAT, **asdict(self)}
        for workload, plain in zip(self.workloads, data["workloads"], strict=True):
            plain["summary"] = workload.summary(self.workers)
            for entry, row in zip(workload.entries, plain["entries"], strict=True):
                if entry.ok:
                    row["batches_per_s"] = entry.median("steady_per_s")
                    row["vs_torch"] = workload.ratio(entry.contender, "torch")
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Results:
        """Back from ``to_dict``. Raises ValueError for another format."""
        if data.get("format") != _FORMAT:
            raise ValueError(f"results of format {data.get('format')!r}, this dsbridge reads format {_FORMAT}")
        workloads = []
        for plain in data["workloads"]:
            entries = tuple(
                Entry(**{key: row[key] for key in Entry.__slots__} | {"runs": tuple(Run(**run) for run in row["runs"])})
                for row in plain["entries"]
            )
            workloads.append(WorkloadResult(**{k: plain[k] for k in WorkloadResult.__slots__} | {"entries": entries}))
        machine = Machine(**{**data["machine"], "load": tuple(data["machine"]["load"])})
        return cls(data["workers"], data["rounds"], machine, tuple(workloads), data["command"])

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(self.to_dict(), indent=2)
