"""What is known to go wrong with MindSpore's own operations: one rule a trap, each looking at one operation.

The numbers are measurements on MindSpore 2.10 (CPU); tests/traps/test_random_operations.py measures those of the random
operations again, and fails where a MindSpore has mended one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbridge.report import Finding

NATIVE, PYTHON, EITHER = "native", "python", "either"


@dataclass(frozen=True, slots=True)
class Place:
    """One operation where it stands, with what is known about it there without running it.

    ``mode``: NATIVE (C++), PYTHON (PIL), or EITHER inside a Python function. ``previous``: the mode it would get by its
    place. ``eager``: built anew for every call. ``scale`` of the values before it: see ``rescaled``. ``gates``: the
    containers that run it for some rows only. ``nested``: in any container. ``map``: number of its map, 0 without one;
    ``workers``: that map's, 0 where unknown. ``seeded``: ``mindspore.dataset.config`` has a seed.
    """

    op: Any
    name: str
    where: str
    mode: str = NATIVE
    previous: str = NATIVE
    eager: bool = False
    scale: str = "raw"
    gates: tuple[Any, ...] = ()
    nested: bool = False
    map: int = 0
    workers: int = 0
    processes: bool = False
    columns: int = 1
    seeded: bool = False

    def finding(self, code: str, severity: str, message: str, hint: str) -> Finding:
        """A finding at this place."""
        return Finding(code, severity, self.where, message, hint)


Rule = Callable[[Place], Iterator[Finding]]

OWN_SAMPLER = "dsbridge.transforms.translate draws torchvision's parameters and runs kernels proven equal"
_TO_PIL = "put ToPIL() before it, so that Pillow does it as for torchvision"


@dataclass(frozen=True, slots=True)
class Advice:
    """A finding that needs no more than the operation's name and mode (EITHER: whatever the mode)."""

    mode: str
    code: str
    severity: str
    message: str
    hint: str = OWN_SAMPLER


_BIASED = "draws its operations with a bias: AutoContrast {} of the time (torchvision .071), positive signs twice as often"
_BOXES = "writes the new boxes into the arrays that the dataset returned: cached annotations change from epoch to epoch"
_COPY = "return copies from the dataset"
_ADVICE: dict[str, Advice] = {
    "CenterCrop": Advice(
        NATIVE, "centre-crop", "warning", "is 1 pixel off from torchvision's where (height - size) % 4 == 3, or width", _TO_PIL
    ),
    "Equalize": Advice(NATIVE, "equalize", "warning", "differs from Pillow's in 72 to 93 % of pixels, by up to 49", _TO_PIL),
    "RandomEqualize": Advice(NATIVE, "equalize", "warning", "differs from Pillow's in 72 to 93 % of pixels, by up to 49"),
    "RandomAffine": Advice(
        PYTHON, "affine-pil", "error", "on PIL images shifts wrongly and ignores fill_value, whatever the settings"
    ),
    "RandAugment": Advice(EITHER, "biased-policy", "warning", _BIASED.format(".130")),
    "TrivialAugmentWide": Advice(EITHER, "biased-policy", "warning", _BIASED.format(".140")),
    "RandomErasing": Advice(
        EITHER, "erasing-law", "warning", "draws the aspect uniformly: median height/width .59, torchvision's is 1.00"
    ),
    "RandomPosterize": Advice(
        EITHER, "name-trap", "warning", "draws the number of bits; torchvision's namesake draws whether to act"
    ),
    "RandomSolarize": Advice(
        EITHER, "name-trap", "warning", "draws the threshold; torchvision's namesake draws whether to act"
    ),
    "RandomResize": Advice(EITHER, "name-trap", "warning", "draws the interpolation; torchvision's namesake draws the size"),
    "RandomHorizontalFlipWithBBox": Advice(EITHER, "bbox-mutates", "warning", _BOXES, _COPY),
    "RandomVerticalFlipWithBBox": Advice(EITHER, "bbox-mutates", "warning", _BOXES, _COPY),
    "ResizeWithBBox": Advice(EITHER, "bbox-mutates", "warning", _BOXES, _COPY),
    "RandomResizeWithBBox": Advice(EITHER, "bbox-mutates", "warning", _BOXES, _COPY),
    "RandomResizedCropWithBBox": Advice(EITHER, "bbox-mutates", "warning", _BOXES, _COPY),
    "RandomOrder": Advice(
        EITHER,
        "order-shuffle",
        "warning",
        "shuffles its own list in place, and the caller's: two threads disturb each other, and the list stays shuffled",
    ),
}


def _advice(place: Place) -> Iterator[Finding]:
    advice = _ADVICE.get(place.name)
    if advice and advice.mode in (EITHER, place.mode):
        yield place.finding(advice.code, advice.severity, f"{place.name} {advice.message}", advice.hint)


_RESIZING = {
    "Resize",
    "ResizedCrop",
    "ResizeWithBBox",
    "RandomResizedCrop",
    "RandomResizedCropWithBBox",
    "RandomCropDecodeResize",
}


def interpolation(op: Any) -> str:
    """The name of an operation's interpolation, under either of MindSpore's two names for it; "" without one."""
    return str(getattr(getattr(op, "interpolation", getattr(op, "resample", None)), "name", ""))


