"""Whole training setups: captured from an unmodified torch script, or from live objects; planned, written, replayed.

>>> import dsbridge as dsb
>>> dsb.migrate.TrainingSetup.__name__
'TrainingSetup'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "TrainingSetup": "setup",
    "capture": "watch",
    "plan": "setup_plan",
    "SetupPlan": "setup_plan",
    "SetupReport": "setup_report",
}

__all__ = ["SetupPlan", "SetupReport", "TrainingSetup", "capture", "plan"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dsbridge.migrate' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dsbridge.migrate.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from dsbridge.migrate.setup import TrainingSetup
    from dsbridge.migrate.setup_plan import SetupPlan, plan
    from dsbridge.migrate.setup_report import SetupReport
    from dsbridge.migrate.watch import capture
