"""lint finds each trap where it is, and nothing in a pipeline without one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import mindspore.dataset as mds
import mindspore.dataset.transforms as T
import mindspore.dataset.vision as V
import numpy as np
import pytest
from helpers import rows
from mindspore.dataset.vision import Inter

from dsbridge.errors import TransformError
from dsbridge.transforms.lint import lint

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
NUMPY2 = int(np.__version__.split(".")[0]) >= 2


def flip(prob: float = 0.5) -> Any:
    return V.RandomHorizontalFlip(prob)


def turn(prob: float = 0.5) -> Any:
    return V.RandomVerticalFlip(prob)


def source() -> Any:
    image = np.zeros((6, 8, 3), np.uint8)
    return mds.GeneratorDataset([(image, image)], ["image", "mask"], shuffle=False, num_parallel_workers=1)


def mapped(*maps: list[Any], columns: Any = "image", workers: int | None = 1, processes: bool = False) -> Any:
    """A dataset with these maps."""
    dataset = source()
    for ops in maps:
        dataset = dataset.map(ops, columns, num_parallel_workers=workers, python_multiprocessing=processes)
    return dataset


def too_many_workers() -> Any:
    dataset = mapped([V.HWC2CHW()])
    dataset.num_parallel_workers = (os.cpu_count() or 1) + 1
    return dataset


def twice(op: Any, *between: Any) -> Any:
    return mapped([op], [*between, op])


def used_as_pil() -> Any:
    op = V.Resize((3, 3))
    rows(mapped([V.ToPIL(), op]))
    return [V.Decode(), op]


def holding(op: Any) -> Any:
    return lambda image: op(image)


class Holder:
    """A callable object that holds an operation."""

    def __init__(self) -> None:
        self.ops = [V.RandomCrop(4)]

    def __call__(self, image: Any) -> Any:
        return self.ops[0](image)


def holding_batches(op: Any) -> Any:
    return lambda images, info: ([op(image) for image in images],)


def apply_ops(ops: Any, image: Any) -> Any:
    return ops[0](image)


@pytest.fixture
def seeded() -> Iterator[None]:
    mds.config.set_seed(7)
    yield
    mds.config.set_seed(5489)


# name -> what makes the pipeline, and the findings: code, severity, where
CASES: dict[str, tuple[Any, list[tuple[str, str, str]]]] = {
    "shared-seed": (
        lambda: mapped([V.HWC2CHW()], [flip(), V.Invert(), turn()]),
        [("shared-seed", "error", "map 2, operation 1 RandomHorizontalFlip; map 2, operation 3 RandomVerticalFlip")],
    ),
    "shared-seed, coins and crops": (
        lambda: [T.RandomApply([V.Invert()], 0.5), T.Compose([V.RandomCrop(4)])],
        [("shared-seed", "error", "operation 1 RandomApply; operation 2 Compose > 1 RandomCrop")],
    ),
    "shared-seed, other gaits": (
        lambda: [V.RandomRotation(9), V.RandomLighting(0.1)],
        [("shared-seed", "info", "operation 1 RandomRotation; operation 2 RandomLighting")],
    ),
    "eager-random": (
        lambda: [T.RandomOrder([V.RandomCrop(4), V.Invert()])],
        [
            ("order-shuffle", "warning", "operation 1 RandomOrder"),
            ("eager-random", "warning", "operation 1 RandomOrder > 1 RandomCrop"),
        ],
    ),
    "eager-random, a closure": (
        lambda: mapped([holding(V.RandomCrop(4))]),
        [("eager-random", "warning", "map 1, operation 1 <lambda> > RandomCrop")],
    ),
    "eager-random, an object": (
        lambda: mapped([Holder()]),
        [("eager-random", "warning", "map 1, operation 1 Holder > RandomCrop")],
    ),
    "eager-random, a method and a partial": (
        lambda: [Holder().__call__, partial(apply_ops, [V.RandomCrop(4)])],
        [
            ("eager-random", "warning", "operation 1 __call__ > RandomCrop"),
            ("eager-random", "warning", "operation 2 partial > RandomCrop"),
        ],
    ),
    "eager-random, a batch function": (
        lambda: source().batch(1, per_batch_map=holding_batches(V.RandomCrop(4)), input_columns=["image"]),
        [("eager-random", "warning", "batch, per_batch_map > RandomCrop")],
    ),
    "eager-random, processes": (
        lambda: mapped([holding(1), V.RandomCrop(4)], processes=True),
        [("eager-random", "warning", "map 1, operation 2 RandomCrop")],
    ),
    "eager-random, a Python container": (
        lambda: [T.RandomApply([V.RandomErasing(1.0), V.RandomCrop(4)], 1.0)],
        [
            ("erasing-law", "warning", "operation 1 RandomApply > 1 RandomErasing"),
            ("eager-random", "warning", "operation 1 RandomApply > 2 RandomCrop"),
        ],
    ),
    "thread-random": (
        lambda: mapped([V.ToPIL(), flip()], workers=2),
        [("thread-random", "warning", "map 1, operation 2 RandomHorizontalFlip")],
    ),
    "thread-random, two maps": (
        lambda: mapped([V.ToPIL(), flip()], [V.ToPIL(), turn()]),
        [
            ("thread-random", "warning", "map 1, operation 2 RandomHorizontalFlip"),
            ("thread-random", "warning", "map 2, operation 2 RandomVerticalFlip"),
        ],
    ),
    "no-antialias": (lambda: [V.Decode(), V.Resize(4)], [("no-antialias", "warning", "operation 2 Resize")]),
    "no-antialias, after a native operation": (
        lambda: [V.ToPIL(), V.Resize(4), V.Posterize(3), V.Resize(2)],
        [("no-antialias", "warning", "operation 4 Resize")],
    ),
    "no-antialias, in a container": (
        lambda: [T.RandomChoice([V.RandomResizedCrop(4), V.Invert()])],
        [("no-antialias", "warning", "operation 1 RandomChoice > 1 RandomResizedCrop")],
    ),
    "centre-crop": (lambda: V.CenterCrop(4), [("centre-crop", "warning", "operation 1 CenterCrop")]),
    "equalize": (lambda: [V.RandomEqualize()], [("equalize", "warning", "operation 1 RandomEqualize")]),
    "rotation-360": (lambda: [V.RandomRotation(360)], [("rotation-360", "error", "operation 1 RandomRotation")]),
    "affine-pil": (lambda: [V.ToPIL(), V.RandomAffine(9)], [("affine-pil", "error", "operation 2 RandomAffine")]),
    "biased-policy": (lambda: [V.RandAugment()], [("biased-policy", "warning", "operation 1 RandAugment")]),
    "biased-policy, wide": (lambda: [V.TrivialAugmentWide()], [("biased-policy", "warning", "operation 1 TrivialAugmentWide")]),
    "erasing-law": (lambda: [V.RandomErasing()], [("erasing-law", "warning", "operation 1 RandomErasing")]),
    "colour-adjust-pil": (
        lambda: [V.ToPIL(), V.RandomColorAdjust(0.4)],
        [("colour-adjust-pil", "warning", "operation 2 RandomColorAdjust")],
    ),
    "colour-adjust-pil, hue": (
        lambda: [V.Decode(to_pil=True), V.RandomColorAdjust(hue=0.1)],
        [("colour-adjust-pil", "error" if NUMPY2 else "warning", "operation 2 RandomColorAdjust")],
    ),
    "totensor-range": (
        lambda: mapped([V.Rescale(1 / 255, 0.0)], [V.ToTensor()]),
        [("totensor-range", "error", "map 2, operation 1 ToTensor")],
    ),
    "totensor-range, renamed": (
        lambda: mapped([V.ToTensor()]).rename("image", "x").map(V.ToTensor(), "x"),
        [("totensor-range", "error", "map 2, operation 1 ToTensor")],
    ),
    "name-trap": (lambda: [V.RandomPosterize((1, 8))], [("name-trap", "warning", "operation 1 RandomPosterize")]),
    "name-trap, threshold": (lambda: [V.RandomSolarize()], [("name-trap", "warning", "operation 1 RandomSolarize")]),
    "shared-op": (
        lambda: twice(V.Pad(1)),
        [("shared-op", "warning", "map 1, operation 1 Pad; map 2, operation 1 Pad")],
    ),
    "shared-op, two modes": (
        lambda: twice(V.Pad(1), V.ToPIL()),
        [("shared-op", "error", "map 1, operation 1 Pad; map 2, operation 2 Pad")],
    ),
    "shared-op, used before": (used_as_pil, [("shared-op", "error", "operation 2 Resize")]),
    "normalize-order": (
        lambda: [V.Decode(), V.Normalize(*IMAGENET)],
        [("normalize-order", "error", "operation 2 Normalize")],
    ),
    "normalize-order, not known": (lambda: V.Normalize(*IMAGENET), [("normalize-order", "warning", "operation 1 Normalize")]),
    "normalize-order, the reverse": (
        lambda: [V.ToTensor(), V.Normalize([123.0], [58.0], is_hwc=False)],
        [("normalize-order", "error", "operation 2 Normalize")],
    ),
    "bbox-mutates": (
        lambda: [V.ResizeWithBBox(4, Inter.NEAREST)],
        [("bbox-mutates", "warning", "operation 1 ResizeWithBBox")],
    ),
    "bbox-mutates, Erase": (
        lambda: [V.Erase(0, 0, 1, 1, inplace=True)],
        [("bbox-mutates", "warning", "operation 1 Erase")],
    ),
    "mask-interpolation": (
        lambda: mapped([V.RandomResize((4, 4))], columns=["image", "mask"]),
        [
            ("name-trap", "warning", "map 1, operation 1 RandomResize"),
            ("mask-interpolation", "warning", "map 1, operation 1 RandomResize"),
        ],
    ),
    "mask-interpolation, refused": (
        lambda: mapped([V.Resize((4, 4), Inter.NEAREST)], columns=["image", "mask"]),
        [("mask-interpolation", "error", "map 1, operation 1 Resize")],
    ),
    "workers": (too_many_workers, [("workers", "error", "map 1")]),
    "order-shuffle": (
        lambda: [V.ToPIL(), T.RandomOrder([flip(), turn()])],
        [("order-shuffle", "warning", "operation 2 RandomOrder")],
    ),
}


def found(pipeline: Any) -> list[tuple[str, str, str]]:
    return [(f.code, f.severity, f.where) for f in lint(pipeline)]


@pytest.mark.parametrize("name", CASES)
def test_each_trap_is_found(name: str) -> None:
    """Exactly these findings, at these places; each has a message and says what to do."""
    make, wanted = CASES[name]
    assert found(make()) == wanted
    assert all(f.message and f.hint for f in lint(make()))


def eval_chain() -> list[Any]:
    tail = [V.Normalize([0.0] * 3, [255.0] * 3), V.Normalize(*IMAGENET), V.HWC2CHW()]
    return [V.Decode(), V.ToPIL(), V.Resize(8), V.CenterCrop(4), *tail]


CLEAN: dict[str, Any] = {
    "golden eval chain": eval_chain,
    "golden eval chain in a map": lambda: mapped(eval_chain(), workers=2).batch(2),
    "golden eval chain in parts": lambda: mapped(eval_chain()[:4], eval_chain()[4:]).repeat(2),
    "bicubic": lambda: [V.Decode(), V.Resize(8, Inter.PILCUBIC), np.array, V.ToTensor(), V.Normalize(*IMAGENET, is_hwc=False)],
    "mean in 0..255": lambda: [V.Decode(), V.Normalize([123.0] * 3, [58.0] * 3), V.HWC2CHW()],
    "a single random operation": lambda: mapped([V.Pad(4), V.RandomCrop(6), V.HWC2CHW()], workers=2),
    "random on PIL images": lambda: mapped([V.ToPIL(), flip(), turn(), V.RandomRotation(9)]),
    "random on PIL images, processes": lambda: mapped([V.ToPIL(), flip(), turn()], workers=2, processes=True),
    "settled coins": lambda: [flip(1.0), turn(1.0), T.RandomApply([V.Invert()], 1.0)],
    "two maps, no seed": lambda: mapped([flip()], [turn()]),
    "a choice of flips, no seed": lambda: [T.RandomChoice([flip(), turn()])],
    "a mask": lambda: mapped([V.RandomResizedCrop(4, interpolation=Inter.NEAREST)], columns=["image", "mask"]),
    "unscaled by a function": lambda: [V.ToTensor(), holding(1), V.ToTensor()],
    "one image, two operations of a kind": lambda: mapped([V.Pad(1)], [V.Pad(1)]),
    "no operations": list,
    "a plain function": lambda: holding(1),
}


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_found_in_a_clean_pipeline(name: str) -> None:
    """No finding, not even an info."""
    assert found(CLEAN[name]()) == []


def test_every_code_has_a_case() -> None:
    """Codes cannot be added without a case here."""
    codes = {code for _, wanted in CASES.values() for code, _, _ in wanted}
    assert codes == {name.split(",")[0] for name in CASES}
    assert len(codes) == 19


def test_a_set_seed_joins_maps_and_containers(seeded: None) -> None:
    """Under a seed all generators start alike; children that run for other rows are out of step."""
    assert ("shared-seed", "error") in {f[:2] for f in found(mapped([flip()], [turn()]))}
    assert [f[1] for f in found([T.RandomApply([flip(), turn()], 0.8)]) if f[0] == "shared-seed"] == ["error", "info"]
    assert [f[1] for f in found([T.RandomChoice([flip(), turn()])])] == ["info"]
    policy = [[(flip(), 0.5), (turn(), 1.0)]]
    assert [f[1] for f in found([V.RandomSelectSubpolicy(policy)]) if f[0] == "shared-seed"] == ["info"]


def test_a_set_seed_makes_eager_operations_constant(seeded: None) -> None:
    """Certain in a container of arrays, possible in a function, which may pass PIL images."""
    assert ("eager-random", "error", "operation 1 RandomOrder > 1 RandomCrop") in found([T.RandomOrder([V.RandomCrop(4)])])
    assert found([holding(V.RandomCrop(4))]) == [("eager-random", "warning", "operation 1 <lambda> > RandomCrop")]


def test_lint_changes_and_runs_nothing() -> None:
    """Operations and dataset are as before, and so is what lint finds after the dataset has run."""
    ops = [V.ToPIL(), flip(), T.RandomOrder([V.Invert(), V.CenterCrop(3)]), V.HWC2CHW()]
    dataset = mapped(ops, workers=2)
    before = [(dict(vars(op)), list(getattr(op, "transforms", []))) for op in ops]
    first = found(dataset)
    assert [(dict(vars(op)), list(getattr(op, "transforms", []))) for op in ops] == before
    rows(dataset)
    assert found(dataset) == first


@pytest.mark.parametrize(
    ("wrong", "message"), [([V.Resize], r"write Resize\(\)"), ([3], "got 3 as number 1"), (None, "got None")]
)
def test_what_is_no_pipeline_is_refused(wrong: Any, message: str) -> None:
    """Wrong input says what was wanted."""
    with pytest.raises(TransformError, match=message):
        lint(wrong)
