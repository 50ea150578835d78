"""dsbridge.wrap on every kind of dataset it promises to take."""

from __future__ import annotations

import dataclasses
import io
import pickle
import tarfile
from collections import namedtuple

import mindspore.dataset as mds
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch.utils import data

import dsbridge as dsb


def rows(source) -> list[list]:
    return [[value.tolist() for value in row] for row in source]


class Squares(data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        if not 0 <= index < 4:
            raise IndexError(index)
        return torch.tensor([index, index**2]), index


class Stream(data.IterableDataset):
    def __init__(self, start=0, stop=4):
        self.range = range(start, stop)

    def __iter__(self):
        return iter(self.range)


TORCH_KINDS = {
    "map": (Squares(), [[[i, i**2], i] for i in range(4)]),
    "list": ([(1.5, 2), (2.5, 3)], [[1.5, 2], [2.5, 3]]),
    "subset": (data.Subset(Squares(), [3, 1]), [[[3, 9], 3], [[1, 1], 1]]),
    "concat": (data.ConcatDataset([Squares(), Squares()]), [[[i, i**2], i] for i in (0, 1, 2, 3) * 2]),
    "tensor": (data.TensorDataset(torch.arange(3), torch.arange(3) * 2.0), [[i, i * 2.0] for i in range(3)]),
    "stack": (data.StackDataset(a=torch.arange(2), b=["x", "y"]), [[0, "x"], [1, "y"]]),
    "random_split": (data.random_split(range(4), [2, 2], torch.Generator().manual_seed(0))[0], None),
    "iterable": (Stream(), [[0], [1], [2], [3]]),
    "chain": (data.ChainDataset([Stream(), Stream(4, 6)]), [[i] for i in range(6)]),
    "generator function": (lambda: (i for i in range(3)), [[0], [1], [2]]),
}


@pytest.mark.parametrize("kind", TORCH_KINDS)
def test_torch_datasets(kind: str) -> None:
    """Rows come out as the dataset gives them, twice the same, and through GeneratorDataset."""
    dataset, expected = TORCH_KINDS[kind]
    source = dsb.wrap(dataset)
    found = rows(source)
    assert found == (expected or [[dataset[i]] for i in range(len(dataset))])
    assert rows(source) == found
    pipeline = mds.GeneratorDataset(source, source.column_names, shuffle=False)
    delivered = [[v.tolist() for v in row] for row in pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)]
    assert delivered == found


def test_names_from_dict_namedtuple_dataclass_and_position() -> None:
    """Columns are called after keys, fields or positions; nested keys are joined by dots."""
    Point = namedtuple("Point", "x y")

    @dataclasses.dataclass
    class Item:
        image: float
        at: Point

    assert dsb.wrap([{"a": 1, "b": {"c": 2, "d": (3, 4)}}]).column_names == ["a", "b.c", "b.d.0", "b.d.1"]
    assert dsb.wrap([Item(1.0, Point(2, 3))]).column_names == ["image", "at.x", "at.y"]
    assert dsb.wrap([Point(1, 2)]).column_names == ["x", "y"]
    assert dsb.wrap([5]).column_names == ["data"]
    assert dsb.wrap([(1, 2)]).column_names == ["data", "label"]
    assert dsb.wrap([(1, 2, 3)]).column_names == ["column_0", "column_1", "column_2"]
    assert dsb.wrap([(1, 2)], column_names=["x", "y"]).column_names == ["x", "y"]


def test_structure_gives_the_sample_back() -> None:
    """``structure.unflatten(row)`` is the user's nesting with arrays as leaves."""
    source = dsb.wrap([{"a": (1, [np.zeros(2), 2.5])}])
    assert str(source.structure.unflatten(source[0])) == str({"a": (np.array(1), [np.zeros(2), np.array(2.5)])})


TABLE = pa.table(
    {
        "x": pa.array([1.5, 2.5, 3.5], pa.float32()),
        "tokens": pa.array([[1, 2], [], [3]], pa.list_(pa.int16())),
        "box": pa.array([[0, 1], [2, 3], [4, 5]], pa.list_(pa.uint8(), 2)),
        "name": ["a", "bc", "d"],
        "meta": [{"id": 1, "ok": True}, {"id": 2, "ok": False}, {"id": 3, "ok": True}],
        "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
        "grid": pa.array([[[1.0], [2.0]]] * 3, pa.list_(pa.list_(pa.float32()))),
    }
)
SECOND_ROW = {"x": 2.5, "tokens": [], "box": [2, 3], "name": "bc", "meta.id": 2, "meta.ok": False, "kind": "v"}


