"""Contenders' processes find the test contenders; nothing of a benchmark may run longer than a minute."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def contenders_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put bench_contenders on the path of the processes that are started."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")])))
