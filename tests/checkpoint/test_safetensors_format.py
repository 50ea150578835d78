"""The safetensors format: bit for bit, against the safetensors package and MindSpore, strict, and safe with damaged files."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsbridge.checkpoint.formats import safetensors_format as st
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.frameworks import mindspore_tensors
from dsbridge.schema.dtypes import lookup, numpy_dtype

DTYPES = tuple(st._CODES)
UNCLOSED = pytest.mark.filterwarnings("ignore::ResourceWarning")  # MindSpore's loader leaves its files to the collector
NEW_NUMPY = np.lib.NumpyVersion(np.__version__) >= "2.0.0b1"
SHAPES = ((), (1,), (3,), (2, 3), (0,), (0, 4), (2, 0, 3), (1, 1, 5))


@dataclass(frozen=True)
class Outline:
    """What a header needs."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def some(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random bits of a dtype: NaNs with payloads, -0.0 and subnormal numbers are among them."""
    kind = numpy_dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.random.default_rng(seed).integers(0, 256, count * kind.itemsize, np.uint8)
    return (raw & 1 if dtype == "bool" else raw).view(kind).reshape(shape)


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """All that makes two arrays the same; equal NaNs are equal."""
    return lookup(array.dtype).name, array.shape, array.tobytes()


def store(writer: Any, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None, step: int = 7) -> bytes:
    """The bytes of a file written in pieces of ``step`` bytes."""
    file = io.BytesIO()
    writer.begin(file, [Outline(name, lookup(a.dtype).name, a.shape) for name, a in arrays.items()], metadata or {})
    for name, array in arrays.items():
        raw = array.tobytes()
        writer.write(name, [memoryview(raw)[at : at + step] for at in range(0, len(raw), step)])
    writer.end()
    return file.getvalue()


