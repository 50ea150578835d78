"""What a loader did, and where the time went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dsbridge.report import Finding, Report
from dsbridge.styles import repr_html

_LOSSES = ("skipped_samples", "skipped_batches", "replaced_samples", "spilled_batches", "restarts", "pickled_columns")


@dataclass(slots=True)
class LoaderStats:
    """Counters of a loader since it was made; times in seconds, sizes in bytes. ``loader.stats()`` gives a copy.

    ``produce_s`` is the time spent loading and collating (of all workers together), ``queue_s`` how long finished
    batches lay ready, ``wait_s`` how long the trainer waited for them, ``hold_s`` the time between two batches that it kept
    for itself. ``spilled_batches`` found no recycled memory and were copied out, ``pickled_columns`` are values that
    workers sent by pickle, ``slots`` how many pieces of shared memory were ever in use.

    >>> print(LoaderStats(batches=10, samples=640, bytes=2_000_000, produce_s=3.0, wait_s=3.0, hold_s=1.0))
    10 batches, 640 samples, 2.0 MB; loading 3.00 s, ready 0.00 s, waiting 3.00 s, training 1.00 s
    loader-bound: waiting 75 % of the time, add workers
    """

    batches: int = 0
    samples: int = 0
    bytes: int = 0
    produce_s: float = 0.0
    queue_s: float = 0.0
    wait_s: float = 0.0
    hold_s: float = 0.0
    skipped_samples: int = 0
    skipped_batches: int = 0
    replaced_samples: int = 0
    spilled_batches: int = 0
    restarts: int = 0
    pickled_columns: int = 0
    slots: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """True unless samples were lost or replaced."""
        return not (self.skipped_samples or self.skipped_batches or self.replaced_samples)

    @property
    def waiting(self) -> float:
        """The share of the time the trainer waited for data, 0 to 1."""
        total = self.wait_s + self.hold_s
        return self.wait_s / total if total else 0.0

    @property
    def verdict(self) -> str:
        """One line: what bounds the loop."""
        if not self.batches:
            return "nothing loaded yet"
        share = f"waiting {self.waiting:.0%} of the time".replace("%", " %")
        if self.spilled_batches > self.batches / 2:
            return f"slots held by you: most batches were copied out, because earlier ones are kept; {share}"
        return f"loader-bound: {share}, add workers" if self.waiting > 0.5 else f"trainer-bound: {share}"

    _repr_html_ = repr_html

    def __str__(self) -> str:
        head = f"{self.batches} batches, {self.samples} samples, {self.bytes / 1e6:.1f} MB"
        times = f"loading {self.produce_s:.2f} s, ready {self.queue_s:.2f} s, waiting {self.wait_s:.2f} s"
        lines = [f"{head}; {times}, training {self.hold_s:.2f} s"]
        counters = {name: getattr(self, name) for name in _LOSSES}
        lines += [f"{name.replace('_', ' ')}: {count}" for name, count in counters.items() if count]
        return "\n".join([*lines, self.verdict])

    def to_dict(self) -> dict[str, Any]:
        """The counters and the verdict as plain data."""
        return {**asdict(self), "ok": self.ok, "verdict": self.verdict}

    def raise_if(self, worse_than: str = "warning") -> None:
        """Raise ``VerificationError`` if samples were lost or replaced (an "error"), or a finding is worse."""
        report = Report("loader", self.findings)
        if not self.ok:
            report.add("samples-lost", "error", "on_error", str(self).replace("\n", "; "))
        report.raise_if(worse_than)

    def raise_if_failed(self) -> None:
        """Raise ``VerificationError`` unless ``ok``."""
        self.raise_if("warning")
