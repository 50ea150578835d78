"""torchvision's pipelines as MindSpore's: read, drawn by our own generator, run by kernels proven equal.

>>> import numpy as np
>>> from dsbridge.transforms import ops
>>> t = translate([ops.RandomHorizontalFlip(p=1.0), ops.ToTensor()])
>>> t(np.zeros((4, 6, 3), np.uint8)).shape
(3, 4, 6)
"""

from __future__ import annotations

from dsbridge.transforms import ops
from dsbridge.transforms.catalog import register
from dsbridge.transforms.lint import lint
from dsbridge.transforms.table import TransformReport
from dsbridge.transforms.translation import Translation, translate

__all__ = ["TransformReport", "Translation", "lint", "ops", "register", "translate"]
