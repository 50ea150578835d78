"""Results as text: one table a workload, for people; ``rows`` serves the HTML page too."""

from __future__ import annotations

from collections.abc import Sequence

from dsbridge.bench.results import Entry, Results, WorkloadResult
from dsbridge.bench.targets import Outcome

HEADERS = (
    "contender",
    "batches/s",
    "samples/s",
    "x torch",
    "whole/s",
    "first ms",
    "2nd ms",
    "gap p50",
    "p99",
    "max ms",
    "CPU ms",
    "MB",
)


def rows(workload: WorkloadResult) -> list[tuple[str, ...]]:
    """A row of texts for each contender that has figures, under ``HEADERS``.

    >>> rows(WorkloadResult("tiny", "tiny", 256))
    []
    """
    return [_row(workload, entry) for entry in workload.entries if entry.ok]


def _row(workload: WorkloadResult, entry: Entry) -> tuple[str, ...]:
    ratio = workload.ratio(entry.contender, "torch", workload.headline)
    cpu_s = [run.cpu_s / run.batches for run in entry.runs]
    gaps = (f"{entry.median(name) * 1000:.2f}" for name in ("gap_p50_s", "gap_p99_s", "gap_max_s"))
    return (
        entry.contender,
        f"{entry.median('steady_per_s'):,.1f}",
        f"{entry.median('samples_per_s'):,.0f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{entry.median('whole_per_s'):,.1f}",
        f"{entry.median('first_s') * 1000:.1f}",
        "" if entry.second_first_s is None else f"{entry.second_first_s * 1000:.1f}",
        *gaps,
        f"{sorted(cpu_s)[len(cpu_s) // 2] * 1000:.2f}",
        "" if entry.peak_pss_bytes is None else f"{entry.peak_pss_bytes / 1e6:,.0f}",
    )


def absent(workload: WorkloadResult) -> list[str]:
    """A line for each contender without figures: why.

    >>> absent(WorkloadResult("tiny", "tiny", 256, (Entry("grain", "grain", "not run", "not installed"),)))
    ['grain not run: not installed']
    """
    return [f"{e.contender} {e.status}: {e.reason}" for e in workload.entries if not e.ok]


def align(table: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of equal columns: the first to the left, the others to the right.

    >>> align([("a", "b"), ("ccc", "1")])
    ['a    b', 'ccc  1']
    """
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in table]


def text(results: Results) -> str:
    """Everything, as text.

    >>> from dsbridge.bench.results import Machine
    >>> text(Results(2, 5, Machine.here()))[:35]
    '2 workers, medians of 5 rounds in t'
    """
    lines = [f"{results.workers} workers, medians of {results.rounds} rounds in turn; {results.machine}"]
    for workload in results.workloads:
        lines += ["", f"{workload.name}: {workload.title}"]
        table = rows(workload)
        if table:
            lines += [f"  {line}" for line in align([HEADERS, *table])]
        lines += [f"  {line}" for line in absent(workload)]
        lines += [f"  {workload.summary(results.workers)}"]
    return "\n".join(lines)


def outcomes_text(outcomes: Sequence[Outcome]) -> str:
    """The targets, one a line, and how many are met.

    >>> outcomes_text([])
    'targets: 0 met, 0 missed, 0 unknown'
    """
    met, missed, unknown = (sum(o.met is state for o in outcomes) for state in (True, False, None))
    return "\n".join([*map(str, outcomes), f"targets: {met} met, {missed} missed, {unknown} unknown"])
