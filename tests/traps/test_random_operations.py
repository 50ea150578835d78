"""MindSpore's own random operations: what lint says of them, measured. A test that fails here is good news: see ``MENDED``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import mindspore
import mindspore.dataset as mds
import mindspore.dataset.transforms as T
import mindspore.dataset.vision as V
import numpy as np
import pytest
from helpers import rows
from mindspore.dataset.vision import Inter
from scipy.stats import chi2

from dsbridge.transforms.lint import lint

N = 300
MENDED = "this MindSpore has mended it: the finding {} of dsbridge.transforms.lint can go, or must ask for the version"
NO_SEED = 5489
Maps = list[list[Any]]


@pytest.fixture(autouse=True)
def unseeded() -> Iterator[None]:
    mds.config.set_seed(NO_SEED)
    yield
    mds.config.set_seed(NO_SEED)


HEIGHT, WIDTH = 40, 48
Y, X = np.mgrid[:HEIGHT, :WIDTH]
RAMP = np.stack([X * 4 + 20, Y * 4 + 30, 60 + (X * 7 + Y * 13) % 50], -1).astype(np.uint8)
CORNERS = np.zeros((4, 6, 3), np.uint8)
CORNERS[0, 0], CORNERS[0, -1], CORNERS[-1, 0] = 200, 150, 100


class Same:
    """The same image N times."""

    def __init__(self, image: np.ndarray, length: int = N) -> None:
        self.image, self.length = image, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return (self.image.copy(),)


def run(maps: Maps, image: np.ndarray = CORNERS, workers: int = 1, seed: int = NO_SEED, processes: bool = False) -> Any:
    """What N rows of one image become, in one array if they are of one size."""
    mds.config.set_seed(seed)
    dataset = mds.GeneratorDataset(Same(image), ["image"], shuffle=False, num_parallel_workers=1)
    for ops in maps:
        dataset = dataset.map(ops, ["image"], num_parallel_workers=workers, python_multiprocessing=processes)
    images = [image for (image,) in rows(dataset)]
    return np.stack(images) if len({image.shape for image in images}) == 1 else images


def correlation(maps: Maps, **options: Any) -> float:
    """The correlation of a horizontal and a vertical flip that the maps hold; nan if one never or always happens."""
    corner = run(maps, **options)[:, 0, 0, 0]
    flips = np.isin(corner, (150, 0)), np.isin(corner, (100, 0))
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(*flips)[0, 1])


def flip(prob: float = 0.5) -> Any:
    return V.RandomHorizontalFlip(prob)


def turn(prob: float = 0.5) -> Any:
    return V.RandomVerticalFlip(prob)


def codes(maps: Maps, **options: Any) -> set[tuple[str, str]]:
    """What lint says of the same maps, as (code, severity)."""
    dataset = mds.GeneratorDataset(Same(CORNERS), ["image"], num_parallel_workers=1)
    for ops in maps:
        dataset = dataset.map(ops, ["image"], num_parallel_workers=1, **options)
    return {(finding.code, finding.severity) for finding in lint(dataset)}


# what makes two flips, whether they are in lock-step without a seed, and with one
PAIRS: dict[str, tuple[Callable[[], Maps], bool, bool]] = {
    "one map": (lambda: [[flip(), turn()]], True, True),
    "one map, a function between": (lambda: [[flip(), lambda image: image, turn()]], True, True),
    "one map, Compose": (lambda: [[T.Compose([flip()]), T.Compose([turn()])]], True, True),
    "one map, two coins": (
        lambda: [[T.RandomApply([V.HorizontalFlip()], 0.5), T.RandomApply([V.VerticalFlip()], 0.5)]],
        True,
        True,
    ),
    "two maps": (lambda: [[flip()], [turn()]], False, True),
    "one container": (lambda: [[T.RandomApply([flip(), turn()], 1.0)]], False, True),
    "two containers": (lambda: [[T.RandomApply([flip()], 1.0), T.RandomApply([turn()], 1.0)]], False, True),
    "one in a container": (lambda: [[flip(), T.RandomApply([turn()], 1.0)]], False, True),
    "one in a choice of one": (lambda: [[flip(), T.RandomChoice([turn()])]], False, True),
    "one in a choice of two": (lambda: [[flip(), T.RandomChoice([turn(), V.Posterize(8)])]], False, False),
    "one on PIL images": (lambda: [[flip(), V.ToPIL(), turn()]], False, False),
    "both on PIL images": (lambda: [[V.ToPIL(), flip(), turn()]], False, False),
}


@pytest.mark.parametrize("seed", [NO_SEED, 7], ids=["no seed", "seed"])
@pytest.mark.parametrize("name", PAIRS)
def test_trap_a_two_flips_are_one(name: str, seed: int) -> None:
    """Flips in lock-step have correlation 1, others hardly any; lint says which."""
    make, plain, seeded = PAIRS[name]
    locked = plain if seed == NO_SEED else seeded
    value = correlation(make(), seed=seed)
    assert value > 0.999 if locked else abs(value) < 0.35, MENDED.format("shared-seed") + f" ({name}: {value})"
    assert (("shared-seed", "error") in codes(make())) == locked


@pytest.mark.parametrize("maps", [lambda: [[flip(), turn()]], lambda: [[flip()], [turn()]]], ids=["one map", "two maps"])
def test_trap_a_with_two_workers(maps: Callable[[], Maps]) -> None:
    """More workers do not help; nor does mindspore.set_seed, which sets the same seed."""
    mindspore.set_seed(11)
    assert mds.config.get_seed() == 11
    assert correlation(maps(), workers=2, seed=11) > 0.999, MENDED.format("shared-seed")


def test_trap_a_a_crop_decides_the_flip() -> None:
    """RandomCrop with padding and a flip, the CIFAR recipe: the crop's row decides the flip."""
    ramp = np.stack([X[:32, :32] * 4 + 20, Y[:32, :32] * 4 + 20, X[:32, :32] * 0], -1).astype(np.uint8)
    images = run([[V.RandomCrop((32, 32), 4), flip()]], ramp)
    flipped = images[:, 16, 10, 0] > images[:, 16, 20, 0]
    row = images[:, 16, 16, 1]
    assert abs(np.corrcoef(row, flipped)[0, 1]) > 0.7, MENDED.format("shared-seed")
    assert {bool(flipped[row == value].all()) for value in sorted(set(row.tolist()))[:3]} in ({True}, {False})


