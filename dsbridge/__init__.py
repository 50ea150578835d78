"""dsbridge moves a PyTorch training setup to MindSpore without rewriting it.

Importing it is cheap: no torch, no mindspore, no numpy. Each public name is loaded on first use.

>>> import dsbridge as dsb
>>> dsb.wrap([(1.0, 0), (2.0, 1)]).column_names
['data', 'label']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> the module it lives in
_HOMES = {
    "wrap": "sources.wrap",
    "Schema": "schema.columns",
    "Column": "schema.columns",
    "Structure": "schema.structure",
    "DataLoader": "loader.dataloader",
    "LoaderStats": "loader.stats",
    "to_mindspore": "pipeline.to_mindspore",
    "plan": "pipeline.plan",
    "doctor": "environment.doctor",
    "Finding": "report",
    "Report": "report",
    "DsbridgeError": "errors",
    "SampleError": "errors",
    "SchemaError": "errors",
    "WorkerDiedError": "errors",
    "WorkerTimeoutError": "errors",
    "TransformError": "errors",
    "ModelError": "errors",
    "Unsupported": "errors",
    "MigrationError": "errors",
    "CheckpointError": "errors",
    "VerificationError": "errors",
    "UsageError": "errors",
    "MissingDependencyError": "errors",
}
_MODULES = ("checkpoint", "errors", "migrate", "model", "transforms")

__all__ = ["__version__", *_MODULES, *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"dsbridge.{name}")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'dsbridge' has no attribute {name!r}") from None
    value = getattr(importlib.import_module(f"dsbridge.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from dsbridge import checkpoint, errors, migrate, model, transforms
    from dsbridge.environment.doctor import doctor
    from dsbridge.errors import (
        CheckpointError,
        DsbridgeError,
        MigrationError,
        MissingDependencyError,
        ModelError,
        SampleError,
        SchemaError,
        TransformError,
        Unsupported,
        UsageError,
        VerificationError,
        WorkerDiedError,
        WorkerTimeoutError,
    )
    from dsbridge.loader.dataloader import DataLoader
    from dsbridge.loader.stats import LoaderStats
    from dsbridge.pipeline.plan import plan
    from dsbridge.pipeline.to_mindspore import to_mindspore
    from dsbridge.report import Finding, Report
    from dsbridge.schema.columns import Column, Schema
    from dsbridge.schema.structure import Structure
    from dsbridge.sources.wrap import wrap
