"""Whole pipelines: read from a loader, the same batches whoever makes them, equal to torch's with equal parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Items, Stream
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision_shim import v1

import dsbridge as dsb
from dsbridge import TransformError, VerificationError
from dsbridge.transforms import ops

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
TRAIN = v1.Compose([v1.RandomResizedCrop(16), v1.RandomHorizontalFlip(), v1.ToTensor(), v1.Normalize(MEAN, STD)])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    from PIL import Image

    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number in range(6):
            pixels = rng.integers(0, 256, (20 + number, 31 - number, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return str(root)


def folder(root: str, transform=TRAIN, **arguments):
    from torchvision.datasets import ImageFolder

    return ImageFolder(root, transform=transform, **arguments)


def batches(dataset, epochs: int = 1) -> list[list[np.ndarray]]:
    iterator = dataset.create_tuple_iterator(num_epochs=epochs, output_numpy=True)
    return [[np.array(column) for column in row] for _ in range(epochs) for row in iterator]


def same(first, second) -> bool:
    return len(first) == len(second) and all(
        a.tobytes() == b.tobytes() for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_the_same_bytes_whoever_makes_them(root: str) -> None:
    """0, 1, 2 workers of dsbridge's, or operations of ds.map: two shuffled epochs; labels in torch's own order.

    torch has workers here: in one process its transforms draw from the generator that shuffles the next epoch.
    """
    loader = DataLoader(folder(root), batch_size=5, shuffle=True, drop_last=True, num_workers=1)
    found = []
    for workers, engine in ((0, "core"), (1, "core"), (2, "core"), (0, "map")):
        torch.manual_seed(4)
        found.append(batches(dsb.plan(loader, seed=1, num_workers=workers).build(engine), epochs=2))
    assert all(same(found[0], other) for other in found[1:])
    torch.manual_seed(4)
    labels = [labels.tolist() for _ in range(2) for _, labels in loader]
    assert [row[1].tolist() for row in found[0]] == labels and len(labels) == 4


def test_verify(root: str) -> None:
    report = dsb.plan(DataLoader(folder(root), batch_size=4, shuffle=True, num_workers=2)).verify(batches=3)
    assert report.ok and report.measured == {"batches": 3, "samples": 12, "largest difference": 0.0}
    report.raise_if(worse_than="exact")


def test_verify_can_fail(root: str) -> None:
    """A translation that is not what it says, and an order that is not torch's."""
    plan = dsb.plan(DataLoader(folder(root, v1.Compose([v1.CenterCrop(16), v1.ToTensor()])), batch_size=4))
    object.__setattr__(plan.lifted[0].translation.program.steps[0], "op", ops.CenterCrop((16, 18)))
    report = plan.verify()
    assert not report.ok and "float32[4, 3, 16, 18] instead of float32[4, 3, 16, 16]" in str(report)
    with pytest.raises(VerificationError):
        report.raise_if_failed()


def swapped(row: int):
    """A planted bug: two rows of the first column change places."""

    def build(built):
        def swap(image, label, index):
            image = image.copy()
            image[[row, row + 1]] = image[[row + 1, row]]
            return image, label, index

        return built.map(swap, input_columns=built.get_col_names())

    return build


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda built: built.take(1), "error missing [batch 1]: the pipeline ends here"),
        (lambda built: built.repeat(2), "error too-many [batch 3]"),
        (lambda built: built.project([built.get_col_names()[0], "__index"]), "1 columns under 2 names"),
        (lambda built: built.skip(1), "error order [batch 0]: samples [4, 5, 6, 7], torch has [0, 1, 2, 3]"),
        (swapped(2), "batch 0, column data]: differs by up to"),
    ],
)
def test_verify_sees_planted_bugs(root: str, damage, message: str) -> None:
    plan = dsb.plan(DataLoader(folder(root), batch_size=4))
    build = plan.build
    names = build().get_col_names()

    class Named:
        """The damaged pipeline under the names it should have."""

        def __init__(self, dataset) -> None:
            self.create_tuple_iterator = dataset.create_tuple_iterator

        def get_col_names(self):
            return [*names, "__index"]

    plan.build = lambda **arguments: Named(damage(build(**arguments)))
    report = plan.verify(batches=4)
    assert not report.ok and message in str(report)