def is_flexible(op: Any, name: str) -> bool:
    """Whether an operation takes its mode from where it stands alone, and remembers it ever after."""
    settled = (
        name in ("Decode", "ToTensor")
        or bool(getattr(op, "transforms", ()))
        or interpolation(op) in ("AREA", "PILCUBIC", "ANTIALIAS")
    )
    return not settled and hasattr(op, "parse") and hasattr(op, "_execute_py")


def _no_antialias(place: Place) -> Iterator[Finding]:
    how = interpolation(place.op)
    if place.name in _RESIZING and place.mode == NATIVE and how in ("BILINEAR", "LINEAR", "BICUBIC", "CUBIC"):
        yield place.finding(
            "no-antialias",
            "warning",
            f"{place.name} with {how} does not antialias: made smaller, 57 to 81 % of pixels differ from torchvision's, to 130",
            f"{_TO_PIL}; or take Inter.PILCUBIC, the native kernel that antialiases",
        )


def _rotation(place: Place) -> Iterator[Finding]:
    if place.name == "RandomRotation" and not any(place.op.degrees):
        yield place.finding(
            "rotation-360",
            "error",
            "RandomRotation never rotates: MindSpore takes a number of degrees modulo 360, so 360 is 0",
            "give the range: RandomRotation((-180, 180))",
        )


def _colour(place: Place) -> Iterator[Finding]:
    if place.name != "RandomColorAdjust" or place.mode != PYTHON:
        return
    message = "RandomColorAdjust on PIL images goes through HSV even without hue: 30 % of pixels change, by up to 7 and more"
    raises = place.op.hue[0] < 0 and int(np.__version__.split(".")[0]) >= 2
    if raises:
        message += "; with numpy 2 every negative hue raises OverflowError"
    yield place.finding("colour-adjust-pil", "error" if raises else "warning", message, OWN_SAMPLER)


def rescaled(op: Any, name: str, scale: str) -> str:
    """How the values are scaled after an operation.

    "raw": as the source gives them, "255": 0..255, "unit": 0..1, "normalised", "unknown".
    """
    if name in ("Decode", "RandomCropDecodeResize", "ToPIL"):
        return "255"
    if name == "ToTensor":
        return "unit"
    if name == "Rescale":
        return "unit" if op.shift == 0 and abs(op.rescale * 255 - 1) < 0.01 else "normalised"
    if name in ("Normalize", "NormalizePad"):
        mean, std = np.ravel(op.mean), np.ravel(op.std)
        if mean.any():
            return "normalised"
        return scale if (std == 1).all() else "unit" if (std >= 254).all() else "normalised"
    return scale


def _normalize_order(place: Place) -> Iterator[Finding]:
    if place.name not in ("Normalize", "NormalizePad"):
        return
    mean, std = np.ravel(place.op.mean), np.ravel(place.op.std)
    small = bool((mean <= 1).all() and (std <= 1).all() and (std != 1).any())
    if small and place.scale in ("raw", "255"):
        yield place.finding(
            "normalize-order",
            "error" if place.scale == "255" else "warning",
            f"{place.name} has mean and std for 0..1, but no operation before it has scaled the image from 0..255",
            "put Normalize([0] * 3, [255] * 3) before it, which gives torchvision's ToTensor to the bit",
        )
    if place.scale == "unit" and ((mean > 1).any() or (std > 1).any()):
        yield place.finding(
            "normalize-order",
            "error",
            f"{place.name} has mean and std for 0..255, but the values are 0..1 already",
            "divide mean and std by 255, or leave out what scales before",
        )


def _totensor(place: Place) -> Iterator[Finding]:
    if place.name == "ToTensor" and place.scale in ("unit", "normalised"):
        yield place.finding(
            "totensor-range",
            "error",
            "ToTensor divides by 255 whatever it gets, and these values are scaled already: torchvision's leaves floats alone",
            "take HWC2CHW()",
        )


def _erase(place: Place) -> Iterator[Finding]:
    if place.name == "Erase" and place.op.inplace:
        message = "Erase(inplace=True) writes into the arrays that the dataset returned, for good"
        yield place.finding("bbox-mutates", "warning", message, "take inplace=False")


def _masks(place: Place) -> Iterator[Finding]:
    if place.columns < 2:
        return
    if place.name == "Resize":
        message = "Resize takes one column; with several the pipeline fails when it runs"
        yield place.finding("mask-interpolation", "error", message, "one map a column, with Inter.NEAREST for class masks")
    elif place.name == "RandomResize" or (place.name == "RandomResizedCrop" and interpolation(place.op) != "NEAREST"):
        yield place.finding(
            "mask-interpolation",
            "warning",
            f"{place.name} interpolates all {place.columns} columns alike: a mask of 0 and 7 comes out with 3 and 5 too",
            "take Inter.NEAREST, or dsbridge's operations, which take masks as masks",
        )


RULES: tuple[Rule, ...] = (
    _advice,
    _no_antialias,
    _rotation,
    _colour,
    _normalize_order,
    _totensor,
    _erase,
    _masks,
)
