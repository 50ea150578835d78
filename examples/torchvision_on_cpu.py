"""Import torchvision beside a CPU-only torch: its wheel expects two operators that only its own CUDA build brings.

dsbridge never imports torchvision; where your torchvision imports by itself, you do not need this file.
"""

from __future__ import annotations

import torch

LIBRARY = torch.library.Library("torchvision", "DEF")  # the operators live as long as this object
for _name in ("nms", "qnms"):
    LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
