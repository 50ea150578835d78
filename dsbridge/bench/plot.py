"""Results as a picture, by matplotlib (the extra ``[plot]``): bars of batches a second, one panel a workload."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from dsbridge.bench.contenders import OURS
from dsbridge.bench.results import Results
from dsbridge.errors import MissingDependencyError, UsageError

SUFFIXES = (".png", ".svg", ".pdf")
_GREEN, _GREY = "#22aa77", "#99aabb"


def require_matplotlib() -> Any:
    """matplotlib's Figure, which draws without a display. Raises ``MissingDependencyError`` where it is not installed.

    >>> require_matplotlib().__name__
    'Figure'
    """
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as exc:
        raise MissingDependencyError("matplotlib", "--plot", "pip install 'dsbridge[plot]'") from exc


def check_path(path: str | Path) -> Path:
    """The path, if its ending is a known picture format; raises ``UsageError`` otherwise.

    >>> check_path("bench.svg").suffix
    '.svg'
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(f"cannot draw {str(path)!r}", hint=f"the ending must be one of {', '.join(SUFFIXES)}")
    return path


def draw(results: Results, path: str | Path) -> None:
    """Write the picture to ``path``, in the format its ending says.

    >>> import tempfile; from dsbridge.bench.results import Machine
    >>> draw(Results(2, 5, Machine.here()), f"{tempfile.mkdtemp()}/bench.svg")
    """
    path = check_path(path)
    figure_class = require_matplotlib()
    workloads = [workload for workload in results.workloads if any(entry.ok for entry in workload.entries)]
    heights = [sum(entry.ok for entry in workload.entries) + 1.5 for workload in workloads] or [1.5]
    figure = figure_class(figsize=(9, 0.32 * sum(heights) + 0.6), layout="constrained")
    if workloads:
        panels = figure.subplots(len(workloads), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for axes, workload in zip(panels, workloads, strict=True):
            entries = [entry for entry in workload.entries if entry.ok][::-1]
            rates = [entry.median(workload.headline) for entry in entries]
            colours = [_GREEN if entry.contender in OURS else _GREY for entry in entries]
            bars = axes.barh([entry.contender for entry in entries], rates, color=colours)
            axes.bar_label(bars, labels=[f"{rate:,.0f}" for rate in rates], padding=3)
            axes.set_title(f"{workload.title}: batches/s", loc="left", fontsize=10)
            axes.margins(x=0.12)
            axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"dsbridge bench: {results.workers} workers on {results.machine.cores} cores", fontsize=11)
    figure.savefig(path)