# operations by their gait: what lint believes to correlate
GAITS: dict[str, list[Callable[[], Any]]] = {
    "2 words": [
        flip,
        lambda: V.RandomInvert(0.5),
        lambda: V.RandomEqualize(0.5),
        lambda: V.RandomAutoContrast(prob=0.5),
        lambda: V.RandomAdjustSharpness(3.0, 0.5),
        lambda: T.RandomApply([V.Invert()], 0.5),
        lambda: V.RandomCrop((32, 32), 4),
        lambda: V.RandomSolarize((0, 255)),
        lambda: V.CutOut(10, 1),
    ],
    "1 word": [
        lambda: T.RandomChoice([V.Invert(), V.HorizontalFlip(), V.VerticalFlip()]),
        lambda: V.RandomRotation(30),
        lambda: V.RandomColor((0.1, 1.9)),
        lambda: V.RandomSharpness((0.1, 1.9)),
        lambda: V.RandomPosterize((1, 8)),
        lambda: V.RandomResize(30),
    ],
    "3 words": [
        lambda: V.RandomColorAdjust(0.4),
        lambda: V.RandomColorAdjust(contrast=0.4),
        lambda: V.RandomSelectSubpolicy([[(V.Invert(), 0.5)], [(V.HorizontalFlip(), 0.5)]]),
    ],
    "lighting": [lambda: V.RandomLighting(0.5), lambda: V.RandomLighting(0.3)],
    "wide": [V.TrivialAugmentWide, lambda: V.TrivialAugmentWide(11)],
    "crops": [lambda: V.RandomResizedCrop(32), lambda: V.RandomResizedCrop(24, (0.5, 1.0), (1.0, 1.5))],
}


