"""Translations as callables: policies, kinds of input, keys, samples with targets, and what is refused."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from harness import array, pil, plain
from torchvision_shim import tv_tensors, v1, v2

from dsbridge import TransformError, VerificationError
from dsbridge.frameworks.rng import RngState
from dsbridge.transforms import ops, translate

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def eval_chain():
    return v1.Compose([v1.Resize(40), v1.CenterCrop(32), v1.ToTensor(), v1.Normalize(MEAN, STD)])


def train_chain(library=v1):
    to_tensor = [v1.ToTensor()] if library is v1 else [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    first = [library.RandomResizedCrop(32), library.RandomHorizontalFlip(), library.ColorJitter(0.4, 0.4, 0.4, 0.1)]
    return library.Compose([*first, *to_tensor, library.Normalize(MEAN, STD)])


def test_the_eval_chain_is_equal() -> None:
    """The same bits as torchvision, from PIL images, from arrays, and for grey images made RGB."""
    original, t = eval_chain(), translate(eval_chain())
    for number in range(32):
        expected = original(pil(number)).numpy()
        assert np.array_equal(t(pil(number)), expected)
        assert np.array_equal(t(array(number)), expected)


def test_verify_finds_no_difference_and_raise_if_is_silent() -> None:
    report = translate(train_chain(), seed=5).verify([pil(number) for number in range(16)])
    assert report.ok and set(report.measured) == {0, 1, 2, 3, 4, 5}
    assert all(one.difference == 0 and one.samples == 16 for one in report.measured.values())
    report.raise_if(worse_than="exact")
    assert "whole pipeline" in str(report) and report.to_markdown().count("\n") == 7
    assert report.to_dict()["measured"][0]["samples"] == 16


def test_verify_can_fail() -> None:
    """A kernel that is not what it says is found, by operation."""

    class Broken(ops.CenterCrop):
        def pil(self, image):
            return image.crop((1, 1, 33, 33))

    t = translate(v1.CenterCrop(32))
    broken = Broken(t.program.steps[0].op.size)
    for step in (*t.program.steps, *t.lowered.steps):
        object.__setattr__(step, "op", broken)
    report = t.verify([pil(6)])
    assert not report.ok and [finding.code for finding in report.findings] == ["differs", "differs"]
    with pytest.raises(VerificationError, match="differs by"):
        report.raise_if(worse_than="exact")


def test_key_decides_everything() -> None:
    t = translate(train_chain(), seed=3)
    image = array(1)
    again = pickle.loads(pickle.dumps(t))
    assert t(image, key=(1, 7)).tobytes() == t(image, key=(1, 7)).tobytes() == again(image, (1, 7)).tobytes()
    others = [t(image, key=key).tobytes() for key in ((1, 8), (2, 7), (1, 7, 1), 7)]
    assert len({*others, t(image, key=(1, 7)).tobytes(), translate(train_chain(), seed=4)(image, key=(1, 7)).tobytes()}) == 6


def test_without_a_key_the_global_generator_decides() -> None:
    t = translate(v1.RandomResizedCrop(8))
    torch.manual_seed(1)
    first, second = t(array(1)), t(array(1))
    torch.manual_seed(1)
    assert np.array_equal(t(array(1)), first) and not np.array_equal(first, second)


def noisy(image):
    values = [random.random(), np.random.rand(), torch.rand(1).item()]
    return image.rotate(sum(values) * 30)


def test_users_code_is_seeded_for_the_sample_and_leaves_no_trace() -> None:
    t = translate([noisy, v1.ToTensor()])
    state = RngState.capture()
    first = t(array(1), key=5)
    assert state.is_current()
    random.seed(0)
    assert np.array_equal(t(array(1), key=5), first) and not np.array_equal(t(array(1), key=6), first)


def test_v2_on_tensors() -> None:
    """input="uint8": kernels where they are proven equal on tensors, the original object elsewhere."""
    chain = v2.Compose([v2.RandomCrop(30, padding=4), v2.Resize(16, antialias=True), v2.ToDtype(torch.float32, scale=True)])
    t = translate(chain, input="uint8")
    assert [row.backend for row in t.report.rows] == ["kernel", "python", "kernel"]
    report = t.verify([array(number) for number in (0, 2, 3, 4, 7)])
    assert report.ok and report.measured[0].difference == 0
    assert t(array(0)).shape == (3, 16, 16)
    near = translate(chain, policy="near", input="uint8")
    assert [row.exactness for row in near.report.rows] == ["exact", "near", "exact"]
    assert near.verify([array(number) for number in (0, 2, 3)]).ok
    with pytest.raises(VerificationError, match="2 Resize: near"):
        near.report.raise_if(worse_than="exact")
    near.report.raise_if(worse_than="near")


def test_float_input() -> None:
    chain = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.Normalize([0.5], [0.5])])
    image = np.random.default_rng(0).random((1, 5, 6), np.float32)
    assert np.array_equal(translate(chain, input="float")(image), chain(torch.from_numpy(image)).numpy())


def test_policy_native() -> None:
    """MindSpore's own kernel, the same crops; other pixels, and the report says so."""
    t = translate(train_chain(), policy="native")
    first = t.report.rows[0]
    assert (first.backend, first.exactness) == ("native", "distribution")
    assert [finding.code for finding in t.report.findings] == ["distribution"]
    ours, exact = t(array(6), key=1), translate(train_chain())(array(6), key=1)
    assert ours.shape == exact.shape and 0 < np.abs(ours - exact).mean() < 1


