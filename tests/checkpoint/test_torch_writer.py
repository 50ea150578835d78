"""What the writer writes, torch opens (weights_only, memory-mapped or not), bit by bit; so do zipfile and our reader."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dsbridge.checkpoint.formats import torch_writer
from dsbridge.checkpoint.formats.torch_writer import TorchWriter
from dsbridge.checkpoint.formats.torch_zip import READER, entries
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import TABLE, lookup

SHAPES = [(), (0,), (0, 4), (3, 0), (1,), (2, 3), (3, 1, 5)]
STATE = OrderedDict((f"{row.name}.{shape}", (row.name, shape)) for row in TABLE if row.torch for shape in SHAPES)


@dataclass(frozen=True)
class Line:
    """An outline."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def content(dtype: str, shape: tuple[int, ...]) -> bytes:
    count = int(np.prod(shape)) * lookup(dtype).numpy.itemsize
    return np.random.default_rng(3).integers(0, 2 if dtype == "bool" else 256, count, dtype=np.uint8).tobytes()


def write(path: Path, state: dict[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str] | None = None) -> None:
    writer = TorchWriter()
    with open(path, "wb") as file:
        writer.begin(file, [Line(name, *kind) for name, kind in state.items()], metadata or {})
        for name, kind in state.items():
            data = content(*kind)
            writer.write(name, [data[:5], memoryview(data)[5:]])
        writer.end()


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_loads_it(mmap: bool, tmp_path: Path) -> None:
    """Every dtype that torch has, 0-d and zero-size, with weights_only=True; contiguous, an OrderedDict in order."""
    write(tmp_path / "a.pth", STATE)
    got = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)
    assert type(got) is OrderedDict and list(got) == list(STATE)
    for name, (dtype, shape) in STATE.items():
        tensor = got[name]
        assert str(tensor.dtype) == f"torch.{dtype}" and tuple(tensor.shape) == shape and tensor.is_contiguous()
        flat = tensor.reshape(-1)
        assert (flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"") == content(dtype, shape)
    del got, tensor, flat


def test_python_and_our_reader_read_it(tmp_path: Path) -> None:
    """CRCs, names and places agree; data begin at multiples of 64 bytes."""
    write(tmp_path / "a.pth", STATE, {"made": "by a test"})
    with zipfile.ZipFile(tmp_path / "a.pth") as file:
        assert file.testzip() is None
    got = READER.read(tmp_path / "a.pth")
    assert all(tensor.spans[0].crc for tensor in got.tensors.values() if tensor.spans)  # and compared by read(), below
    assert got.metadata == {"made": "by a test"} and not len(got.report)
    for name, kind in STATE.items():
        assert (got.tensors[name].dtype, got.tensors[name].shape) == kind
        assert got.tensors[name].read().tobytes() == content(*kind)
        assert all(span.offset % 64 == 0 for span in got.tensors[name].spans)


def test_metadata_does_not_disturb_torch(tmp_path: Path) -> None:
    write(tmp_path / "a.pth", {"w": ("float32", (2,))}, {"w": "a text under a tensor's name"})
    assert list(torch.load(tmp_path / "a.pth", weights_only=True)) == ["w"]


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes and offsets over 4 GiB, with the limit lowered to 1000 bytes: torch and we read the wide fields."""
    monkeypatch.setattr(torch_writer, "_LIMIT", 1000)
    state = {"small": ("int8", (3,)), "big": ("float32", (2000,)), "last": ("bfloat16", (4, 4))}
    write(tmp_path / "a.pth", state)
    assert b"PK\6\6" in (tmp_path / "a.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pth") as file:
        assert file.testzip() is None
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)
        assert loaded["big"].numpy().tobytes() == content("float32", (2000,))
        del loaded
    got = READER.read(tmp_path / "a.pth")
    assert all(got.tensors[name].read().tobytes() == content(*kind) for name, kind in state.items())


def test_a_storage_of_more_than_two_billion_elements_is_described(tmp_path: Path) -> None:
    """Integers over 31 bits in the pickle; the 3 GB are not written."""
    pickled = torch_writer._pickled([Line("w", "int8", (3, 1 << 30))])
    assert torch_writer._integer(3 << 30) in pickled and torch_writer._integer(3 << 30).startswith(b"\x8a\x08")


def test_an_empty_file(tmp_path: Path) -> None:
    write(tmp_path / "a.pth", {})
    assert torch.load(tmp_path / "a.pth", weights_only=True) == OrderedDict()


REFUSED: dict[str, Any] = {
    "two of one name": ([Line("w", "int8", ()), Line("w", "int8", ())], "two tensors have the name 'w'"),
    "text": ([Line("w", "str", (2,))], "tensor 'w' is str, which torch has not"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_a_byte_is_written(name: str) -> None:
    file = io.BytesIO()
    with pytest.raises(CheckpointError, match=REFUSED[name][1]):
        TorchWriter().begin(file, REFUSED[name][0], {})
    assert file.getvalue() == b""


def test_another_order_or_size_is_refused() -> None:
    writer = TorchWriter()
    writer.begin(io.BytesIO(), [Line("a", "int8", (2,)), Line("b", "int8", (2,))], {})
    with pytest.raises(CheckpointError, match="tensor 'b' is written where 'a' is due"):
        writer.write("b", [b"xx"])
    with pytest.raises(CheckpointError, match="got 1 bytes, not 2"):
        writer.write("a", [b"x"])
    with pytest.raises(CheckpointError, match="tensor 'b' was not written"):
        writer.end()


def test_no_more_than_the_file_is_held(tmp_path: Path) -> None:
    """The directory that torch reads is the last of the file, so a file that was cut is refused."""
    write(tmp_path / "a.pth", {"w": ("float32", (100,))})
    with open(tmp_path / "a.pth", "rb") as file:
        assert [name.removeprefix("archive/") for name in entries(file, "a")] == ["data.pkl", "byteorder", "data/0", "version"]
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="no directory"):
        READER.read(tmp_path / "a.pth")
