"""``import dsbridge`` is cheap: nothing heavy is imported and next to no time is spent."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "mindspore", "numpy", "pyarrow", "datasets", "ml_dtypes", "tqdm", "PIL")


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)


def test_import_loads_no_framework() -> None:
    """After ``import dsbridge``, touching errors and listing names, no heavy package is loaded."""
    code = f"import sys, dsbridge as dsb; dir(dsb); dsb.SampleError('x'); print([m for m in {HEAVY} if m in sys.modules])"
    assert python("-c", code).stdout == "[]\n"


def test_import_time_lists_no_framework() -> None:
    """-X importtime of ``import dsbridge`` names no heavy package either, not even one imported and dropped."""
    lines = python("-X", "importtime", "-c", "import dsbridge").stderr.splitlines()
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in lines}
    assert "dsbridge" in imported
    assert not imported & set(HEAVY)


def test_import_costs_less_than_50_ms() -> None:
    """``import dsbridge`` costs less than 50 ms over bare Python: the median of nine alternating pairs."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        python("-c", code)
        return time.perf_counter() - start

    seconds("import dsbridge")  # compiles it
    differences = [seconds("import dsbridge") - seconds("pass") for _ in range(9)]
    assert statistics.median(differences) < 0.050


def test_wrapping_a_list_loads_no_framework() -> None:
    """A list of numbers is wrapped without torch or mindspore: they are recognised, not imported."""
    code = (
        "import sys, dsbridge as dsb; dsb.wrap([(1.5, 2)])[0]; print([m for m in ('torch', 'mindspore') if m in sys.modules])"
    )
    assert python("-c", code).stdout == "[]\n"