def test_containers_whose_children_change_the_kind() -> None:
    """What an operation gets decides how it runs, whatever way led there."""
    tensor = v1.ToTensor()
    applied = translate([v1.RandomApply([tensor], p=0.5), v1.RandomHorizontalFlip(1.0), v1.CenterCrop(6), v1.RandomRotation(9)])
    assert [row.backend for row in applied.report.rows] == ["kernel", "kernel", "kernel", "kernel", "python"]
    results = {applied(array(1), key=key).dtype.name for key in range(12)}
    assert results == {"uint8", "float32"}
    order = translate(v1.RandomOrder([v1.PILToTensor(), v1.RandomHorizontalFlip(1.0), v1.RandomInvert(1.0)]))
    assert order.report.rows[1].backend == "python"
    ours = [order(array(1), key=key) for key in range(12)]
    assert all(np.array_equal(one, 255 - array(1)[:, ::-1].transpose(2, 0, 1)) for one in ours)
    chosen = translate(
        [v1.RandomChoice([v1.Compose([tensor]), v1.Compose([v1.RandomVerticalFlip(), tensor])]), v1.Normalize(MEAN, STD)]
    )
    assert {row.backend for row in chosen.report.rows} == {"kernel"}
    assert np.array_equal(translate(v1.Compose([]))(array(1)), array(1))


def test_targets_move_with_the_image() -> None:
    """Boxes and masks as torchvision's v2 moves them, with the same parameters."""
    chain = v2.Compose([v2.RandomCrop((30, 40), pad_if_needed=True), v2.RandomHorizontalFlip(0.5), v2.Resize((20, 24))])
    t = translate(chain)
    for number in range(8):
        image = pil(number)
        boxes = tv_tensors.BoundingBoxes([[1, 2, 20, 25], [5, 5, 6, 9]], format="XYXY", canvas_size=image.size[::-1])
        mask = tv_tensors.Mask(torch.from_numpy(array(number)[..., 0].copy()))
        ours = t({"image": image, "target": {"boxes": boxes, "mask": mask, "label": 3}}, key=number)
        assert ours["target"]["label"] == 3 and ours["image"].shape == (20, 24, 3)
        assert ours["target"]["boxes"].shape == (2, 4) and ours["target"]["mask"].shape == (20, 24)
        moved = [  # the mask is the image's first channel: at nearest neighbours it stays so
            t((image, boxes, mask), key=number)[at] for at in (0, 1, 2)
        ]
        assert np.array_equal(moved[1], ours["target"]["boxes"]) and np.array_equal(moved[2], ours["target"]["mask"])


def test_crops_are_a_tuple_until_somebody_stacks_them() -> None:
    crops = translate(v1.FiveCrop(20))(array(6))
    assert isinstance(crops, tuple) and [crop.shape for crop in crops] == [(20, 20, 3)] * 5
    chain = v1.Compose([v1.FiveCrop(20), v1.Lambda(lambda found: torch.stack([v1.ToTensor()(crop) for crop in found]))])
    assert np.array_equal(translate(chain)(array(6)), chain(pil(6)).numpy())


