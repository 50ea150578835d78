"""What ``plan.verify`` measured, and the first stage that differs."""

from __future__ import annotations

from typing import Any

from dsbridge.model.judge import Measured
from dsbridge.report import Report

STAGES = ("data", "forward", "gradient", "clipping", "schedule", "optimizer")


class SetupReport(Report):
    """What ``plan.verify`` measured.

    ``stage``: the first that differs, of data, forward, gradient, clipping, schedule, optimizer; empty if none does.

    >>> report = SetupReport()
    >>> report.judge("gradient", "graph, step 1 alone", 0.3, 1e-6)
    >>> report.stage, report.ok
    ('gradient', False)
    """

    def __init__(self) -> None:
        super().__init__("verify")
        self.measured: list[Measured] = []
        self.losses: dict[str, list[float]] = {}
        self.steps = 0

    @property
    def stage(self) -> str:
        """The first stage with an error."""
        found = {one.code.partition("-")[0] for one in self if one.severity == "error"}
        return next((stage for stage in STAGES if stage in found), "")

    def judge(self, stage: str, where: str, error: float, yardstick: float) -> None:
        """Note a figure; one that is too large is a finding of its stage."""
        self.take(stage, where, Measured(f"{where}, {stage}", error, yardstick))

    def take(self, stage: str, where: str, measured: Measured, said: str = "") -> None:
        """The same of a figure that is at hand; ``said``: what it is of."""
        self.measured.append(measured)
        if not measured.fine:
            self.add(f"{stage}-differs", "error", where, f"{said}{measured}")

    def __str__(self) -> str:
        stage = f"differs first in: {self.stage}\n" if self.stage else ""
        return "\n".join([*map(str, self.measured), stage + super().__str__()])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        rows = [{"what": m.what, "error": m.error, "torch_float32": m.yardstick, "ok": m.fine} for m in self.measured]
        return {**super().to_dict(), "stage": self.stage, "steps": self.steps, "measured": rows, "losses": self.losses}