class TwoMore:
    """A planted bug: each value of uint8 is two more than the operation's."""

    def __init__(self, inner) -> None:
        self.inner = inner

    def chw(self, array):
        return np.minimum(self.inner.chw(array), 253) + np.uint8(2)


def broken(plan, at: int, op) -> None:
    """Put another operation at this place of the plan's only translation."""
    translation = plan.lifted[0].translation
    for steps in (translation.program.steps, translation.lowered.steps):
        object.__setattr__(steps[at], "op", op)


def test_verify_holds_near_operations_to_their_tolerance(root: str) -> None:
    """Resizing bytes of a tensor: one grey level is stated, which is more once the values are scaled."""
    transform = v1.Compose([v1.PILToTensor(), v1.Resize((16, 16)), v1.ConvertImageDtype(torch.float32)])
    plan = dsb.plan(DataLoader(folder(root, transform), batch_size=4), "near")
    report = plan.verify()
    assert report.ok and 0 < report.measured["largest difference in data"] <= 1.01 / 255
    assert "largest difference in label" not in report.measured
    measured = report.transforms["dataset.transform"].measured
    assert [measured[at].difference for at in (1, 2, 3)] == [0, 1, 0] and measured[2].samples == 12
    broken(plan, 1, TwoMore(plan.lifted[0].translation.program.steps[1].op))
    report = plan.verify()
    assert not report.ok and "error differs [Resize]: differs by 3 on 12 samples, 1 was stated" in str(report)


def test_verify_of_what_is_random_in_the_same_way(root: str) -> None:
    """Policy native: pixels of the resize are not compared with torch's; everything else is, and that is said."""
    plan = dsb.plan(DataLoader(folder(root), batch_size=4), "native")
    report = plan.verify()
    assert report.ok and report.measured["largest difference"] > 0.1
    assert "info shape-only [dataset.transform, RandomResizedCrop" in str(report)
    build = plan.build
    plan.build = lambda **arguments: swapped(2)(build(**arguments))
    report = plan.verify()
    assert not report.ok and "from row 2 on, and is not what its operations make one by one" in str(report)
    plan.build = build
    broken(plan, 0, ops.CenterCrop((16, 18)))
    assert "error differs [RandomResizedCrop" in str(plan.verify()) and not plan.verify().ok


def test_verify_with_repeated_indices(root: str) -> None:
    """An index that comes again has other random numbers, here as there."""
    dataset = folder(root)
    sampler = [3, 3, 7, 3, 7, 3]
    report = dsb.plan(DataLoader(dataset, batch_size=2, sampler=sampler)).verify(batches=9)
    assert report.ok and report.measured == {"batches": 3, "samples": 6, "largest difference": 0.0}


def test_nan_and_text_differ() -> None:
    from dsbridge.transforms.verify import largest_difference

    nan, one = np.array([1.0, np.nan]), np.array([1.0, 1.0])
    assert largest_difference(nan, nan.copy()) == 0 and largest_difference(nan, one) == np.inf
    assert largest_difference(np.array([np.inf, 1.0]), np.array([np.inf, 3.0])) == 2
    assert largest_difference(np.array(["a"]), np.array(["b"])) == np.inf


def test_subset_and_concat(root: str) -> None:
    """Transforms are found behind torch's own wrappers; the user's dataset is left alone."""
    inner = folder(root)
    dataset = ConcatDataset([Subset(inner, [0, 7, 3]), folder(root, v1.Compose([v1.Resize((16, 16)), v1.ToTensor()]))])
    plan = dsb.plan(DataLoader(dataset, batch_size=3))
    assert [one.found.path for one in plan.lifted] == [
        "dataset.datasets[0].dataset.transform",
        "dataset.datasets[1].transform",
    ]
    assert plan.verify(batches=5).ok and inner.transform is TRAIN
    assert batches(plan.build())[0][0].shape == (3, 3, 16, 16)


