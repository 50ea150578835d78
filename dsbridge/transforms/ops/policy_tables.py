"""What the augmentation policies choose from: the operations with their magnitudes, and AutoAugment's learned policies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dsbridge.transforms.ops.values import Frame
from dsbridge.transforms.ops.warp import even_steps


class Line(NamedTuple):
    """Magnitudes at even distances from 0 to ``end``, of a frame's size when ``of`` names it, with a random sign."""

    end: float
    of: str | None = None
    signed: bool = True

    def at(self, index: int, bins: int, frame: Frame, version: int) -> float:
        end: float = self.end * getattr(frame, self.of) if self.of else self.end
        return float(even_steps(0.0, end, bins)[index])


class Bits(NamedTuple):
    """The bits to keep, from 8 down to 8 - ``lost``."""

    lost: int
    signed: bool = False

    def at(self, index: int, bins: int, frame: Frame, version: int) -> float:
        return float(8 - np.round(np.float32(index) / np.float32((bins - 1) / self.lost)))


class Threshold(NamedTuple):
    """From white to black: 255 to 0 in torchvision.transforms, 1 to 0 in transforms.v2."""

    signed: bool = False

    def at(self, index: int, bins: int, frame: Frame, version: int) -> float:
        return float(even_steps(255.0 if version == 1 else 1.0, 0.0, bins)[index])


Magnitudes = Line | Bits | Threshold
Space = dict[str, Magnitudes | None]
"""Operations by name, in torchvision's order; None for one without magnitude."""


def _space(shear: float, shift_x: Line, shift_y: Line, turn: float, blend: float, lost: int) -> Space:
    blends: Space = dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), Line(blend))
    geometry: Space = {"ShearX": Line(shear), "ShearY": Line(shear), "TranslateX": shift_x, "TranslateY": shift_y}
    last: Space = {"Posterize": Bits(lost), "Solarize": Threshold(), "AutoContrast": None, "Equalize": None}
    return {"Identity": None, **geometry, "Rotate": Line(turn), **blends, **last}


RANDAUGMENT = _space(0.3, Line(150.0 / 331.0, "width"), Line(150.0 / 331.0, "height"), 30.0, 0.9, 4)
TRIVIALAUGMENT = _space(0.99, Line(32.0), Line(32.0), 135.0, 0.99, 6)
AUTOAUGMENT: Space = {**{name: found for name, found in RANDAUGMENT.items() if name != "Identity"}, "Invert": None}

Policy = tuple[tuple[str, float, int | None], ...]


def _policies(text: str) -> tuple[Policy, ...]:
    """Policies of two steps: operation, probability, and the index of its magnitude if it has one."""

    def step(words: str) -> tuple[str, float, int | None]:
        name, probability, *index = words.split()
        return name, float(probability), int(index[0]) if index else None

    return tuple(tuple(step(words) for words in line.split(",")) for line in text.strip().splitlines())


POLICIES = {
    "imagenet": _policies("""
        Posterize .4 8, Rotate .6 9
        Solarize .6 5, AutoContrast .6
        Equalize .8, Equalize .6
        Posterize .6 7, Posterize .6 6
        Equalize .4, Solarize .2 4
        Equalize .4, Rotate .8 8
        Solarize .6 3, Equalize .6
        Posterize .8 5, Equalize 1
        Rotate .2 3, Solarize .6 8
        Equalize .6, Posterize .4 6
        Rotate .8 8, Color .4 0
        Rotate .4 9, Equalize .6
        Equalize 0, Equalize .8
        Invert .6, Equalize 1
        Color .6 4, Contrast 1 8
        Rotate .8 8, Color 1 2
        Color .8 8, Solarize .8 7
        Sharpness .4 7, Invert .6
        ShearX .6 5, Equalize 1
        Color .4 0, Equalize .6
        Equalize .4, Solarize .2 4
        Solarize .6 5, AutoContrast .6
        Invert .6, Equalize 1
        Color .6 4, Contrast 1 8
        Equalize .8, Equalize .6
    """),
    "cifar10": _policies("""
        Invert .1, Contrast .2 6
        Rotate .7 2, TranslateX .3 9
        Sharpness .8 1, Sharpness .9 3
        ShearY .5 8, TranslateY .7 9
        AutoContrast .5, Equalize .9
        ShearY .2 7, Posterize .3 7
        Color .4 3, Brightness .6 7
        Sharpness .3 9, Brightness .7 9
        Equalize .6, Equalize .5
        Contrast .6 7, Sharpness .6 5
        Color .7 7, TranslateX .5 8
        Equalize .3, AutoContrast .4
        TranslateY .4 3, Sharpness .2 6
        Brightness .9 6, Color .2 8
        Solarize .5 2, Invert 0
        Equalize .2, AutoContrast .6
        Equalize .2, Equalize .6
        Color .9 9, Equalize .6
        AutoContrast .8, Solarize .2 8
        Brightness .1 3, Color .7 0
        Solarize .4 5, AutoContrast .9
        TranslateY .9 9, TranslateY .7 9
        AutoContrast .9, Solarize .8 3
        Equalize .8, Invert .1
        TranslateY .7 9, AutoContrast .9
    """),
    "svhn": _policies("""
        ShearX .9 4, Invert .2
        ShearY .9 8, Invert .7
        Equalize .6, Solarize .6 6
        Invert .9, Equalize .6
        Equalize .6, Rotate .9 3
        ShearX .9 4, AutoContrast .8
        ShearY .9 8, Invert .4
        ShearY .9 5, Solarize .2 6
        Invert .9, AutoContrast .8
        Equalize .6, Rotate .9 3
        ShearX .9 4, Solarize .3 3
        ShearY .8 8, Invert .7
        Equalize .9, TranslateY .6 6
        Invert .9, Equalize .6
        Contrast .3 3, Rotate .8 4
        Invert .8, TranslateY 0 2
        ShearY .7 6, Solarize .4 8
        Invert .6, Rotate .8 4
        ShearY .3 7, TranslateX .9 3
        ShearX .1 6, Invert .6
        Solarize .7 2, TranslateY .6 7
        ShearY .8 4, Invert .8
        ShearX .7 9, TranslateY .8 3
        ShearY .8 5, AutoContrast .7
        ShearX .7 2, Invert .1
    """),
}
"""AutoAugment's policies, as published; the magnitude's index is one of ten."""