def features(make: Callable[[], Any], seed: int) -> list[np.ndarray]:
    """Numbers that follow what the operation drew, as at most 4 classes each."""
    table = []
    for image in run([[make()]], RAMP, seed=seed):
        f, (h, w) = image.astype(float), image.shape[:2]
        sides = f[:, : w // 2, 0].mean() - f[:, w // 2 :, 0].mean(), f[: h // 2, :, 1].mean() - f[h // 2 :, :, 1].mean()
        table.append([*f[h // 2, w // 2, :2], *f.mean((0, 1)), *sides, f.std(), *f[0, 0, :2]])
    return [classes(np.array(column)) for column in zip(*table, strict=True)]


def classes(column: np.ndarray) -> np.ndarray:
    known = np.unique(column)
    return np.searchsorted(known if len(known) <= 4 else np.quantile(column, [0.25, 0.5, 0.75]), column)


def dependence(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """The smallest p-value of chi-square tests between any two features."""
    smallest = 1.0
    for a, b in itertools.product(first, second):
        table = np.zeros((5, 5))
        np.add.at(table, (a, b), 1)
        table = table[table.sum(1) >= 8][:, table[table.sum(1) >= 8].sum(0) >= 8]
        if min(table.shape) > 1:
            wanted = np.outer(table.sum(1), table.sum(0)) / table.sum()
            free = (table.shape[0] - 1) * (table.shape[1] - 1)
            smallest = min(smallest, float(chi2.sf(((table - wanted) ** 2 / wanted).sum(), free)))
    return smallest


def test_trap_a_operations_of_one_gait_depend_on_each_other() -> None:
    """Each pair that lint calls an error depends under one seed (p < 1e-5), and not under two; others do not."""
    drawn = {name: [features(make, 3) for make in makes] for name, makes in GAITS.items()}
    for name, makes in GAITS.items():
        for (i, a), (j, b) in itertools.combinations(enumerate(drawn[name]), 2):
            assert dependence(a, b) < 1e-5, MENDED.format("shared-seed") + f" ({name}: {i} and {j})"
            assert ("shared-seed", "error") in codes([[makes[i](), makes[j]()]])
    for one, other in itertools.combinations(GAITS, 2):
        assert dependence(drawn[one][0], drawn[other][0]) > 1e-8, (one, other)
        assert codes([[GAITS[one][0](), GAITS[other][0]()]]) >= {("shared-seed", "info")}
    assert dependence(drawn["2 words"][0], features(GAITS["2 words"][6], 4)) > 1e-8


EAGER: dict[str, Callable[[], Maps]] = {
    "RandomOrder": lambda: [[T.RandomOrder([V.RandomCrop((2, 3))])]],
    "a function": lambda: [[(lambda op: lambda image: op(image))(V.RandomCrop((2, 3)))]],
    "a Python container": lambda: [[T.RandomApply([V.RandomErasing(0.0), V.RandomCrop((2, 3))], 1.0)]],
}


@pytest.mark.parametrize("name", EAGER)
def test_trap_b_eager_operations_draw_the_same(name: str) -> None:
    """Under a seed all rows get one crop, without a seed they differ; lint says so."""
    make = EAGER[name]
    distinct = [len(np.unique(run(make(), RAMP, seed=seed), axis=0)) for seed in (3, NO_SEED)]
    assert distinct[0] == 1, MENDED.format("eager-random")
    assert distinct[1] > 50
    assert "eager-random" in {code for code, _ in codes(make())}


def test_trap_b_random_order_shuffles_the_callers_list() -> None:
    """RandomOrder shuffles the list it was given."""
    ops = [V.Invert() for _ in range(6)]
    before = list(ops)
    run([[T.RandomOrder(ops)]])
    assert [id(op) for op in ops] != [id(op) for op in before], MENDED.format("order-shuffle")


def same_again(make: Callable[[], Maps], **options: Any) -> bool:
    """Whether four runs with one seed are equal."""
    return len({np.asarray(run(make(), seed=7, **options)).tobytes() for _ in range(4)}) == 1


def test_trap_c_threads_share_pythons_generator() -> None:
    """PIL mode is reproducible with one thread; not with two threads, of one map or of two."""
    pil = lambda: [[V.ToPIL(), flip(), turn()]]  # noqa: E731
    assert same_again(pil)
    mended = MENDED.format("thread-random")
    assert not same_again(pil, workers=2), mended
    assert not same_again(lambda: [[V.ToPIL(), flip()], [V.ToPIL(), turn()]]), mended


@pytest.fixture(scope="module")
def warm_processes() -> None:
    """Start worker processes once: what they open and keep is not taken for a leak."""
    run([[V.ToPIL()]], workers=2, processes=True)


@pytest.mark.slow
def test_traps_b_and_c_in_worker_processes(warm_processes: None) -> None:
    """With python_multiprocessing a Python operation makes the native ones eager; PIL mode is reproducible there."""
    eager = lambda: [[lambda image: image, V.RandomCrop((2, 3))]]  # noqa: E731
    crops = np.unique(run(eager(), RAMP, seed=3, workers=2, processes=True), axis=0)
    assert len(crops) <= 2, MENDED.format("eager-random")  # at most one for each process
    assert "eager-random" in {code for code, _ in codes(eager(), python_multiprocessing=True)}
    assert same_again(lambda: [[V.ToPIL(), flip(), turn()]], workers=2, processes=True)


def test_native_operations_depend_on_the_number_of_workers() -> None:
    """Native operations repeat with one number of workers, and differ between two."""
    assert same_again(lambda: [[flip()]], workers=2)
    one, two = (run([[flip()]], seed=7, workers=workers) for workers in (1, 2))
    assert not np.array_equal(one, two)


MODES: dict[str, tuple[Callable[[], list[Any]], list[str]]] = {
    "PIL goes on": (lambda: [V.ToPIL(), V.Pad(1), V.Resize((3, 3))], ["PY", "PY", "PY"]),
    "a native operation ends it": (lambda: [V.ToPIL(), V.Posterize(3), V.Resize((3, 3))], ["PY", "C", "C"]),
    "ToNumpy ends it": (lambda: [V.ToPIL(), V.ToNumpy(), V.Resize((3, 3))], ["PY", "C", "C"]),
    "a container goes on": (lambda: [V.ToPIL(), T.RandomApply([V.Pad(1)]), V.Resize((3, 3))], ["PY", "PY", "PY"]),
    "an interpolation starts it": (lambda: [V.Resize((3, 3), Inter.PILCUBIC), V.Pad(1)], ["C", "C"]),
}


@pytest.mark.parametrize("name", MODES)
def test_modes_flow_as_lint_believes(name: str) -> None:
    """MindSpore writes each operation's mode into it; lint, asked before, finds native Resize only where it says C."""
    make, wanted = MODES[name]
    ops = make()
    said = [f.where for f in lint(ops) if f.code == "no-antialias"]
    run([ops])
    assert [op.implementation.name for op in ops] == wanted
    smooth = {"PILCUBIC"}
    native = [i for i, op in enumerate(ops, 1) if isinstance(op, V.Resize) and op.implementation.name == "C"]
    assert said == [f"operation {i} Resize" for i in native if ops[i - 1].interpolation.name not in smooth]


def test_a_function_ends_pil_mode_and_a_used_operation_fails() -> None:
    """After a function operations are native again; one that was used on PIL images fails elsewhere."""
    resize = V.Resize((3, 3))
    run([[V.ToPIL(), np.array, resize]])
    assert resize.implementation.name == "C"
    used = V.Resize((3, 3))
    run([[V.ToPIL(), used]])
    with pytest.raises(RuntimeError):
        run([[used]])
    assert ("shared-op", "error") in codes([[used]])


BOXES = {
    "RandomHorizontalFlipWithBBox": (lambda: V.RandomHorizontalFlipWithBBox(1.0), True),
    "RandomVerticalFlipWithBBox": (lambda: V.RandomVerticalFlipWithBBox(1.0), True),
    "ResizeWithBBox": (lambda: V.ResizeWithBBox(30), True),
    "RandomResizeWithBBox": (lambda: V.RandomResizeWithBBox(30), True),
    "RandomResizedCropWithBBox": (lambda: V.RandomResizedCropWithBBox(32), True),
    "RandomCropWithBBox": (lambda: V.RandomCropWithBBox((32, 32)), False),
}


@pytest.mark.parametrize("name", BOXES)
def test_operations_on_boxes_write_into_the_dataset(name: str) -> None:
    """Which of them change the arrays that the dataset holds, as lint says."""
    make, writes = BOXES[name]
    held = [(RAMP.copy(), np.array([[3, 4, 20, 15]], np.float32)) for _ in range(20)]
    dataset = mds.GeneratorDataset(held, ["image", "boxes"], shuffle=False, num_parallel_workers=1)
    rows(dataset.map([make()], ["image", "boxes"], num_parallel_workers=1))
    changed = any((boxes != [[3, 4, 20, 15]]).any() for _, boxes in held)
    assert changed == writes, MENDED.format("bbox-mutates")
    assert ("bbox-mutates" in lint([make()])) == writes


def test_rotation_by_360_degrees_never_rotates() -> None:
    """RandomRotation(360) leaves every image as it is."""
    assert (run([[V.RandomRotation(360)]], RAMP) == RAMP).all(), MENDED.format("rotation-360")


def test_colour_adjust_on_pil_images() -> None:
    """A change of brightness by nothing changes pixels; a negative hue raises with numpy 2."""
    still = run([[V.ToPIL(), V.RandomColorAdjust(brightness=(1, 1))]], RAMP)
    assert (still != RAMP).any(), MENDED.format("colour-adjust-pil")
    hue = [[V.ToPIL(), V.RandomColorAdjust(hue=(-0.2, -0.1))]]
    if int(np.__version__.split(".")[0]) >= 2:
        with pytest.raises(RuntimeError, match="OverflowError"):
            run(hue, RAMP)
    else:
        run(hue, RAMP)


def test_one_interpolation_for_image_and_mask() -> None:
    """RandomResizedCrop makes new values in a mask, Inter.NEAREST none; Resize refuses two columns."""
    mask = (RAMP[..., :1] > 100).astype(np.uint8) * 7

    def values(op: Any) -> set[int]:
        dataset = mds.GeneratorDataset([(RAMP, mask)] * 8, ["image", "mask"], num_parallel_workers=1)
        return {int(v) for row in rows(dataset.map([op], ["image", "mask"], num_parallel_workers=1)) for v in np.unique(row[1])}

    assert values(V.RandomResizedCrop(17)) - {0, 7}, MENDED.format("mask-interpolation")
    assert values(V.RandomResizedCrop(17, interpolation=Inter.NEAREST)) <= {0, 7}
    with pytest.raises(RuntimeError):
        values(V.Resize((17, 19)))
