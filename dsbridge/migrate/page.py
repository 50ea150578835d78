"""PARITY.md and verify.py."""

from __future__ import annotations

from typing import Any

import dsbridge
from dsbridge.migrate.setup_report import SetupReport
from dsbridge.report import Report

SHOWN = 24


def parity_page(setup: Any, report: Report, parity: SetupReport | None) -> str:
    """What was recorded, what was measured, what is missing."""
    name = setup.script.name if setup.script else type(setup.model).__name__
    lines = [f"# {name}: parity with the torch training", "", f"Written by dsbridge {dsbridge.__version__}.", ""]
    lines += ["## Recorded", "", *(f"* {line}" for line in str(setup).split("\nsetup:")[0].splitlines()), ""]
    if not report.ok:
        lines += ["## Not moved", "", *(f"* {one}" for one in report if one.severity == "error"), ""]
    if parity is None:
        lines += ["Not measured: `verify()` was not called before `write()`. Run `python verify.py`.", ""]
    elif parity.measured:
        lines += [
            "## Measured", "",
            f"{parity.steps} recorded steps replayed, each mode in a process of its own; dropout and the like are off.",
            "Errors are relative; beside them torch's own: float32, and float64 from weights a rounding away, against float64.",
            "",
            "| what | MindSpore | torch |", "|---|---|---|",
        ]  # fmt: skip
        lines += [f"| {one.what} | {one.error:.2g} | {one.yardstick:.2g} |" for one in parity.measured]
        lines += ["", "## Losses", "", *_losses(parity.losses), ""]
    noted = [one for one in report if one.severity != "error"]
    if noted:
        lines += ["## Findings", "", *(f"* {one}" for one in noted), ""]
    return "\n".join(lines)


def _losses(losses: dict[str, list[float]]) -> list[str]:
    names = list(losses)
    lines = ["| batch | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for number, row in enumerate(list(zip(*losses.values(), strict=False))[:SHOWN]):
        lines.append(f"| {number + 1} | " + " | ".join(f"{value:.7f}" for value in row) + " |")
    return lines


def verify_script() -> str:
    """verify.py: measures the folder again."""
    return '''"""Measure the figures of PARITY.md again, with the files as they are now; needs torch and dsbridge.

python verify.py [STEPS]
"""

import sys
from pathlib import Path

from dsbridge.migrate.setup_plan import verify_written

report = verify_written(Path(__file__).resolve().parent, int(sys.argv[1]) if len(sys.argv) > 1 else 24)
print(report)
sys.exit(0 if report.ok else 1)
'''
