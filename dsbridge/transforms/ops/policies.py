"""Augmentation policies on PIL images: RandAugment, TrivialAugment and AutoAugment.

Their parameters are the chosen operations in turn, each with its magnitude. The three share their settings ``interpolation``
and ``fill``, of warps, and ``version``: torchvision's transforms (1) and transforms.v2 (2) round warps differently, and count
Solarize's threshold from 255 or from 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.transforms.ops import pil_colour
from dsbridge.transforms.ops.affine import affine
from dsbridge.transforms.ops.policy_tables import AUTOAUGMENT, POLICIES, RANDAUGMENT, TRIVIALAUGMENT, Magnitudes, Space
from dsbridge.transforms.ops.rotate import rotate
from dsbridge.transforms.ops.values import Array, Boxes, Fill, Frame
from dsbridge.transforms.ops.warp import Point, check_interpolation, check_version

Act = tuple[str, float]
"""An operation's name and magnitude, signed; 0.0 where it has none."""


@dataclass(frozen=True, slots=True)
class RandAugment:
    """Do ``num_ops`` operations drawn from fourteen, all with the magnitude of index ``magnitude``.

    >>> op = RandAugment(num_ops=1)
    >>> op.draw(np.random.default_rng(2), Frame(32, 32, 3))
    (('Solarize', 178.5),)
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    num_ops: int = 2
    magnitude: int = 9
    num_magnitude_bins: int = 31
    interpolation: str = "nearest"
    fill: Fill = 0
    version: int = 1

    def __post_init__(self) -> None:
        _check_policy(self, self.num_magnitude_bins)
        if self.num_ops < 0:
            raise TransformError(f"num_ops is 0 or more, got {self.num_ops}. Hint: 2 is usual")
        if not 0 <= self.magnitude < self.num_magnitude_bins:
            raise TransformError(
                f"magnitude is an index below num_magnitude_bins = {self.num_magnitude_bins}, got {self.magnitude}. "
                "Hint: raise num_magnitude_bins, too"
            )

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Act, ...]:
        names = [_pick(rng, RANDAUGMENT) for _ in range(self.num_ops)]
        return tuple(
            _act(rng, name, RANDAUGMENT[name], self.magnitude, self.num_magnitude_bins, frame, self.version) for name in names
        )

    def pil(self, image: Any, *acts: Act) -> Any:
        return _perform(self, image, acts)

    def boxes(self, boxes: Boxes, *acts: Act) -> Boxes:
        _refuse(self, "boxes")

    def mask(self, mask: Array, *acts: Act) -> Array:
        _refuse(self, "masks")


@dataclass(frozen=True, slots=True)
class TrivialAugmentWide:
    """Do one operation drawn from fourteen, with a magnitude drawn from ``num_magnitude_bins``.

    >>> TrivialAugmentWide().draw(np.random.default_rng(2), Frame(32, 32, 3))
    (('Solarize', 187.0),)
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    num_magnitude_bins: int = 31
    interpolation: str = "nearest"
    fill: Fill = 0
    version: int = 1

    def __post_init__(self) -> None:
        _check_policy(self, self.num_magnitude_bins)

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Act, ...]:
        name, index = _pick(rng, TRIVIALAUGMENT), int(rng.integers(self.num_magnitude_bins))
        return (_act(rng, name, TRIVIALAUGMENT[name], index, self.num_magnitude_bins, frame, self.version),)

    def pil(self, image: Any, *acts: Act) -> Any:
        return _perform(self, image, acts)

    def boxes(self, boxes: Boxes, *acts: Act) -> Boxes:
        _refuse(self, "boxes")

    def mask(self, mask: Array, *acts: Act) -> Array:
        _refuse(self, "masks")


