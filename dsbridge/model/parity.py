"""What is written beside an emitted model: the measured proof, and a script that runs it again."""

from __future__ import annotations

import dsbridge
from dsbridge.model.conversion import ConversionReport
from dsbridge.model.judge import ParityReport


def parity_page(root: str, report: ConversionReport, parity: ParityReport | None) -> str:
    """PARITY.md: the figures, and what was found on the way."""
    lines = [f"# {root}: parity with its torch original", "", f"Written by dsbridge {dsbridge.__version__}.", ""]
    if parity is None:
        lines += ["Not measured: `verify()` was not called before `write()`. Run `python verify.py MODULE:FACTORY`.", ""]
    else:
        lines += [
            "Relative errors (L2) against torch in float64, with perturbed weights and statistics; beside them those of",
            "torch's own float32. Gradients are those of every trainable parameter together.", "",
            "| what | MindSpore | torch float32 |", "|---|---|---|",
        ]  # fmt: skip
        lines += [f"| {one.what} | {one.error:.2g} | {one.yardstick:.2g} |" for one in parity.measured]
        lines += ["", str(parity).splitlines()[-1] if parity.ok else "```text\n" + str(parity) + "\n```", ""]
    lines += ["## Modules", "", f"{str(report).splitlines()[0]}.", ""]
    if len(report):
        lines += ["## Findings", "", *(f"* {finding}" for finding in report), ""]
    return "\n".join(lines)


def verify_script(root: str) -> str:
    """verify.py: runs the proof again, from the original."""
    return f'''"""Prove model.py against its torch original again, which needs torch and dsbridge.

python verify.py MODULE:FACTORY SHAPE ...     e.g. nets:resnet 2,3,64,64 (2,128:int64 for indices)
"""

import sys
from pathlib import Path

import dsbridge as dsb
from dsbridge.cli.live import made
from dsbridge.cli.verify import random_inputs

migrated = dsb.model.convert(made(sys.argv[1]), random_inputs(sys.argv[2:]))
if migrated.source != Path(__file__).with_name("model.py").read_text():
    sys.exit("the model is another one than {root} in model.py was written from")
report = migrated.verify()
print(report)
sys.exit(0 if report.ok else 1)
'''
