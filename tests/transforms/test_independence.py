"""Operations of one pipeline draw independently of each other; MindSpore's own do not."""

from __future__ import annotations

import mindspore.dataset as mds
import mindspore.dataset.vision as vision
import numpy as np
import pytest
from helpers import rows
from laws import independent
from torchvision_shim import v1, v2

from dsbridge.transforms import translate
from dsbridge.transforms.randomness import Draws, Key
from dsbridge.transforms.stage import Sample, run

COUNT = 4000
ALPHA = 1e-4
RAMP = np.stack(np.broadcast_arrays(np.arange(32)[:, None], np.arange(32)[None, :], 0), -1).astype(np.uint8) + 1


def crop_and_flip(image: np.ndarray) -> tuple[int, bool]:
    """What RandomCrop(32, 4) and a flip did to the ramp: the crop's first row (0 to 8), and whether it was mirrored."""
    inside = image[image[..., 0] > 0]
    columns = image[16, :, 1].astype(int)
    columns = columns[columns > 0]
    first = int(inside[:, 0].min()) - 1
    top = 4 + first if first else 4 - int((image[..., 0].max(1) == 0)[:4].sum())
    return top, bool(columns[0] > columns[-1])


def test_the_cifar_recipe() -> None:
    """RandomCrop(32, 4) and a flip: ours independent in ds.map; MindSpore's own flip is decided by the crop's row."""
    data = np.broadcast_to(RAMP, (COUNT, *RAMP.shape))
    translation = translate(v1.Compose([v1.RandomCrop(32, padding=4), v1.RandomHorizontalFlip()]))
    source = mds.NumpySlicesDataset({"image": data}, shuffle=False)
    ours = [crop_and_flip(image) for (image,) in rows(source.map(translation.operations, ["image"], num_parallel_workers=1))]
    native = [vision.RandomCrop(32, 4), vision.RandomHorizontalFlip()]
    source = mds.NumpySlicesDataset({"image": data}, shuffle=False)
    theirs = [crop_and_flip(image) for (image,) in rows(source.map(native, ["image"], num_parallel_workers=1))]
    assert {top for top, _ in ours} == {top for top, _ in theirs} == set(range(9))
    assert independent(*zip(*ours, strict=True)) > ALPHA
    assert independent(*zip(*theirs, strict=True)) < 1e-100, (
        "MindSpore's own operations are independent now: say so in the docs"
    )


def choices(transform) -> np.ndarray:
    """What each operation of a pipeline drew for 4,000 samples, as 0 or 1: acted or not, or above the median or not."""
    translation = translate(transform)
    found = []
    image = v1.ToPILImage()(RAMP)
    for index in range(COUNT):
        events: dict[int, float] = {}

        def note(step, params, before, after, events=events) -> None:
            events[step.position] = _number(params)

        run(translation.lowered.steps, Sample(image), Draws(0, Key(0, index)), note)
        found.append([events.get(position, -1.0) for position in range(1, len(translation.report.rows) + 1)])
    values = np.array(found)
    values = values[:, [len(set(column)) > 1 for column in values.T]]
    return (values > np.median(values, 0)).astype(int) if values.size else values


def _number(params) -> float:
    """The first number among an operation's parameters."""
    if params is None:
        return -1.0
    flat = [params]
    while flat:
        value = flat.pop(0)
        if isinstance(value, (int, float, np.integer, np.floating)):
            return float(value)
        if isinstance(value, (tuple, list, np.ndarray)):
            flat[:0] = list(value)
        elif value is not None:
            return float(hash(str(value)) % 97)
    return 1.0


FLIPS = [v1.RandomHorizontalFlip, v1.RandomVerticalFlip, v1.RandomInvert, v1.RandomAutocontrast, v1.RandomEqualize]


@pytest.mark.parametrize(
    "transform",
    [
        v1.Compose([make() for make in FLIPS]),
        v1.Compose([v1.RandomApply([v1.RandomHorizontalFlip(1.0)]), v1.RandomApply([v1.RandomVerticalFlip(1.0)])]),
        v1.Compose([v1.RandomRotation(20), v1.RandomCrop(28), v1.RandomHorizontalFlip(), v1.RandomPosterize(4)]),
        v2.Compose([v2.ColorJitter(0.4), v2.ColorJitter(0.0, 0.4), v2.RandomSolarize(99), v2.RandomGrayscale(0.5)]),
        v2.Compose([v2.RandomResizedCrop(8), v2.RandomHorizontalFlip(), v2.RandomErasing(0.5)]),
    ],
    ids=["coins", "applies", "geometry", "colour", "imagenet"],
)
def test_pairs_are_independent(transform) -> None:
    values = choices(transform)
    columns = values.shape[1]
    assert columns >= 2
    for first in range(columns):
        for second in range(first):
            assert independent(values[:, first].tolist(), values[:, second].tolist()) > ALPHA, (first, second)


def test_neighbouring_samples_epochs_and_seeds_are_independent() -> None:
    """Keys that differ in one place only."""

    def coin(seed: int, epoch: int, index: int, position: int) -> int:
        return int(Draws(seed, Key(epoch, index)).at(position).random() < 0.5)

    base = [coin(0, 0, index, 1) for index in range(COUNT)]
    for other in (
        [coin(0, 0, index + 1, 1) for index in range(COUNT)],
        [coin(0, 1, index, 1) for index in range(COUNT)],
        [coin(1, 0, index, 1) for index in range(COUNT)],
        [coin(0, 0, index, 2) for index in range(COUNT)],
    ):
        assert independent(base, other) > ALPHA
    assert abs(np.mean(base) - 0.5) < 0.04
