"""Processes of ours: they must find the dsbridge that starts them, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path


def environment(**more: str) -> dict[str, str]:
    """The environment of such a process, with ``more`` variables.

    >>> environment(GLOG_v="3")["GLOG_v"]
    '3'
    """
    home = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, **more, "PYTHONPATH": path}
