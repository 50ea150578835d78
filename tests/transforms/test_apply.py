"""In ds.map: the same bytes for any number of threads and processes, epochs that differ, and what is refused."""

from __future__ import annotations

import os
import sys

import mindspore.dataset as mds
import mindspore.dataset.vision as vision
import numpy as np
import pytest
import torch
from harness import array, pil
from helpers import rows
from laws import independent
from torchvision_shim import v1, v2

import dsbridge as dsb
from dsbridge import TransformError
from dsbridge.transforms import ops, translate

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Images(torch.utils.data.Dataset):
    """Image ``number`` and its number."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int):
        return pil(index), index


def jittered(image):
    return image.rotate(torch.rand(1).item() * 40)


CHAIN = v1.Compose(
    [
        v1.RandomResizedCrop(24),
        v1.RandomApply([v1.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.5),
        v1.RandomChoice([v1.RandomHorizontalFlip(1.0), v1.RandomVerticalFlip(1.0)]),
        jittered,
        v1.ToTensor(),
        v1.Normalize(MEAN, STD),
    ]
)
WORKERS = [{}, {"num_parallel_workers": 0}, {"num_parallel_workers": 2}, {"num_parallel_workers": 99}]
PROCESSES = {"num_parallel_workers": 2, "python_multiprocessing": True}


def source(**arguments):
    return dsb.to_mindspore(Images(), column_names=["image", "label"], **arguments)


def bytes_of(dataset, epochs: int = 1) -> list[bytes]:
    iterator = dataset.create_tuple_iterator(num_epochs=epochs, output_numpy=True)
    return [row[0].tobytes() for _ in range(epochs) for row in iterator]


@pytest.mark.parametrize("arguments", WORKERS, ids=str)
def test_any_number_of_workers_gives_the_same_bytes(arguments) -> None:
    """As does the plain callable with the same keys; the second epoch differs from the first."""
    t = translate(CHAIN, seed=2)
    found = bytes_of(t.apply(source(), **arguments), epochs=2)
    expected = [t(pil(index), key=(epoch, index)).tobytes() for epoch in (0, 1) for index in range(12)]
    assert found == expected and len(set(found)) == 24


@pytest.mark.slow
def test_processes_give_the_same_bytes_too(run_python) -> None:
    """MindSpore's own worker processes; alone, without keys, they draw independently of each other."""
    code = """
        import mindspore.dataset as mds
        import numpy as np
        from test_apply import CHAIN, PROCESSES, bytes_of, pil, rows, source, translate, v1
        t = translate(CHAIN, seed=2)
        found = bytes_of(t.apply(source(), **PROCESSES), epochs=2)
        assert found == [t(pil(index), key=(epoch, index)).tobytes() for epoch in (0, 1) for index in range(12)]
        image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1), np.uint8)
        data = mds.NumpySlicesDataset({"image": image.repeat(200, 0)})
        crops = [row[0].tobytes() for row in rows(data.map(translate(v1.RandomCrop(4)).operations, ["image"], **PROCESSES))]
        assert len(set(crops)) > 180, len(set(crops))  # 3,721 places
        print("fine")
        """
    paths = os.pathsep.join(sys.path)
    done = run_python(code, env={"PYTHONPATH": paths})
    assert done.stdout == "fine\n", done.stdout + done.stderr


def test_order_and_resume_do_not_matter() -> None:
    """A shuffled dataset, and one that goes on after its first epoch: a sample's key is its own."""
    t = translate(CHAIN, seed=2)
    dataset = t.apply(source(shuffle=True, seed=1))
    first = rows(dataset)
    assert [row[0].tobytes() for row in first] == [t(pil(int(label)), key=(0, int(label))).tobytes() for _, label in first]
    second = rows(dataset)  # another iterator: epoch 1
    assert [row[0].tobytes() for row in second] == [t(pil(int(label)), key=(1, int(label))).tobytes() for _, label in second]


def test_an_index_that_comes_twice_draws_twice() -> None:
    t = translate(v1.RandomCrop(5))
    dataset = dsb.to_mindspore(Images(), column_names=["image", "label"], sampler=[3, 3, 3])
    assert len(set(bytes_of(t.apply(dataset)))) == 3


def test_columns_and_size_are_as_before() -> None:
    t = translate(v1.CenterCrop(8))
    dataset = t.apply(source(index_column="index"))
    assert dataset.get_col_names() == ["image", "label", "index"] and dataset.get_dataset_size() == 12
    assert [int(row[2]) for row in rows(dataset)] == list(range(12))
    assert source().get_col_names() == ["image", "label"]


def test_the_dataset_given_is_left_alone() -> None:
    dataset = source()
    translate(v1.CenterCrop(8)).apply(dataset)
    assert dataset.get_col_names() == ["image", "label"] and len(rows(dataset)[0]) == 2


def test_two_columns_and_operations_between() -> None:
    """apply twice, behind map, shuffle, take and project: each finds the key."""
    pairs = dsb.to_mindspore([(array(i), array(i + 1), i) for i in range(6)], column_names=["a", "b", "label"])
    t = translate([v1.RandomHorizontalFlip(), v1.CenterCrop(8)], seed=3)
    dataset = t.apply(pairs.shuffle(6), "a").map(lambda x: x, ["label"]).take(4)
    dataset = t.apply(dataset.project(["b", "a", "label"]), "b").batch(2)
    for b, a, label in rows(dataset):
        for one_b, one_a, index in zip(b, a, label, strict=True):
            key = (0, int(index))
            assert np.array_equal(one_a, t(array(index), key)) and np.array_equal(one_b, t(array(index + 1), key))