def test_what_the_dataset_keeps_is_never_written_to() -> None:
    kept = array(2)
    before = kept.copy()
    for library in (v1, v2):
        translate(train_chain(library))(kept)
        translate([library.RandomErasing(p=1.0, inplace=True)], input="float")(kept.transpose(2, 0, 1).astype(np.float32))
    assert np.array_equal(kept, before)
    for transform, kind in (
        (v1.RandomHorizontalFlip(0.0), "pil"),
        (v2.RandomVerticalFlip(1.0), "uint8"),
        (v1.FiveCrop(5), "uint8"),
    ):
        results = translate(transform, input=kind)(kept)
        assert not any(np.may_share_memory(one, kept) for one in (results if isinstance(results, tuple) else [results]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "fast"}, "no policy 'fast'"),
        ({"input": "bgr"}, "no input 'bgr'"),
        ({"seed": 1.5}, "seed must be an int"),
    ],
)
def test_wrong_arguments(arguments, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        translate(v1.ToTensor(), **arguments)


@pytest.mark.parametrize(
    ("image", "input", "message"),
    [
        (np.zeros((4, 5, 2), np.uint8), "pil", r"1 \(grey\), 3 \(RGB\) or 4 \(RGBA\) channels, got uint8\[4, 5, 2\]"),
        (np.zeros((4, 5, 5), np.uint8), "pil", r"channels, got uint8\[4, 5, 5\]"),
        (np.zeros((4, 5, 3), np.float32), "pil", r'wants a uint8 image \[H, W, C\], got float32.*Hint: input="float"'),
        (np.zeros((4, 5, 3), np.float32), "uint8", "wants a uint8 image"),
        (np.zeros((4, 5, 3), np.uint8), "float", "wants a floating point image"),
        (np.zeros((0, 5, 3), np.uint8), "pil", "without pixels"),
        ({"label": 3}, "pil", "no image in the sample"),
        ([pil(0), pil(1)], "pil", "2 images in the sample"),
    ],
)
def test_wrong_samples(image, input: str, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        translate(v2.RandomHorizontalFlip(), input=input)(image)


def refuses_seven(image):
    if image.size == (83, 61):
        raise ZeroDivisionError("seven")
    return image


def returns_text(image):
    return "text"


def test_a_failing_operation_is_named() -> None:
    t = translate([v1.RandomHorizontalFlip(), refuses_seven])
    line = refuses_seven.__code__.co_firstlineno
    place = f"operation 2 refuses_seven @ test_translate.py:{line}"
    with pytest.raises(TransformError, match=f"{place} failed: ZeroDivisionError: seven"):
        t(array(0))
    assert plain(t(array(1))).shape == (47, 47, 3)
    with pytest.raises(TransformError, match="operation 1 returns_text @ .*: returned str, which is no image"):
        translate(returns_text)(array(0))
    with pytest.raises(TransformError, match="operation 1 Normalize"):
        translate(v1.Normalize(MEAN, STD))(array(0))


def test_unknown_interpolation() -> None:
    resize = v2.Resize(4)
    resize.interpolation = "sharpest"
    row = translate(resize).report.rows[0]
    assert (row.backend, row.reason) == ("python", "interpolation 'sharpest' is not one that torchvision has")
    with pytest.raises(TransformError, match="sharpest"):
        ops.Resize((4, 4), interpolation="sharpest")


def test_mixing_batches() -> None:
    t = translate(v2.MixUp(num_classes=4))
    assert t.per_batch_map is not None and translate(v1.ToTensor()).per_batch_map is None
    for name in ("operations", "apply", "verify"):
        with pytest.raises(TransformError, match="work on batches"):
            getattr(t, name)(None)
    with pytest.raises(TransformError, match="operation 2 MixUp mixes the samples of a batch"):
        translate([v2.ToImage(), v2.MixUp(num_classes=4)])


def test_albumentations(monkeypatch) -> None:
    """Known by its module; takes and returns [H, W, C], its own generator seeded from the sample's key."""

    class Compose:
        def __init__(self) -> None:
            self.seed = None

        def set_random_seed(self, seed: int) -> None:
            self.seed = seed

        def __call__(self, image):
            rng = np.random.default_rng(self.seed)
            assert image.shape[2] == 3 and image.flags.writeable
            image[0, 0] = rng.integers(0, 256, 3)
            return {"image": image}

    Compose.__module__ = "albumentations.core.composition"
    t = translate(Compose(), input="uint8")
    first = t(array(1), key=3)
    assert first.shape == array(1).shape and np.array_equal(first, t(array(1), key=3))
    assert not np.array_equal(first, t(array(1), key=4)) and (t.report.rows[0].backend, t.report.rows[0].source) == (
        "python",
        "Compose",
    )
