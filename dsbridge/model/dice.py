"""Random numbers of Python and numpy within a forward: a recording would hold those of one call for good."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from dsbridge.errors import Unsupported
from dsbridge.model.source import defined


class Dice:
    """The global generators as they are when it is made."""

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy: Any = np.random.get_state()

    def refuse(self, path: str, module: torch.nn.Module) -> None:
        """Raise ``Unsupported`` for a module if numbers were drawn since, and put the generators back."""
        now: Any = np.random.get_state()
        if random.getstate() == self._python and now[2:] == self._numpy[2:] and np.array_equal(now[1], self._numpy[1]):
            return
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        text = "forward draws numbers from Python's or numpy's random, which are others each time"
        raise Unsupported(path, "random", defined(type(module)), text, "draw with torch.rand, and choose with torch.where")
