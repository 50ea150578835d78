"""Live torch models as readable MindSpore source, with weights and a proof.

>>> import torch, dsbridge as dsb
>>> migrated = dsb.model.convert(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), torch.randn(4, 3))
>>> print(migrated.source.partition("class ")[2])
Sequential(nn.SequentialCell):  # from modules/container.py...
    def __init__(self):
        super().__init__(nn.Dense(3, 2), nn.ReLU())
<BLANKLINE>
"""

from __future__ import annotations

from dsbridge.errors import Unsupported
from dsbridge.model.code import code
from dsbridge.model.construct import Refused
from dsbridge.model.extend import cell, register
from dsbridge.model.migrated import MigratedModel, convert

__all__ = ["MigratedModel", "Refused", "Unsupported", "cell", "code", "convert", "register"]
