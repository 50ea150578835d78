"""Samples as users nest them: where the image is, which leaves are boxes and masks, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.frameworks import torch_tensors
from dsbridge.frameworks.detect import is_instance, loaded
from dsbridge.schema.structure import Structure
from dsbridge.transforms.images import from_array
from dsbridge.transforms.ops.values import Array, Boxes
from dsbridge.transforms.stage import Sample, describe

_TV = "torchvision.tv_tensors"


def to_tv_tensors(boxes: list[Boxes], masks: list[Array]) -> tuple[list[Any], list[Any]]:
    """Boxes and masks as torchvision's; it is loaded, because one of its transforms is about to run."""
    torch, tv = loaded("torch"), loaded(_TV)
    if torch is None or tv is None:
        raise TransformError("boxes and masks go with torchvision's v2 transforms only")
    theirs = [tv.BoundingBoxes(torch.from_numpy(box.array.copy()), format=box.format, canvas_size=box.canvas) for box in boxes]
    return theirs, [tv.Mask(torch.from_numpy(np.array(mask))) for mask in masks]


class Unpacked:
    """A sample taken apart: ``sample`` to run operations on, and ``pack`` to put the result where it came from.

    Leaves: a PIL image or torchvision Image is the image; without one, the first tensor or array is. torchvision's
    BoundingBoxes and Masks are boxes and masks; everything else passes through unchanged.
    """

    def __init__(self, sample: Any, kind: str) -> None:
        self.structure = Structure.of(sample)
        self.leaves = self.structure.flatten(sample)
        roles = [_role(leaf) for leaf in self.leaves]
        images = [at for at, role in enumerate(roles) if role == "image"]
        images = images or [at for at, role in enumerate(roles) if role == "array"][:1]
        if len(images) != 1:
            found = f"{len(images)} images" if images else "no image"
            raise TransformError(f"{found} in the sample {describe(sample)}. Hint: pass one image, or a sample with one")
        self.image_at = images[0]
        self.box_at = [at for at, role in enumerate(roles) if role == "boxes"]
        self.mask_at = [at for at, role in enumerate(roles) if role == "mask"]
        boxes = [_boxes(self.leaves[at]) for at in self.box_at]
        masks = [_array(self.leaves[at]) for at in self.mask_at]
        self.sample = Sample(to_image(self.leaves[self.image_at], kind), boxes, masks)

    def pack(self, image: Any) -> Any:
        """The user's sample again, with the image given and the sample's targets as arrays."""
        leaves = list(self.leaves)
        leaves[self.image_at] = image
        for at, boxes in zip(self.box_at, self.sample.boxes, strict=True):
            leaves[at] = boxes.array
        for at, mask in zip(self.mask_at, self.sample.masks, strict=True):
            leaves[at] = mask
        return self.structure.unflatten(leaves)


def _role(leaf: Any) -> str:
    if hasattr(leaf, "getbands") or is_instance(leaf, f"{_TV}._image.Image"):
        return "image"
    if is_instance(leaf, f"{_TV}._bounding_boxes.BoundingBoxes") or isinstance(leaf, Boxes):
        return "boxes"
    if is_instance(leaf, f"{_TV}._mask.Mask"):
        return "mask"
    return "array" if isinstance(leaf, np.ndarray) or torch_tensors.is_tensor(leaf) else "other"


def _boxes(leaf: Any) -> Boxes:
    if isinstance(leaf, Boxes):
        return leaf
    return Boxes(torch_tensors.to_numpy(leaf), leaf.format.value, (int(leaf.canvas_size[0]), int(leaf.canvas_size[1])))


def _array(leaf: Any) -> Array:
    return leaf if isinstance(leaf, np.ndarray) else torch_tensors.to_numpy(leaf)


def to_image(value: Any, kind: str) -> Any:
    """A user's image as operations take it: PIL images and tensors as they are, arrays as ``from_array`` reads them.

    >>> to_image(np.zeros((5, 7, 3), np.uint8), "uint8").shape
    (3, 5, 7)
    """
    if hasattr(value, "getbands"):
        return value
    return torch_tensors.to_numpy(value) if torch_tensors.is_tensor(value) else from_array(np.asarray(value), kind)