@dataclass(frozen=True, slots=True)
class AutoAugment:
    """Follow one of the 25 learned policies of ``policy`` ("imagenet", "cifar10", "svhn"): two steps, each with its chance.

    >>> AutoAugment("svhn").draw(np.random.default_rng(0), Frame(32, 32, 3))
    (('ShearY', -0.13333334028720856), ('Invert', 0.0))
    """

    EXACT: ClassVar[tuple[str, ...]] = ("pil",)

    policy: str = "imagenet"
    interpolation: str = "nearest"
    fill: Fill = 0
    version: int = 1

    def __post_init__(self) -> None:
        _check_policy(self)
        if self.policy not in POLICIES:
            raise TransformError(f"there is no policy {self.policy!r}. Hint: it is one of {', '.join(POLICIES)}")

    def draw(self, rng: np.random.Generator, frame: Frame) -> tuple[Act, ...]:
        steps = POLICIES[self.policy][rng.integers(len(POLICIES[self.policy]))]
        chosen = [(name, index) for name, chance, index in steps if rng.random() <= chance]
        return tuple(_act(rng, name, AUTOAUGMENT[name], index or 0, 10, frame, self.version) for name, index in chosen)

    def pil(self, image: Any, *acts: Act) -> Any:
        return _perform(self, image, acts)

    def boxes(self, boxes: Boxes, *acts: Act) -> Boxes:
        _refuse(self, "boxes")

    def mask(self, mask: Array, *acts: Act) -> Array:
        _refuse(self, "masks")


def _check_policy(op: Any, bins: int = 2) -> None:
    check_interpolation(op.interpolation)
    check_version(op.version)
    if bins < 2:
        raise TransformError(f"num_magnitude_bins is 2 or more, got {bins}. Hint: 31 is usual")


def _pick(rng: np.random.Generator, space: Space) -> str:
    return tuple(space)[rng.integers(len(space))]


def _act(
    rng: np.random.Generator, name: str, found: Magnitudes | None, index: int, bins: int, frame: Frame, version: int
) -> Act:
    if found is None:
        return name, 0.0
    magnitude = found.at(index, bins, frame, version)
    return name, -magnitude if found.signed and rng.random() < 0.5 else magnitude


def _perform(op: Any, image: Any, acts: tuple[Act, ...]) -> Any:
    if image.mode not in ("RGB", "L"):
        raise TransformError(
            f"{type(op).__name__} takes PIL images of mode RGB and L, got {image.mode}. Hint: convert('RGB') before"
        )
    for name, magnitude in acts:
        image = _KERNELS[name](image, magnitude, op)
    return image


def _shear(image: Any, shear: Point, op: Any) -> Any:
    return affine(image, 0.0, (0, 0), 1.0, shear, op.interpolation, op.fill, (0, 0), op.version)


def _translated(image: Any, shift: tuple[int, int], op: Any) -> Any:
    return affine(image, 0.0, shift, 1.0, (0.0, 0.0), op.interpolation, op.fill, None, op.version)


_KERNELS: dict[str, Callable[[Any, float, Any], Any]] = {
    "Identity": lambda image, magnitude, op: image,
    "ShearX": lambda image, magnitude, op: _shear(image, (math.degrees(math.atan(magnitude)), 0.0), op),
    "ShearY": lambda image, magnitude, op: _shear(image, (0.0, math.degrees(math.atan(magnitude))), op),
    "TranslateX": lambda image, magnitude, op: _translated(image, (int(magnitude), 0), op),
    "TranslateY": lambda image, magnitude, op: _translated(image, (0, int(magnitude)), op),
    "Rotate": lambda image, magnitude, op: rotate(image, magnitude, op.interpolation, op.fill),
    "Brightness": lambda image, magnitude, op: pil_colour.brightness(image, 1.0 + magnitude),
    "Color": lambda image, magnitude, op: pil_colour.saturation(image, 1.0 + magnitude),
    "Contrast": lambda image, magnitude, op: pil_colour.contrast(image, 1.0 + magnitude),
    "Sharpness": lambda image, magnitude, op: pil_colour.sharpness(image, 1.0 + magnitude),
    "Posterize": lambda image, magnitude, op: pil_colour.posterize(image, int(magnitude)),
    "Solarize": lambda image, magnitude, op: pil_colour.solarize(image, magnitude if op.version == 1 else 255.0 * magnitude),
    "AutoContrast": lambda image, magnitude, op: pil_colour.autocontrast(image),
    "Equalize": lambda image, magnitude, op: pil_colour.equalize(image),
    "Invert": lambda image, magnitude, op: pil_colour.invert(image),
}


def _refuse(op: Any, what: str) -> NoReturn:
    raise TransformError(
        f"{type(op).__name__} cannot move {what} along with the image, and torchvision's refuses them, too. "
        f"Hint: apply it to images alone, or take operations that move {what}, such as RandomAffine with ColorJitter"
    )
