"""What counts as equal: errors relative to torch in float64, held against those of torch's own float32."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.report import Report

FACTOR, FLOOR = 10.0, 1e-5


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison: the error of MindSpore and of torch's float32, both relative to float64 (L2 norms)."""

    what: str
    error: float
    yardstick: float

    @property
    def fine(self) -> bool:
        """Within ten times torch's own error, and rounding."""
        return bool(self.error <= FACTOR * self.yardstick + FLOOR)

    def __str__(self) -> str:
        return f"{self.what}: {self.error:.2g} (torch's float32: {self.yardstick:.2g})"


class ParityReport(Report):
    """What ``verify`` measured."""

    def __init__(self) -> None:
        super().__init__("verify")
        self.measured: list[Measured] = []

    def __str__(self) -> str:
        return "\n".join([*map(str, self.measured), super().__str__()])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        rows = [{"what": m.what, "error": m.error, "torch_float32": m.yardstick, "ok": m.fine} for m in self.measured]
        return {**super().to_dict(), "measured": rows}


def norm(arrays: Iterable[Any]) -> float:
    """The L2 norm of all of them together."""
    return float(np.sqrt(sum(float(np.linalg.norm(array)) ** 2 for array in arrays)))


def relative(reference: Any, got: Any) -> float:
    """The L2 norm of the difference over that of the reference."""
    size = float(np.linalg.norm(reference))
    off = float(np.linalg.norm(np.asarray(got, np.float64) - reference))
    return off / size if size else off


def outputs_of(result: Any) -> list[Any]:
    """The outputs in a run's result, in order."""
    return [result[f"out:{n}"] for n in range(sum(key.startswith("out:") for key in result))]


def judge_outputs(report: ParityReport, where: str, exact: Any, single: Any, got: Any) -> None:
    """Each output, beside torch's own float32."""
    if len(exact) != len(got):
        report.add("outputs-differ", "error", where, f"{len(got)} outputs, expected {len(exact)}")
        return
    for number, (a, b, c) in enumerate(zip(exact, single, got, strict=True)):
        if a.shape != c.shape:
            report.add(
                "outputs-differ", "error", f"{where}, output {number}", f"shape {list(c.shape)}, expected {list(a.shape)}"
            )
            continue
        measured = Measured(f"{where}, output {number}", relative(a, c), relative(a, b))
        report.measured.append(measured)
        if not measured.fine:
            report.add("outputs-differ", "error", where, str(measured))


def judge_gradients(report: ParityReport, where: str, exact: Any, yardsticks: list[dict[str, float]], got: Any) -> None:
    """Every parameter's gradient, all of them together and each on its own; yardsticks: how far off torch's own are."""
    trained = [path for path in exact if path in got]
    missing = [path for path, value in exact.items() if path not in got and np.any(value)]
    if missing:
        report.add("gradients-missing", "error", where, f"{len(missing)} parameters get no gradient: {', '.join(missing[:5])}")
    whole = norm(exact[path] for path in trained) or 1.0
    off = norm(got[path] - exact[path] for path in trained)
    yard = max(float(np.linalg.norm([side[path] for path in trained])) for side in yardsticks)
    measured = Measured(f"{where}, gradients", off / whole, yard / whole)
    report.measured.append(measured)
    if not measured.fine:
        report.add("gradients-differ", "error", where, str(measured))
    for path in trained:
        size = float(np.linalg.norm(exact[path]))
        error, own = np.linalg.norm(got[path] - exact[path]), max(side[path] for side in yardsticks)
        if error > FACTOR * own + 1e-4 * size + FLOOR * whole:
            report.add("gradients-differ", "error", f"{where}, {path}", f"off by {error:.2g} of {size:.2g}")


def judge_frozen(report: Report, where: str, frozen: Iterable[str], got: Collection[str]) -> None:
    """What does not train in torch must not get a gradient. Both are structural paths of the cell."""
    trained = [path for path in frozen if path in got]
    if trained:
        report.add("frozen-trains", "error", where, f"{len(trained)} frozen parameters train: {', '.join(trained[:5])}")