def everything(dtypes: tuple[str, ...] = DTYPES, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> dict[str, np.ndarray]:
    """A tensor of each dtype and shape."""
    return {f"{dtype}.{n}": some(dtype, shape, n) for dtype in dtypes for n, shape in enumerate(shapes)}


def opened(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and all values of a file."""
    checkpoint = open_checkpoint(path)
    return checkpoint.metadata, {name: stored.read() for name, stored in checkpoint.tensors.items()}


def damaged(data: bytes, seed: int, focus: int) -> bytes:
    """``data`` cut short, with changed bytes, or with a piece cut out, doubled or put in; half of it before ``focus``."""
    rng = random.Random(seed)
    at = rng.randrange(min(focus, len(data)) if rng.random() < 0.5 else len(data))
    length = rng.choice((1, 2, 8, rng.randrange(1, len(data))))
    match seed % 5:
        case 0:
            return data[:at]
        case 1:
            changed = bytearray(data)
            for place in {at, *(rng.randrange(len(data)) for _ in range(rng.randrange(3)))}:
                changed[place] ^= rng.randrange(1, 256)
            return bytes(changed)
        case 2:
            return data[:at] + data[at + length :]
        case 3:
            return data[:at] + data[at : at + length] + data[at:]
        case _:
            return data[:at] + rng.randbytes(min(length, 64)) + data[at:]


def survive(tmp_path: Path, data: bytes, focus: int, judge: Callable[[Checkpoint, dict[str, np.ndarray], int], None]) -> int:
    """Open 150 damaged copies and read all that they say they hold; how many were refused. ``judge``: those that opened."""
    refused, begin = 0, time.monotonic()
    path = tmp_path / "damaged"
    for seed in range(150):
        path.write_bytes(damaged(data, seed, focus))
        try:
            checkpoint = open_checkpoint(path)
            arrays = {name: stored.read() for name, stored in checkpoint.tensors.items()}
        except CheckpointError:
            refused += 1
        else:
            judge(checkpoint, arrays, seed)
    assert time.monotonic() - begin < 30
    return refused


def raw_file(header: Any, data: bytes = b"") -> bytes:
    """A file by hand: a header (a dict or its bytes) and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def mindspore() -> Iterator[Any]:
    """MindSpore with its first operation done."""
    import gc

    mindspore_tensors.tensor_type()
    import mindspore

    yield mindspore
    gc.collect()  # maps of loaded files


def test_round_trip_of_every_dtype_and_shape(tmp_path: Path) -> None:
    """Bits, names, order among equal widths, 0-d against (1,), zero-size and metadata survive; chunks may have any size."""
    arrays = everything()
    for step in (1 << 20, 7):
        path = tmp_path / "m.anything"
        path.write_bytes(store(st.SafetensorsWriter(), arrays, {"épochs": "3", "a": ""}, step))
        metadata, got = opened(path)
        assert metadata == {"épochs": "3", "a": ""}
        assert list(got) == sorted(arrays, key=lambda name: -arrays[name].itemsize)
        assert {name: bits(a) for name, a in got.items()} == {name: bits(a) for name, a in arrays.items()}


def test_wide_dtypes_come_first_in_the_data_so_that_all_are_aligned(tmp_path: Path) -> None:
    """Whatever the order of the outlines; and the header has the order of the data, or MindSpore refuses the file."""
    arrays = {"a": some("uint8", (3,)), "b": some("float64", (1,)), "c": some("bfloat16", (5,)), "d": some("float32", (2,))}
    path = tmp_path / "m"
    path.write_bytes(store(st.SafetensorsWriter(), arrays))
    tensors = open_checkpoint(path).tensors
    assert list(tensors) == ["b", "d", "c", "a"]
    assert sorted(tensors, key=lambda name: tensors[name].spans[0].offset) == list(tensors)
    for stored in tensors.values():
        assert all(span.offset % stored.itemsize == 0 for span in stored.spans)
    assert {name: bits(a) for name, a in opened(path)[1].items()} == {name: bits(a) for name, a in arrays.items()}


def test_the_safetensors_package_agrees_in_both_directions(tmp_path: Path) -> None:
    """It reads what is written here, and its own files are read here, dtype by dtype, bit for bit."""
    safetensors = pytest.importorskip("safetensors")
    from safetensors.torch import save_file

    arrays = everything()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(store(st.SafetensorsWriter(), arrays, {"format": "pt"}))
    tensors = {}
    with safetensors.safe_open(ours, "pt") as file:
        assert file.metadata() == {"format": "pt"}
        for name, array in arrays.items():
            tensors[name] = file.get_tensor(name)
            assert str(tensors[name].dtype) == f"torch.{lookup(array.dtype).torch}"
            assert tuple(tensors[name].shape) == array.shape
    save_file(tensors, theirs, {"x": "y"})
    metadata, got = opened(theirs)
    assert metadata == {"x": "y"}
    assert {name: bits(a) for name, a in got.items()} == {name: bits(a) for name, a in arrays.items()}


@UNCLOSED
def test_mindspore_loads_what_is_written(tmp_path: Path, mindspore: Any) -> None:
    """All dtypes it holds, 0-d and zero-size included; bfloat16 on numpy 1 only (on numpy 2 its own loader refuses)."""
    dtypes = tuple(d for d in DTYPES if d not in st.NOT_FOR_MINDSPORE and not (NEW_NUMPY and d == "bfloat16"))
    arrays = everything(dtypes)
    path = tmp_path / "m.safetensors"
    path.write_bytes(store(st.SafetensorsWriter(), arrays))
    loaded = mindspore.load_checkpoint(str(path), format="safetensors")
    for name, array in arrays.items():
        assert tuple(loaded[name].shape) == array.shape
        assert str(loaded[name].dtype) == str(getattr(mindspore, lookup(array.dtype).mindspore))
        assert bytes(loaded[name].get_bytes()) == array.tobytes()


@UNCLOSED
@pytest.mark.parametrize("dtype", sorted(st.NOT_FOR_MINDSPORE & set(DTYPES)))
def test_one_such_tensor_and_mindspore_loads_nothing(dtype: str, tmp_path: Path, mindspore: Any) -> None:
    """F8 or complex in a file: what ``NOT_FOR_MINDSPORE`` says; here the file is fine."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(store(st.SafetensorsWriter(), {"a": some("float32", (2,)), "b": some(dtype, (2,))}))
    with pytest.raises(KeyError):
        mindspore.load_checkpoint(str(path), format="safetensors")
    assert len(open_checkpoint(path).tensors) == 2


@UNCLOSED
@pytest.mark.skipif(not NEW_NUMPY, reason="numpy 1 has no trouble")
def test_on_numpy_2_mindspore_loads_no_safetensors_with_bfloat16(tmp_path: Path, mindspore: Any) -> None:
    """Its own limit: there, bfloat16 goes through .ckpt."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(store(st.SafetensorsWriter(), {"a": some("bfloat16", (2,))}))
    with pytest.raises(TypeError, match="bfloat16"):
        mindspore.load_checkpoint(str(path), format="safetensors")


def mindspore_file(mindspore: Any, path: Path, arrays: dict[str, np.ndarray], **options: Any) -> bytes:
    """What MindSpore itself saves."""
    items = [{"name": name, "data": mindspore.Tensor.from_numpy(array.copy())} for name, array in arrays.items()]
    mindspore.save_checkpoint(items, str(path), format="safetensors", **options)
    return path.read_bytes()


def test_mindspore_files_are_read_and_their_checksum_is_verified(tmp_path: Path, mindspore: Any) -> None:
    """crc_num covers names and bytes: one changed bit in the data is an error."""
    arrays = {"step": np.array(12345), "small": np.array(7, np.uint8)}  # 0-d integers: summed in an odd way
    arrays |= everything(("float32", "float16", "bool"), ((), (3,), (0,), (2, 2)))
    path = tmp_path / "m.safetensors"
    data = mindspore_file(mindspore, path, arrays, crc_check=True)
    metadata, got = opened(path)
    assert metadata["format"] == "ms" and metadata["crc_num"].isdigit()
    assert {name: bits(a) for name, a in got.items()} == {name: bits(a) for name, a in arrays.items()}
    other = tmp_path / "other"
    other.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="crc_num is"):
        open_checkpoint(other)


@UNCLOSED
def test_metadata_named_like_a_tensor_is_refused_when_writing_and_reported_when_read(tmp_path: Path, mindspore: Any) -> None:
    """MindSpore crashes on it: it takes the metadata for the tensor's dtype."""
    with pytest.raises(CheckpointError, match="metadata 'w' has the name of a tensor"):
        store(st.SafetensorsWriter(), {"w": some("int8", (2,))}, {"w": "x"})
    path = tmp_path / "m.safetensors"
    entry = {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}
    path.write_bytes(raw_file({"__metadata__": {"w": "x"}, "w": entry}, b"ab"))
    with pytest.raises(KeyError):
        mindspore.load_checkpoint(str(path), format="safetensors")
    assert [(f.code, f.severity) for f in open_checkpoint(path).report] == [("named-like-a-tensor", "warning")]
    path.write_bytes(raw_file({"__metadata__": {"w": "Int4"}, "w": entry}, b"ab"))
    assert not open_checkpoint(path).report.ok


def test_one_ranks_part_is_an_error_finding(tmp_path: Path) -> None:
    """MindSpore marks files from which other ranks' parameters were left out."""
    path = tmp_path / "m"
    path.write_bytes(store(st.SafetensorsWriter(), {"w": some("int8", (2,))}, {"format": "ms", "remove_redundancy": "True"}))
    report = open_checkpoint(path).report
    assert "one-rank" in report and not report.ok


def entry(dtype: str = "U8", shape: Any = (2,), offsets: Any = (0, 2), **more: Any) -> dict[str, Any]:
    """A tensor in a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (raw_file({"a": entry()}, b""), "take 2 bytes .* has 0.*cut short"),
        (raw_file({"a": entry()}, b"abc"), "something was appended"),
        (raw_file({"a": entry(), "b": entry(offsets=(3, 5))}, b"abcde"), "'b' at 3 leaves a hole of 1 bytes after 'a'"),
        (raw_file({"a": entry(), "b": entry(offsets=(1, 3))}, b"abc"), "'b' at 1 overlaps by 1 bytes after 'a'"),
        (raw_file({"a": entry(offsets=(1, 3))}, b"abc"), "leaves a hole of 1 bytes after 'the header'"),
        (raw_file({"a": entry(shape=(3,))}, b"ab"), r"U8\[3\] has 2 bytes in data_offsets, not 3"),
        (raw_file({"a": entry(offsets=(2, 0))}, b"ab"), "has -2 bytes"),
        (raw_file({"a": entry(offsets=(0, -2))}, b"ab"), "data_offsets"),
        (raw_file({"a": entry(offsets=(0, 2.0))}, b"ab"), "data_offsets"),
        (raw_file({"a": entry(shape=(True, 2))}, b"ab"), "shape"),
        (raw_file({"a": entry(shape=(-1, -2))}, b"ab"), "shape"),
        (raw_file({"a": entry(shape=(0, 1 << 62), offsets=(0, 0))}, b""), "more than an array can hold"),
        (raw_file({"a": entry(shape=(1,) * 33 + (2,))}, b"ab"), "more than an array can hold"),
        (raw_file({"a": entry("U9")}, b"ab"), "has the dtype 'U9'"),
        (raw_file({"a": entry("float32", (), (0, 4))}, b"abcd"), "has the dtype 'float32'"),
        (raw_file({"a": {"dtype": "U8", "shape": [2]}}, b"ab"), "expected dtype, shape and data_offsets"),
        (raw_file({"a": 3}, b""), "expected dtype, shape and data_offsets"),
        (raw_file({"__metadata__": {"a": 3}}), "__metadata__ entry 'a' is int, not text"),
        (raw_file({"__metadata__": [1]}), "__metadata__ entry None"),
        (raw_file(b'{"a": {}, "a": {}}'), "the key 'a' is there twice"),
        (raw_file(b'{"__metadata__": {"x": "1", "x": "2"}}'), "the key 'x' is there twice"),
        (raw_file(b'{"\xff": 3}'), "not sound JSON: 'utf-8'"),
        (raw_file(b'{"\\ud800": 3}'), "is described by 3"),
        (raw_file(b'{"a": NaN}'), "is described by nan"),
        (raw_file(b"{" * 100_000), "not sound JSON"),
        (raw_file(b'{"a":' * 100_000), "not sound JSON"),
        (raw_file(b'{"a": ' + b"9" * 5000 + b"}"), "not sound JSON"),
        (raw_file(b"{} x"), "not sound JSON"),
        (raw_file(b"{}" + bytes(2)), "not sound JSON"),
        ((100).to_bytes(8, "little") + b"{}", "says it has 100 bytes, at most 2 are possible"),
        ((1 << 30).to_bytes(8, "little") + b"{}", "at most 2 are possible"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_does_not_add_up_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    """By name, with what was got and what was expected, and with the path."""
    path = tmp_path / "m"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_what_numpy_cannot_hold_and_fields_unknown_are_findings(tmp_path: Path) -> None:
    """4-bit floats are left out with an error finding, their bytes accounted for; other fields are said to be ignored."""
    path = tmp_path / "m"
    header = {"a": entry("F4", (4,), (0, 2)), "b": entry(offsets=(2, 4), device="cpu")}
    path.write_bytes(raw_file(header, b"abcd"))
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == ["b"]
    assert {f.code: f.severity for f in checkpoint.report} == {"unreadable-dtype": "error", "unknown-field": "warning"}


def test_an_empty_file_and_one_of_3_gib_are_read_by_their_headers(tmp_path: Path) -> None:
    """Offsets beyond 32 bits; nothing but the header is read."""
    path = tmp_path / "m"
    path.write_bytes(store(st.SafetensorsWriter(), {}))
    assert open_checkpoint(path).tensors == {}
    size = 3 << 30
    header = {"a": entry(shape=(size,), offsets=(0, size)), "b": entry(offsets=(size, size + 2))}
    path.write_bytes(raw_file(header))
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + size + 2)
    begin = time.monotonic()
    assert open_checkpoint(path).tensors["b"].read().tolist() == [0, 0]
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        (Outline("w", "complex128", (2,)), "cannot hold tensor 'w': the format has no complex128"),
        (Outline("w", "str", ()), "the format has no str"),
        (Outline("__metadata__", "int8", ()), "its name is the format's own"),
        (Outline("\ud800", "int8", ()), "not encodable"),
        (Outline("v", "int8", ()), "'v' is there twice"),
    ],
)
def test_the_writer_refuses_before_a_byte_is_written(outline: Outline, message: str) -> None:
    """What the format cannot hold is named at ``begin``."""
    file = io.BytesIO()
    with pytest.raises(CheckpointError, match=message):
        st.SafetensorsWriter().begin(file, [Outline("v", "int8", ()), outline], {})
    assert file.getvalue() == b""


def test_the_writer_refuses_another_order_and_wrong_lengths() -> None:
    """Too many bytes never reach the neighbour's place; a checksum of another file is not taken over."""
    outlines = [Outline("a", "int8", (2,)), Outline("b", "int8", (2,))]

    def begun() -> st.SafetensorsWriter:
        writer = st.SafetensorsWriter()
        writer.begin(io.BytesIO(), outlines, {})
        return writer

    with pytest.raises(CheckpointError, match="'b' came where 'a' was expected"):
        begun().write("b", [b"xx"])
    with pytest.raises(CheckpointError, match="more than the 2 bytes"):
        begun().write("a", [b"x", b"xx"])
    with pytest.raises(CheckpointError, match="'a' has 1 bytes, its outline 2"):
        begun().write("a", [b"x"])
    writer = begun()
    writer.write("a", [b"xx"])
    with pytest.raises(CheckpointError, match="1 tensors were not written, first 'b'"):
        writer.end()
    with pytest.raises(CheckpointError, match="crc_num"):
        st.SafetensorsWriter().begin(io.BytesIO(), outlines, {"crc_num": "3"})


def test_files_that_write_in_parts_are_written_whole() -> None:
    """Raw files take at most 2 GiB at once."""

    class Small(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:3])

    file = Small()
    assert st.put(file, np.arange(5, dtype=np.int16).data) == 10
    assert file.getvalue() == np.arange(5, dtype=np.int16).tobytes()
    assert st.put(file, np.zeros((0, 2)).data) == 0


