"""Policies: bit-equal to torchvision's on PIL images, the same choices in the same numbers, the same magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import check_equal, chw, difference, draws_of, pil, plain, same
from laws import independent, same_discrete
from torchvision_shim import v1, v2

from dsbridge.errors import TransformError
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Refused, qualified
from dsbridge.transforms.ops.policies import AutoAugment, RandAugment, TrivialAugmentWide
from dsbridge.transforms.ops.policy_tables import AUTOAUGMENT, RANDAUGMENT, TRIVIALAUGMENT
from dsbridge.transforms.ops.values import Boxes, Frame
from dsbridge.transforms.stage import Sample, apply

LIBRARIES = pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
MODES = ("RGB", "L")
BILINEAR, BICUBIC = v1.InterpolationMode.BILINEAR, v1.InterpolationMode.BICUBIC
SETTINGS = [
    ("RandAugment", {}),
    ("RandAugment", {"num_ops": 4, "magnitude": 14, "num_magnitude_bins": 15, "interpolation": BICUBIC, "fill": 77}),
    ("RandAugment", {"num_ops": 0}),
    ("TrivialAugmentWide", {}),
    ("TrivialAugmentWide", {"num_magnitude_bins": 6, "interpolation": BILINEAR, "fill": [128.5]}),
    ("AutoAugment", {}),
    ("AutoAugment", {"policy": v1.AutoAugmentPolicy.CIFAR10, "interpolation": BILINEAR, "fill": (4,)}),
    ("AutoAugment", {"policy": v1.AutoAugmentPolicy.SVHN, "interpolation": BICUBIC}),
]


def reading(original):
    return find(qualified(original)).read(original)


@LIBRARIES
@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=repr)
def test_equal(library, name: str, settings) -> None:
    check_equal(lambda: getattr(library, name)(**settings), modes=MODES, images=48)


@LIBRARIES
def test_equal_where_each_channel_has_its_fill(library) -> None:
    check_equal(lambda: library.RandAugment(3, 20, interpolation=BILINEAR, fill=(1, 2, 300)), modes=("RGB",))


@LIBRARIES
@pytest.mark.parametrize("operation", [*TRIVIALAUGMENT, "Invert"])
def test_each_operation(library, operation: str) -> None:
    """Each at all magnitudes of TrivialAugment, both signs; AutoAugment can be pinned to all of them."""
    original = library.AutoAugment(interpolation=BILINEAR, fill=50)
    if operation == "Identity":
        original = library.TrivialAugmentWide()
    op, pin = reading(original), find(qualified(original)).pin
    magnitudes = TRIVIALAUGMENT.get(operation)
    for number in range(31):
        magnitude = magnitudes.at(number, 31, Frame(61, 83, 3), op.version) if magnitudes else 0.0
        magnitude *= -1 if magnitudes and magnitudes.signed and number % 2 else 1
        image = pil(number, MODES[number % 2])
        ours, theirs = plain(op.pil(image, (operation, magnitude))), plain(pin(original, ((operation, magnitude),))(image))
        assert same(ours, theirs), f"{magnitude} on image {number}: {difference(ours, theirs)}"


@LIBRARIES
@pytest.mark.parametrize(
    ("name", "space"), [("RandAugment", RANDAUGMENT), ("TrivialAugmentWide", TRIVIALAUGMENT), ("AutoAugment", AUTOAUGMENT)]
)
def test_magnitudes_are_equal_to_the_last_bit(library, name: str, space) -> None:
    original = getattr(library, name)()
    version = reading(original).version
    for bins in [10, 31, *range(2, 70, 5)]:
        for frame in (Frame(224, 224, 3), Frame(331, 500, 3), Frame(61, 83, 3), Frame(7, 1999, 1)):
            if version == 2:
                theirs = {k: (f(bins, *frame[:2]), signed) for k, (f, signed) in original._AUGMENTATION_SPACE.items()}
            else:
                theirs = original._augmentation_space(bins, *([frame[:2]] if name != "TrivialAugmentWide" else []))
            assert list(theirs) == list(space)
            for key, (magnitudes, signed) in theirs.items():
                if space[key] is None:
                    assert not signed and (magnitudes is None or magnitudes.ndim == 0)
                    continue
                ours = [space[key].at(index, bins, frame, version) for index in range(bins)]
                assert ours == magnitudes.tolist() and space[key].signed == signed, (key, bins, frame)


def theirs_of(original, count: int, monkeypatch) -> list:
    """What torchvision draws: the operations with magnitudes that it would have done."""
    chains: list[list] = []

    def record(image, name, magnitude, *args, **kwargs):
        chains[-1].append((name, magnitude))
        return image

    monkeypatch.setattr(v1.autoaugment, "_apply_op", record)
    original.__dict__["_apply_image_or_video_transform"] = record
    torch.manual_seed(0)
    image = pil(0)
    for _ in range(count):
        chains.append([])
        original(image)
    return [tuple(chain) for chain in chains]


def sign(magnitude: float) -> int:
    return int(np.sign(magnitude))


@LIBRARIES
def test_law_of_rand_augment(library, monkeypatch) -> None:
    original = library.RandAugment(2, 9)
    ours, theirs = draws_of(reading(original), Frame(61, 83, 3)), theirs_of(original, 4000, monkeypatch)
    for place in range(2):
        same_discrete([acts[place] for acts in ours], [acts[place] for acts in theirs])
    assert independent([acts[0][0] for acts in ours], [acts[1][0] for acts in ours]) > 1e-4
    assert independent([sign(acts[0][1]) for acts in ours], [sign(acts[1][1]) for acts in ours]) > 1e-4


@LIBRARIES
def test_law_of_trivial_augment(library, monkeypatch) -> None:
    original = library.TrivialAugmentWide(num_magnitude_bins=7)
    ours, theirs = draws_of(reading(original), Frame(61, 83, 3)), theirs_of(original, 4000, monkeypatch)
    same_discrete(ours, theirs)
    same_discrete([acts[0][0] for acts in ours], [acts[0][0] for acts in theirs])
    same_discrete([sign(acts[0][1]) for acts in ours], [sign(acts[0][1]) for acts in theirs])


@LIBRARIES
@pytest.mark.parametrize("policy", list(v1.AutoAugmentPolicy))
def test_law_of_auto_augment(library, policy, monkeypatch) -> None:
    original = library.AutoAugment(policy)
    ours, theirs = draws_of(reading(original), Frame(61, 83, 3)), theirs_of(original, 4000, monkeypatch)
    same_discrete(ours, theirs)
    same_discrete([sign(m) for acts in ours for _, m in acts], [sign(m) for acts in theirs for _, m in acts])


def test_refused() -> None:
    with pytest.raises(Refused, match="tensors"):
        reading(v1.AugMix())
    with pytest.raises(Refused, match="tensors"):
        reading(v2.AugMix())
    with pytest.raises(Refused, match="divides by zero"):
        reading(v1.TrivialAugmentWide(num_magnitude_bins=1))
    with pytest.raises(Refused, match="cannot warp"):
        reading(v2.RandAugment(interpolation="lanczos"))
    with pytest.raises(Refused, match="type of the input"):
        reading(v2.RandAugment(fill={torch.Tensor: 1, "others": 2}))
    changed = v1.AutoAugment()
    changed.policies = changed.policies[:3]
    with pytest.raises(Refused, match="three tables"):
        reading(changed)
    changed = v2.RandAugment()
    changed._AUGMENTATION_SPACE = {"Identity": changed._AUGMENTATION_SPACE["Identity"]}
    with pytest.raises(Refused, match="operations were changed"):
        reading(changed)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RandAugment(magnitude=31), "index below num_magnitude_bins = 31, got 31"),
        (lambda: RandAugment(num_ops=-1), "num_ops is 0 or more, got -1"),
        (lambda: TrivialAugmentWide(1), "2 or more, got 1"),
        (lambda: AutoAugment("cifar"), "no policy 'cifar'"),
        (lambda: AutoAugment(interpolation="box"), "'box'"),
        (lambda: AutoAugment(version=3), "version is 1"),
    ],
)
def test_wrong_settings(make, said: str) -> None:
    with pytest.raises(TransformError, match=f"{said}.*Hint"):
        make()


def test_wrong_input() -> None:
    acts = (("Invert", 0.0),)
    with pytest.raises(TransformError, match=r"RGB and L, got RGBA.*Hint"):
        apply(TrivialAugmentWide(), Sample(pil(0, "RGBA")), acts)
    with pytest.raises(TransformError, match="cannot take"):
        apply(TrivialAugmentWide(), Sample(chw(0)), acts)
    with pytest.raises(TransformError, match=r"3 numbers.*mode L.*Hint"):
        apply(TrivialAugmentWide(fill=(1, 2, 3)), Sample(pil(0, "L")), (("Rotate", 3.0),))


@pytest.mark.parametrize("op", [RandAugment(), TrivialAugmentWide(), AutoAugment()])
def test_boxes_and_masks_are_never_left_behind(op) -> None:
    boxes = Boxes(chw(0)[0, :2, :4], "XYXY", (61, 83))
    with pytest.raises(TransformError, match="cannot move boxes.*torchvision's refuses them, too.*Hint"):
        apply(op, Sample(pil(0), boxes=[boxes]), (("Rotate", 3.0),))
    with pytest.raises(TransformError, match="cannot move masks.*Hint"):
        apply(op, Sample(pil(0), masks=[chw(0)[0]]), (("Rotate", 3.0),))
