"""Boxes and masks under geometric operations: bit-equal to torchvision v2's in every format and dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import chw, draws_of, same
from torchvision_shim import tv_tensors, v2

from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import qualified
from dsbridge.transforms.ops.values import Boxes, frame_of
from dsbridge.transforms.stage import Sample, apply

TRANSFORMS = {
    "flip left and right": lambda: v2.RandomHorizontalFlip(1.0),
    "flip top and bottom": lambda: v2.RandomVerticalFlip(1.0),
    "resize": lambda: v2.Resize((31, 90)),
    "resize exact": lambda: v2.Resize(57, "nearest-exact"),
    "resize longest": lambda: v2.Resize(None, max_size=99),
    "resize not": lambda: v2.Resize((61, 83)),
    "center": lambda: v2.CenterCrop((20, 31)),
    "center of smaller": lambda: v2.CenterCrop((66, 92)),
    "center of both": lambda: v2.CenterCrop((98, 20)),
    "pad": lambda: v2.Pad((1, 2, 3, 4), 5),
    "pad less": lambda: v2.Pad((-10, 2, 3, -14)),
    "crop": lambda: v2.RandomCrop((20, 31)),
    "crop padded": lambda: v2.RandomCrop((50, 60), padding=[9, 8, 7, 6], fill=3),
    "crop if needed": lambda: v2.RandomCrop((70, 60), pad_if_needed=True),
    "crop not": lambda: v2.RandomCrop((61, 83)),
    "resized crop": lambda: v2.RandomResizedCrop((30, 41)),
    "resized crop exact": lambda: v2.RandomResizedCrop((30, 41), interpolation="nearest-exact"),
    "random resize": lambda: v2.RandomResize(20, 90),
    "shortest": lambda: v2.RandomShortestSize([20, 90]),
    "jitter": lambda: v2.ScaleJitter((80, 80), interpolation="nearest-exact"),
    "zoom out": lambda: v2.RandomZoomOut(7, p=1.0),
}


def boxes_of(form: str, dtype: str, seed: int) -> Boxes:
    """Twenty boxes on a canvas of 61 x 83: inside, at the edges, beyond them, and of no area."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, [70, 50], (20, 2))
    xyxy = np.concatenate([low, np.minimum(low + rng.uniform(0, 40, (20, 2)), [83, 61])], 1)
    xyxy[0], xyxy[1], xyxy[2], xyxy[3] = (0, 0, 83, 61), (5, 5, 5, 5), (-3, -4, 90, 70), (83, 61, 83, 61)
    x1, y1, x2, y2 = xyxy.T
    made = {"XYXY": xyxy.T, "XYWH": (x1, y1, x2 - x1, y2 - y1), "CXCYWH": ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)}
    return Boxes(np.stack(made[form], 1).astype(dtype), form, (61, 83))


def reference(original, params):
    pin = find(qualified(original)).pin
    return original if pin is None else pin(original, params)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("form", ["XYXY", "XYWH", "CXCYWH"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_boxes_and_masks(name: str, form: str, dtype: str) -> None:
    original = TRANSFORMS[name]()
    op = find(qualified(original)).read(original)
    image = chw(0)
    masks = np.random.default_rng(1).integers(0, 200, (3, 61, 83))
    many = draws_of(op, frame_of(image), 8) if hasattr(op, "draw") else [()]
    for number, params in enumerate(many):
        boxes = boxes_of(form, dtype, number)
        given = (
            tv_tensors.Image(torch.from_numpy(image)),
            tv_tensors.BoundingBoxes(torch.from_numpy(boxes.array), format=form, canvas_size=boxes.canvas),
            tv_tensors.Mask(torch.from_numpy(masks.astype(("uint8", "int64", "bool")[number % 3]))),
        )
        kept, mask_kept = boxes.array.copy(), given[2].numpy().copy()
        image_out, boxes_out, mask_out = reference(original, params)(*given)
        ours = op.boxes(boxes, *params)
        mask = op.mask(mask_kept, *params)
        theirs = boxes_out.numpy()
        assert same(ours.array, theirs)
        assert ours.canvas == tuple(boxes_out.canvas_size) == tuple(image_out.shape[-2:])
        assert same(mask, mask_out.numpy())
        assert np.array_equal(boxes.array, kept) and np.array_equal(mask_kept, given[2].numpy())


def test_masks_without_leading_axis() -> None:
    mask = np.random.default_rng(1).integers(0, 9, (61, 83))
    for make in TRANSFORMS.values():
        original = make()
        op = find(qualified(original)).read(original)
        params = draws_of(op, frame_of(chw(0)), 1)[0] if hasattr(op, "draw") else ()
        theirs = reference(original, params)(
            tv_tensors.Image(torch.from_numpy(chw(0))), tv_tensors.Mask(torch.from_numpy(mask))
        )
        assert np.array_equal(op.mask(mask, *params), theirs[1].numpy())


def test_no_boxes() -> None:
    """Samples without objects go through."""
    for make in TRANSFORMS.values():
        op = find(qualified(make())).read(make())
        params = draws_of(op, frame_of(chw(0)), 1)[0] if hasattr(op, "draw") else ()
        assert op.boxes(Boxes(np.zeros((0, 4), np.float32), "XYXY", (61, 83)), *params).array.shape == (0, 4)


def test_image_boxes_and_masks_stay_together() -> None:
    """A marked rectangle is found again where its box and mask say it is."""
    op = find(qualified(v2.RandomCrop(40, padding=5))).read(v2.RandomCrop(40, padding=5))
    for params in draws_of(op, frame_of(chw(0)), 30):
        image = np.zeros((1, 61, 83), np.uint8)
        image[0, 20:30, 30:50] = 1
        sample = Sample(image, [Boxes(np.float32([[30, 20, 50, 30]]), "XYXY", (61, 83))], [image[0].copy()])
        apply(op, sample, params)
        x1, y1, x2, y2 = sample.boxes[0].array[0].astype(int)
        assert np.array_equal(sample.image[0], sample.masks[0])
        assert sample.image[0, y1:y2, x1:x2].all() and sample.image.sum() == (y2 - y1) * (x2 - x1)
