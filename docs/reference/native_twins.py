"""What MindSpore 2.10 has under the names of torchvision's transforms, and why it is not used: measured on its CPU wheel.

C++: its kernels on arrays (OpenCV's). PIL: its kernels on PIL images, which run in Python. tests/traps/ holds the worst of it.
"""

from __future__ import annotations

_SEED = "shares its seed with other random operations of the map (lint: shared-seed)"

TWINS = {
    "AutoAugment": "AutoAugment (C++): other kernels (Equalize up to 49 off, shear by another formula)",
    "CenterCrop": "CenterCrop: C++ rounds down, 1 pixel off where (H - h) % 4 == 3; PIL: no padding as torchvision pads",
    "ColorJitter": f"RandomColorAdjust: C++ up to 14 off; PIL always runs the hue step and fails on numpy 2; {_SEED}",
    "ConvertImageDtype": "ToTensor (C++) multiplies, v1 divides: 126 of 256 values differ by 6e-8",
    "CutMix": "CutMixBatch: a box per sample, partners at random, never an empty box",
    "FiveCrop": "FiveCrop (PIL): equal, but as Python; returns a tuple",
    "GaussianBlur": "GaussianBlur (C++): up to 2 off, sigma is fixed instead of drawn",
    "Grayscale": "Grayscale (PIL): equal, but as Python; C++ ConvertColor 1 off",
    "LinearTransformation": "LinearTransformation: 1.2e-7 off",
    "MixUp": "MixUpBatch: partners at random, keeps uint8; MixUp: a weight per sample, float64",
    "Normalize": "Normalize: equal, and used where a pipeline has no Python stage",
    "PILToTensor": "HWC2CHW: equal, and used where a pipeline has no Python stage",
    "Pad": "Pad: equal for 1 or 3 channels; a Python stage is there in any case",
    "RGB": "ConvertColor(COLOR_GRAY2RGB): equal for 1 channel",
    "RandAugment": "RandAugment (C++): the first operation comes twice as often, signs 2:1",
    "RandomAdjustSharpness": f"RandomAdjustSharpness (C++): 1 off; {_SEED}",
    "RandomAffine": "RandomAffine: PIL is wrong (centre, dy, fill); C++ does not round translations",
    "RandomApply": f"RandomApply: {_SEED}",
    "RandomAutocontrast": f"RandomAutoContrast: C++ 1 off; {_SEED}",
    "RandomChoice": f"RandomChoice: no weights; {_SEED}",
    "RandomCrop": f"RandomCrop: equal kernel; {_SEED}: the CIFAR recipe's flip is decided by the crop's row",
    "RandomEqualize": f"RandomEqualize: C++ up to 49 off; {_SEED}",
    "RandomErasing": "RandomErasing: draws the aspect uniformly, torchvision log-uniformly",
    "RandomGrayscale": "RandomGrayscale (PIL): equal kernel, as Python, not reproducible with two threads",
    "RandomHorizontalFlip": f"RandomHorizontalFlip: equal kernel; {_SEED}",
    "RandomInvert": f"RandomInvert: equal on uint8, wrong on floats; {_SEED}",
    "RandomOrder": "RandomOrder: shuffles a list that threads share, runs children eagerly, each time from one seed",
    "RandomPerspective": "RandomPerspective (PIL): single pixels up to 255 off, no fill, another interpolation",
    "RandomPosterize": "RandomPosterize: another operation, it draws the bits",
    "RandomResize": "RandomResize: another operation, it draws the interpolation",
    "RandomResizedCrop": "RandomResizedCrop: 1 pixel off in 25 % of draws; C++ does not antialias (130 off; policy native)",
    "RandomRotation": "RandomRotation: degrees=360 never turns; C++ bilinear up to 124 off; PIL fails on grey images",
    "RandomSolarize": "RandomSolarize: another operation, it draws the threshold",
    "RandomVerticalFlip": f"RandomVerticalFlip: equal kernel; {_SEED}",
    "Resize": "Resize: C++ does not antialias (up to 130 off; policy native); PIL 1 pixel off for 29 of 56,844 shapes",
    "TenCrop": "TenCrop (PIL): equal, but as Python; returns a tuple",
    "ToDtype": "ToTensor (C++): equal for float32 with scale=True, and used where a pipeline has no Python stage",
    "ToImage": "HWC2CHW: equal",
    "ToPILImage": "ToPIL: equal on uint8, refuses floats",
    "ToTensor": "ToTensor: multiplies where torchvision divides (126 of 256 values off by 6e-8); Normalize(0, 255) is equal",
    "TrivialAugmentWide": "TrivialAugmentWide (C++): the same bias as RandAugment",
}