def test_150_damaged_files(tmp_path: Path) -> None:
    """Without a checksum: an error, or a header that adds up to the last byte; nothing else is raised."""
    data = store(st.SafetensorsWriter(), everything(("float32", "int64", "bool"), ((), (3,), (0,), (4, 5))), {"a": "b"})
    header = int.from_bytes(data[:8], "little") + 8

    def judge(checkpoint: Checkpoint, arrays: dict[str, np.ndarray], seed: int) -> None:
        size = checkpoint.path.stat().st_size
        head = int.from_bytes(checkpoint.path.read_bytes()[:8], "little") + 8
        assert sum(array.nbytes for array in arrays.values()) == size - head

    assert survive(tmp_path, data, header, judge) > 80


def test_150_damaged_files_with_mindspores_checksum_are_never_silently_wrong(tmp_path: Path, mindspore: Any) -> None:
    """An error, or all names and bytes as they were; crc_num does not cover dtypes and shapes."""
    arrays = everything(("float32", "int64"), ((3,), (0,), (4, 5))) | {"step": np.array(3000)}
    data = mindspore_file(mindspore, tmp_path / "m.safetensors", arrays, crc_check=True)
    lost = []

    def judge(checkpoint: Checkpoint, got: dict[str, np.ndarray], seed: int) -> None:
        if "crc_num" not in checkpoint.metadata or checkpoint.metadata.get("format") != "ms":
            lost.append(seed)  # the damage hit the words "crc_num" or "ms" themselves
            return
        assert {name: a.tobytes() for name, a in got.items()} == {name: a.tobytes() for name, a in arrays.items()}

    assert survive(tmp_path, data, int.from_bytes(data[:8], "little") + 8, judge) > 120
    assert len(lost) <= 3