def test_rows_made_by_dsbridge_workers() -> None:
    t = translate(CHAIN, seed=2)
    assert bytes_of(t.apply(source(num_workers=2))) == [t(pil(index), key=(0, index)).tobytes() for index in range(12)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: mds.NumpySlicesDataset(np.zeros((3, 4, 4, 3), np.uint8), ["image"]),
            "needs a dataset made by dsbridge.to_mindspore",
        ),
        (lambda: source(batch_size=1), "the dataset is batched"),
        (lambda: source().batch(1), "apply after BatchDataset"),
        (lambda: source().rename("image", "picture"), "no column 'image'; the dataset has picture, label"),
    ],
)
def test_wrong_datasets(make, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        translate(v1.CenterCrop(8)).apply(make())


def test_in_the_sources_thread() -> None:
    """num_parallel_workers=0: columns and index as before, twice over; only right behind the source."""
    t = translate(v1.CenterCrop(8))
    dataset = t.apply(source(index_column="index"), num_parallel_workers=0)
    assert dataset.get_col_names() == ["image", "label", "index"] and dataset.get_dataset_size() == 12
    assert dataset.row_schema["image"].shape == (8, 8, 3)
    assert [int(row[2]) for row in rows(t.apply(dataset, num_parallel_workers=0))] == list(range(12))
    with pytest.raises(TransformError, match="num_parallel_workers=0 runs operations in the source"):
        t.apply(source().skip(1), num_parallel_workers=0)


def fails_on_five(image):
    if image.size == pil(5).size:
        raise ValueError("no")
    return image


def test_a_failure_names_operation_and_index() -> None:
    with pytest.raises(
        RuntimeError, match=r"operation 1 fails_on_five @ test_apply.py:\d+ failed: ValueError: no \[dataset index 5\]"
    ):
        rows(translate([fails_on_five, v1.CenterCrop(4)]).apply(source()))
    with pytest.raises(RuntimeError, match="returns 5 images .*a column holds one"):
        rows(translate(v1.FiveCrop(4)).apply(source()))


def test_operations_alone() -> None:
    """A fresh list each time, exact and independent; without apply there is no key, so samples draw one after another."""
    t = translate([v1.RandomHorizontalFlip(), v1.RandomVerticalFlip()])
    assert t.operations[0] is not t.operations[0]
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    variants = {image[::v, ::h].tobytes(): (v, h) for v in (1, -1) for h in (1, -1)}

    def data():
        return mds.NumpySlicesDataset({"image": np.stack([image] * 400)}, shuffle=False)

    for arguments in ({}, {"num_parallel_workers": 2}):
        found = [variants[row[0].tobytes()] for row in rows(data().map(t.operations, ["image"], **arguments))]
        assert min(found.count(variant) for variant in variants.values()) > 60
        assert independent([v for v, _ in found], [h for _, h in found]) > 1e-3
    crop = translate(v1.RandomCrop(1))
    first, second = (rows(data().map(crop.operations, ["image"], num_parallel_workers=1)) for _ in range(2))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("chain", "input"),
    [
        ([v1.ToTensor(), v1.Normalize(MEAN, STD)], "pil"),
        ([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)], "pil"),
        ([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)], "pil"),
        ([v1.Normalize(MEAN, STD)], "float"),
    ],
    ids=str,
)
def test_mindspores_own_operations_where_they_suffice(chain, input: str) -> None:
    """Bit-equal for all 256 values, and no Python in between."""
    t = translate(chain, input=input)
    assert all(type(op).__module__ == vision.transforms.__name__ for op in t.operations)
    assert {row.backend for row in t.report.rows} == {"native"}
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    image = values if input == "pil" else values.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    (found,) = rows(t.apply(dsb.to_mindspore([(image,)], column_names=["image"])))
    expected = v1.Compose(chain)(pil_of(values) if input == "pil" else torch.from_numpy(image))
    assert np.array_equal(found[0], expected.numpy()) and np.array_equal(t(image), expected.numpy())


def pil_of(values: np.ndarray):
    from PIL import Image

    return Image.fromarray(values)


def test_mixing_in_ds_batch() -> None:
    """MixUp and CutMix as per_batch_map: the same in every run, another in the next epoch."""
    images = [(np.full((3, 4, 4), i, np.float32), i % 3) for i in range(8)]
    t = translate(v2.RandomChoice([v2.MixUp(num_classes=3), v2.CutMix(num_classes=3)]), seed=1)

    def epochs() -> list[bytes]:
        dataset = dsb.to_mindspore(images, column_names=["image", "label"])
        batched = dataset.batch(4, per_batch_map=t.per_batch_map, input_columns=["image", "label"])
        iterator = batched.create_tuple_iterator(num_epochs=2, output_numpy=True)
        found = [row for _ in range(2) for row in iterator]
        assert all(row[1].shape == (4, 3) and np.allclose(row[1].sum(1), 1) for row in found)
        return [row[0].tobytes() for row in found]

    first = epochs()
    assert first == epochs() and len(set(first)) == 4


def test_own_operations_without_torchvision() -> None:
    t = translate([ops.RandomHorizontalFlip(p=1.0), ops.CenterCrop((8, 8)), ops.ToTensor()])
    assert rows(t.apply(source()))[0][0].shape == (3, 8, 8)