def save(how: str, path) -> object:
    if how == "table":
        return TABLE
    if how == "chunked":
        return pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 2)])
    if how == "sliced":
        return pa.concat_tables([TABLE.slice(2, 1), TABLE]).slice(1)
    if how == "parquet":
        pa.parquet.write_table(TABLE, path, row_group_size=2)
        return path
    if how == "dataset":
        pa.parquet.write_table(TABLE, path)
        return pyarrow.dataset.dataset(path)
    if how == "directory":
        path.mkdir()
        pa.parquet.write_table(TABLE, path / "part.parquet")
        return str(path)
    with pa.OSFile(str(path), "wb") as file:
        new = pa.ipc.new_file if how == "ipc file" else pa.ipc.new_stream
        with new(file, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return path


@pytest.mark.parametrize("how", ["table", "chunked", "sliced", "parquet", "dataset", "directory", "ipc file", "ipc stream"])
def test_arrow(how: str, tmp_path) -> None:
    """Arrow in memory and on disk: the dtypes of the table, views for lists, nested names for structs."""
    source = dsb.wrap(save(how, tmp_path / "data"))
    row = dict(zip(source.column_names, source[1], strict=True))
    assert {name: row[name].tolist() for name in SECOND_ROW} == SECOND_ROW
    dtypes = {column.name: column.dtype.name for column in source.schema}
    assert dtypes["x"] == "float32" and dtypes["tokens"] == "int16" and dtypes["box"] == "uint8"
    assert dtypes["grid"] == "float32" and row["grid"].shape == (2, 1)
    assert len(rows(source)) == len(source) == 3
    assert rows(pickle.loads(pickle.dumps(source))) == rows(source)


def test_arrow_null_names_index_and_column() -> None:
    """A null is an error, not a NaN."""
    source = dsb.wrap(pa.table({"x": [1.0, None, 3.0]}))
    assert source[2][0] == 3.0
    with pytest.raises(dsb.SampleError, match=r"sample 1, column 'x': is null\. Hint: fill or drop nulls"):
        source[1]


def test_not_arrow(tmp_path) -> None:
    """A path of something else says what it is not."""
    path = tmp_path / "notes.txt"
    path.write_text("hello, this is text")
    with pytest.raises(dsb.SchemaError, match="neither Parquet nor Arrow IPC"):
        dsb.wrap(path)
    with pytest.raises(FileNotFoundError):
        dsb.wrap(tmp_path / "missing.parquet")


def hugging_face():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "x": datasets.Value("float32"),
            "tokens": datasets.List(datasets.Value("int32")),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "text": datasets.Value("string"),
            "image": datasets.Image(),
        }
    )
    picture = Image.fromarray(np.full((2, 3, 3), 7, np.uint8))
    rows = {"x": [1.5, 2.5], "tokens": [[1, 2], [3]], "label": [0, 1], "text": ["a", "bc"], "image": [picture] * 2}
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_declared_dtypes() -> None:
    """A Hugging Face dataset delivers the dtypes its features declare; its own format is left alone."""
    dataset = hugging_face()
    source = dsb.wrap(dataset)
    assert {c.name: c.dtype.name for c in source.schema if c.name != "text"} == {
        "x": "float32",
        "tokens": "int32",
        "label": "int64",
        "image": "uint8",
    }
    row = dict(zip(source.column_names, source[1], strict=True))
    assert row["tokens"].tolist() == [3] and row["text"] == "bc" and row["image"].shape == (2, 3, 3)
    formatted = dsb.wrap(dataset.select_columns(["x", "label"]).with_format("torch"))
    assert formatted[0][0].dtype == np.float32
    streamed = dsb.wrap(dataset.select_columns(["label"]).to_iterable_dataset())
    assert rows(streamed) == [[0], [1]]
    with pytest.raises(dsb.SchemaError, match="wrap one split"):
        dsb.wrap(__import__("datasets").DatasetDict(train=dataset))


@pytest.mark.filterwarnings("ignore")
def test_webdataset(tmp_path) -> None:
    """A WebDataset is an iterable of dicts; bytes stay bytes, decoded images are arrays."""
    webdataset = pytest.importorskip("webdataset")
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for index in range(3):
            png = io.BytesIO()
            Image.fromarray(np.full((2, 2, 3), index, np.uint8)).save(png, "PNG")
            for suffix, content in (("png", png.getvalue()), ("cls", str(index).encode())):
                info = tarfile.TarInfo(f"{index:03}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    dataset = webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8").to_tuple("png", "cls")
    source = dsb.wrap(dataset)
    assert source.column_names == ["data", "label"]
    assert [(row[0].shape, int(row[0][0, 0, 0]), int(row[1])) for row in source] == [((2, 2, 3), i, i) for i in range(3)]


def test_classes_dicts_and_other_things_are_refused() -> None:
    """What is no dataset says so, with a hint."""
    with pytest.raises(TypeError, match="Squares is a class"):
        dsb.wrap(Squares)
    with pytest.raises(dsb.SchemaError, match="a dict is not a dataset"):
        dsb.wrap({"train": [1]})
    with pytest.raises(TypeError, match="cannot wrap int"):
        dsb.wrap(3)


def test_source_pickles_with_its_schema() -> None:
    """A map-style source survives pickling, as spawned workers need."""
    source = pickle.loads(pickle.dumps(dsb.wrap(Squares())))
    assert source.schema["data"].shape == (2,) and rows(source) == TORCH_KINDS["map"][1]
