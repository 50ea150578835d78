"""The report of a translation: one row per operation, and what the user should know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsbridge.errors import VerificationError
from dsbridge.report import SEVERITIES, Report
from dsbridge.transforms.lower import EXACTNESS, Lowered, Row


@dataclass(frozen=True, slots=True)
class Measured:
    """What ``verify`` found for one operation, or for the whole pipeline (position 0).

    ``difference``: the largest, in grey levels of uint8 or the tensor's own unit; None where shapes or dtypes differ.
    """

    position: int
    samples: int
    difference: float | None
    note: str = ""


class TransformReport(Report):
    """How each operation of a pipeline runs: backend, exactness, reason; after ``verify``, the measured difference.

    ``rows``: one per operation, in order. ``measured``: by operation position, 0 for the whole pipeline.

    >>> from dsbridge.transforms import translate
    >>> from dsbridge.transforms.ops import RandomHorizontalFlip
    >>> print(translate(RandomHorizontalFlip()).report)
    translation, policy exact, input pil: 1 operation, 1 exact
    #  source op             backend  exactness  reason
    1  RandomHorizontalFlip  kernel   exact
    """

    def __init__(self, title: str, rows: Sequence[Row], measured: Sequence[Measured] = ()) -> None:
        super().__init__(title)
        self.rows = tuple(rows)
        self.measured = {one.position: one for one in measured}

    def with_measured(self, measured: Sequence[Measured]) -> TransformReport:
        """The same report with measurements; an operation that differs by more than was stated is an error."""
        report = TransformReport(self.title, self.rows, measured)
        report.extend(self.findings)
        bounds: dict[int, float | None] = {row.position: row.tolerance for row in self.rows}
        bounds[0] = 0 if all(row.exactness == "exact" for row in self.rows) else None
        names = {row.position: row.source for row in self.rows} | {0: "the whole pipeline"}
        for one in measured:
            bound = bounds[one.position]
            if one.note:
                report.add("not-measured", "warning", names[one.position], one.note)
            elif one.difference is None or (bound is not None and one.difference > bound):
                what = "shape or dtype differ" if one.difference is None else f"differs by {one.difference:g}"
                report.add(
                    "differs", "error", names[one.position], f"{what} on {one.samples} samples, {bound or 0:g} was stated",
                    "report it with this sample, and use policy='exact' with the original object meanwhile",
                )  # fmt: skip
        return report

    def raise_if(self, worse_than: str = "warning") -> None:
        """Raise ``VerificationError`` if an operation is worse than "exact" or "near", or a finding than a severity."""
        if worse_than in SEVERITIES:
            super().raise_if(worse_than)
            return
        if worse_than not in EXACTNESS:
            raise ValueError(f"worse_than is one of {', '.join((*EXACTNESS, *SEVERITIES))}, got {worse_than!r}")
        limit = EXACTNESS.index(worse_than)
        worse = [row for row in self.rows if EXACTNESS.index(row.exactness) > limit]
        if worse:
            lines = [f"{row.position} {row.source}: {row.exactness}, {row.reason}" for row in worse]
            raise VerificationError("\n".join([f"{self.title}: {len(worse)} worse than {worse_than}", *lines]))
        super().raise_if("warning")

    def _cells(self) -> list[list[str]]:
        heads = ["#", "source op", "backend", "exactness", *(["measured"] if self.measured else []), "reason"]
        lines = [heads]
        for row in self.rows:
            exactness = row.exactness if row.exactness != "near" else f"<= {row.tolerance:g}"
            measured = [self._measured(row.position)] if self.measured else []
            lines.append([str(row.position), "  " * row.depth + row.source, row.backend, exactness, *measured, row.reason])
        if 0 in self.measured:
            lines.append(["", "whole pipeline", "", "", self._measured(0), f"{self.measured[0].samples} samples"])
        return lines

    def _measured(self, position: int) -> str:
        one = self.measured.get(position)
        if one is None or one.note:
            return "-"
        return "other shape" if one.difference is None else f"{one.difference:g}"

    def _headline(self) -> str:
        count = len(self.rows)
        parts = [f"{sum(row.exactness == name for row in self.rows)} {name}" for name in EXACTNESS]
        parts = [part for part in parts if not part.startswith("0 ")]
        return f"{self.title}: {count} operation{'' if count == 1 else 's'}, {', '.join(parts) or 'nothing to do'}"

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
        return "\n".join([self._headline(), *table, *(f"  {finding}" for finding in self.findings)])

    def to_markdown(self) -> str:
        """The table in Markdown."""
        heads, *lines = self._cells()
        rows = [heads, ["---"] * len(heads), *lines]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in rows)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            **super().to_dict(),
            "rows": [asdict(row) for row in self.rows],
            "measured": [asdict(one) for one in self.measured.values()],
        }


def report_of(lowered: Lowered, batch: Any, policy: str, input: str) -> TransformReport:
    """The report of a pipeline as it was lowered."""
    rows = lowered.rows
    if batch is not None:
        parts = batch.node.children or (batch.node,)
        rows = tuple(
            Row(1 + at, part.label, "kernel", "exact", 0, "on batches: per_batch_map") for at, part in enumerate(parts)
        )
    report = TransformReport(f"translation, policy {policy}, input {input}", rows)
    for row in rows:
        if row.backend == "python":
            report.add(
                "python", "info", row.source, f"runs as it is: {row.reason}",
                "its random numbers come from the global generators, seeded for each sample; one thread at a time",
            )  # fmt: skip
        elif row.exactness == "near":
            report.add("near", "info", row.source, f"differs by up to {row.tolerance:g}", "policy='exact' avoids it")
        elif row.exactness == "distribution":
            report.add("distribution", "warning", row.source, row.reason, "policy='exact' gives the original's pixels")
    return report
