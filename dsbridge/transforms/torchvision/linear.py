"""torchvision's LinearTransformation."""

from __future__ import annotations

from typing import Any

from dsbridge.transforms.ops.linear import LinearTransformation
from dsbridge.transforms.torchvision.names import both


def _linear(original: Any) -> LinearTransformation:
    return LinearTransformation(*(t.detach().cpu().numpy() for t in (original.transformation_matrix, original.mean_vector)))


FOREIGN = both("LinearTransformation", "_misc", _linear)