class Own(torch.utils.data.Dataset):
    """A user's own class, whose transform is in an attribute of its choice."""

    def __init__(self, root: str) -> None:
        self.images, self.augment = folder(root, None), TRAIN

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image, label = self.images[index]
        return {"x": self.augment(image).unsqueeze(0), "y": float(label)}


def test_a_users_own_dataset(root: str) -> None:
    loader = DataLoader(Own(root), batch_size=4)
    plain = dsb.plan(loader)
    assert not plain.lifted
    plan = dsb.plan(loader, transform="augment")
    first = batches(plan.build())[0]
    assert first[0].shape == (4, 1, 3, 16, 16) and first[1].dtype == np.float64
    assert plan.verify(batches=2).ok
    with pytest.raises(TransformError, match="no dataset behind the loader has a transform in its attribute 'nothing'"):
        dsb.plan(loader, transform="nothing")


def test_a_transform_in_an_unknown_class_is_reported() -> None:
    class Hidden(Items):
        transform = staticmethod(lambda image: image)

    plan = dsb.plan(DataLoader(Hidden([(1.0, 0)])))
    assert [finding.code for finding in plan.report.findings] == ["not-lifted"]


def sum_up(samples):
    return torch.stack([image for image, _ in samples]).sum(0), len(samples)


def test_collate_target_transform_and_no_transform(root: str) -> None:
    loader = DataLoader(folder(root, target_transform=lambda label: label + 10), batch_size=4, collate_fn=sum_up)
    plan = dsb.plan(loader)
    assert "sum_up @ test_plan.py" in str(plan) and "target-transform" in plan.report
    assert plan.verify(batches=2).ok
    with pytest.raises(TransformError, match='engine="map" wants one transform'):
        plan.build("map")
    assert batches(dsb.plan(DataLoader(folder(root, None), batch_size=None)).build())[0][0].shape == (20, 31, 3)


def test_wrong_arguments(root: str) -> None:
    with pytest.raises(TypeError, match="reads a torch or dsbridge DataLoader, got ImageFolder"):
        dsb.plan(folder(root))
    with pytest.raises(TransformError, match="no engine 'fast'"):
        dsb.plan(DataLoader(folder(root))).build("fast")
    with pytest.raises(TransformError, match="a stream has no indices"):
        dsb.plan(DataLoader(Stream([1.0])), transform="augment")
    assert "a stream" in str(dsb.plan(DataLoader(Stream([1.0]))))


RUN = """
import sys
for name in ("torch", "torchvision", "dsbridge"):
    sys.modules[name] = None
import numpy as np
import script
rows = list(script.pipeline(1).create_tuple_iterator(num_epochs=1, output_numpy=True))
np.savez("rows.npz", images=np.concatenate([row[0] for row in rows]), labels=np.concatenate([row[1] for row in rows]))
"""


@pytest.mark.parametrize("policy", ["exact", "native"])
def test_the_script_reads_the_same_folder(root: str, policy: str, tmp_path: Path) -> None:
    """Without torch and dsbridge, the same images and labels, bit by bit."""
    plan = dsb.plan(DataLoader(folder(root), batch_size=5), policy)
    (tmp_path / "script.py").write_text(plan.to_python())
    rules = ["--isolated", "--select", "E,F,W,I,UP,B", "--line-length", "128"]
    ruff = [sys.executable, "-m", "ruff", "check", *rules, tmp_path / "script.py"]
    checked = subprocess.run(ruff, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    done = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    rows = np.load(tmp_path / "rows.npz")
    ours = batches(plan.build())
    assert rows["images"].tobytes() == b"".join(row[0].tobytes() for row in ours)
    assert rows["labels"].tolist() == [label for row in ours for label in row[1].tolist()]


def test_the_script_says_what_it_cannot_do(root: str) -> None:
    source = dsb.plan(DataLoader(Own(root), batch_size=2, collate_fn=sum_up)).to_python()
    compile(source, "script.py", "exec")
    assert (
        "raise NotImplementedError(" in source and "Own is read by its own code" in source and "sum_up @ test_plan.py" in source
    )
