"""Checkpoints of torch and MindSpore: read without running anything, planned, converted as streams, proven.

>>> import json, tempfile
>>> header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
>>> with tempfile.NamedTemporaryFile() as file:
...     _ = file.write(len(header).to_bytes(8, "little") + header + bytes(4)); file.flush()
...     inspect(file.name).format
'safetensors'
"""

from __future__ import annotations

from dsbridge.checkpoint.audit import audit
from dsbridge.checkpoint.compare import compare
from dsbridge.checkpoint.convert import convert, plan
from dsbridge.checkpoint.forward import verify
from dsbridge.checkpoint.inspect import inspect
from dsbridge.checkpoint.load import load
from dsbridge.checkpoint.load_torch import load_torch
from dsbridge.checkpoint.optimizer import convert_optimizer
from dsbridge.checkpoint.optimizer_back import optimizer_to_torch
from dsbridge.checkpoint.scaler import convert_scaler, scaler_to_torch
from dsbridge.checkpoint.scheduler import convert_scheduler
from dsbridge.checkpoint.scheduler_back import scheduler_to_torch
from dsbridge.checkpoint.sidecar import capture, read_sidecar, restore, write_sidecar

__all__ = [
    "audit",
    "capture",
    "compare",
    "convert",
    "convert_optimizer",
    "convert_scaler",
    "convert_scheduler",
    "inspect",
    "load",
    "load_torch",
    "optimizer_to_torch",
    "plan",
    "read_sidecar",
    "restore",
    "scaler_to_torch",
    "scheduler_to_torch",
    "verify",
    "write_sidecar",
]
