"""A checkpoint of any format into a live torch model, strictly: the other side of ``load``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.names import choose, normalise
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import torch_tensors
from dsbridge.frameworks.detect import require_torch
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup

_SHOWN = 20


def load_torch(path: str | os.PathLike[str] | Checkpoint, model: Any, *, key: str = "", trust: bool = False) -> Report:
    """Load a file's weights into a torch model by their names without wrappers' prefixes; nothing is cast or reshaped.

    ``key``, ``trust``: as for ``plan``. A tied weight may be in the file under one of its names only. Raises
    ``CheckpointError`` for missing and unexpected names, other shapes and dtypes, before anything is changed.
    """
    torch = require_torch("loading into a torch model")
    checkpoint = path if isinstance(path, Checkpoint) else open_checkpoint(Path(path), trust=trust)
    report = Report(f"{checkpoint.path}: loaded into {type(model).__name__}")
    state = model.state_dict()
    places = {clean: state[name] for name, clean in normalise(state, Report("model")).items()}
    held = choose(checkpoint, report, key)
    clean = normalise(held, report, places)
    tensors = {clean[name]: stored for name, stored in held.items()}
    tensors.pop("n_averaged", None)
    filled = {_identity(places[name]) for name in tensors if name in places}
    missing = [name for name, tensor in places.items() if _identity(tensor) not in filled and name not in tensors]
    unexpected = [name for name in tensors if name not in places]
    wrong = [
        f"{name} ({stored.dtype}{list(stored.shape)}, not {lookup(places[name].dtype).name}{list(places[name].shape)})"
        for name, stored in tensors.items()
        if name in places and (stored.dtype, stored.shape) != (lookup(places[name].dtype).name, tuple(places[name].shape))
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape or dtype", wrong))
    said = [f"{len(names)} {what}: {', '.join(names[:_SHOWN])}" for what, names in parts if names]
    if said:
        raise CheckpointError(
            f"{checkpoint.path} does not fit {type(model).__name__}: {'; '.join(said)}",
            missing=missing,
            unmatched=unexpected,
            hint="give the model that the file is of, or key= for the dict in it that is meant",
        )
    with torch.no_grad():
        for name, stored in tensors.items():
            places[name].copy_(torch_tensors.from_numpy(np.array(stored.read(), order="C")))
    return report


def _identity(tensor: Any) -> Any:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride() if tensor.numel() else id(tensor)
