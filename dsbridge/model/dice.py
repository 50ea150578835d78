"""Random numbers of Python and numpy within a forward: a recording would hold those of one call for good."""

from __future__ import annotations

import torch

from dsbridge.errors import Unsupported
from dsbridge.frameworks.rng import RngState
from dsbridge.model.source import defined


def refuse_dice(before: RngState, path: str, module: torch.nn.Module) -> None:
    """Raise ``Unsupported`` for a module if numbers were drawn since ``before``, and put the generators back."""
    if before.is_current_beside_torch():
        return
    before.restore()
    text = "forward draws numbers from Python's or numpy's random, which are others each time"
    raise Unsupported(path, "random", defined(type(module)), text, "draw with torch.rand, and choose with torch.where")
