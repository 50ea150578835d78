"""Import torchvision beside a CPU-only torch, whose registry lacks two operators that torchvision asks for at import.

Only for tests and examples; the package itself never imports torchvision.
"""

from __future__ import annotations

import torch

_LIBRARY = torch.library.Library("torchvision", "DEF")  # the operators live as long as this object
for _name in ("nms", "qnms"):
    _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision import transforms as v1  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import _presets as presets  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

__all__ = ["presets", "tv_tensors", "v1", "v2"]
