"""MindSpore's .ckpt: bit for bit against MindSpore's own loader and saver, in slices, with checksums, and when damaged."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_safetensors_format import Outline, bits, everything, mindspore, opened, some, store, survive  # noqa: F401

from dsbridge.checkpoint.formats import mindspore_ckpt as mc
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import lookup

DTYPES = tuple(mc._SPELLINGS)
FULL = ((), (1,), (3,), (2, 3), (1, 1, 5))  # shapes with elements


def entry(tag: bytes, dims: tuple[int, ...], kind: bytes, content: bytes) -> bytes:
    """An entry by hand."""
    return mc._entry_head(tag.decode(), dims, kind.decode(), len(content)) + content


def written(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None, **options: Any) -> str:
    """Write a file; its path as text."""
    path.write_bytes(store(mc.MindSporeWriter(**options), arrays, metadata))
    return str(path)


def same_in_mindspore(loaded: dict[str, Any], arrays: dict[str, np.ndarray], mindspore: Any) -> None:  # noqa: F811
    """Names, dtypes, shapes and bits of what ``load_checkpoint`` gave."""
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert tuple(loaded[name].shape) == array.shape
        assert str(loaded[name].dtype) == str(getattr(mindspore, lookup(array.dtype).mindspore))
        assert bytes(loaded[name].get_bytes()) == array.tobytes()


def test_round_trip_of_every_dtype_through_mindspore(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """Written here, loaded there, saved there, read here: bfloat16 with NaN payloads and 0-d included, on both numpys."""
    arrays = everything(DTYPES, FULL)
    loaded = mindspore.load_checkpoint(written(tmp_path / "a.ckpt", arrays))
    same_in_mindspore(loaded, arrays, mindspore)
    items = [{"name": name, "data": value} for name, value in loaded.items()]
    for crc_check in (False, True):
        mindspore.save_checkpoint(items, str(tmp_path / "b.ckpt"), crc_check=crc_check)
        _, got = opened(tmp_path / "b.ckpt")
        assert list(got) == list(arrays)
        assert {name: bits(a) for name, a in got.items()} == {name: bits(a) for name, a in arrays.items()}


def test_what_is_written_is_what_mindspore_writes(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """The same bytes, entry for entry, text entries and checksum included."""
    arrays = {"w": some("float32", (20, 30)), "s": some("int64", ()), "b": some("bool", (200,))}
    items = [{"name": name, "data": mindspore.Tensor.from_numpy(array.copy())} for name, array in arrays.items()]
    for crc in (False, True):
        mindspore.save_checkpoint(items, str(tmp_path / "a.ckpt"), append_dict={"note": "héllo", "no": ""}, crc_check=crc)
        theirs = (tmp_path / "a.ckpt").read_bytes()
        assert store(mc.MindSporeWriter(crc=crc), arrays, {"note": "héllo", "no": ""}) == theirs


def test_a_tensor_in_several_slices_loads_in_mindspore(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """As tensors above 512 MiB are written; slices end anywhere, chunks too."""
    arrays = {"a": some("float32", (5, 7)), "b": some("bfloat16", (33,)), "c": some("int8", (1,)), "d": some("int64", (16,))}
    for size, crc in ((16, False), (10, True), (1, True), (64, False)):
        path = written(tmp_path / "a.ckpt", arrays, slice_bytes=size, crc=crc)
        same_in_mindspore(mindspore.load_checkpoint(path, crc_check=crc), arrays, mindspore)
        _, got = opened(tmp_path / "a.ckpt")
        assert {name: bits(a) for name, a in got.items()} == {name: bits(a) for name, a in arrays.items()}
        assert len(open_checkpoint(path).tensors["a"].spans) == -(-5 * 7 * 4 // size)


def test_mindspores_own_slices_are_read(tmp_path: Path, mindspore: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Its slice size is lowered to 1 KiB."""
    from mindspore.train import serialization

    monkeypatch.setattr(serialization, "SLICE_SIZE", 1)
    arrays = {"a": some("float32", (57, 70)), "b": some("int8", (1025,)), "c": some("float64", ())}
    items = [{"name": name, "data": mindspore.Tensor.from_numpy(array.copy())} for name, array in arrays.items()]
    mindspore.save_checkpoint(items, str(tmp_path / "a.ckpt"), crc_check=True)
    checkpoint = open_checkpoint(tmp_path / "a.ckpt")
    assert len(checkpoint.tensors["a"].spans) > 10 and len(checkpoint.tensors["b"].spans) == 2
    assert {name: bits(s.read()) for name, s in checkpoint.tensors.items()} == {name: bits(a) for name, a in arrays.items()}


def test_append_dict_is_read(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """Text becomes metadata; numbers are 0-d tensors, as MindSpore stores them (0.1 as float32)."""
    items = [{"name": "w", "data": mindspore.Tensor.from_numpy(np.zeros(2, np.float32))}]
    extra = {"epoch": 3, "lr": 0.1, "flag": True, "note": "héllo", "empty": ""}
    mindspore.save_checkpoint(items, str(tmp_path / "a.ckpt"), append_dict=extra)
    metadata, got = opened(tmp_path / "a.ckpt")
    assert metadata == {"note": "héllo", "empty": ""}
    assert {name: bits(a) for name, a in got.items() if name != "w"} == {
        "epoch": bits(np.array(3)),
        "lr": bits(np.array(0.1, np.float32)),
        "flag": bits(np.array(True)),
    }


def test_metadata_is_text_that_mindspore_loads(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """As ``append_dict`` writes it, the empty text included."""
    path = written(tmp_path / "a.ckpt", {"w": some("int8", (2,))}, {"note": "héllo\n", "empty": "", "ключ": "𝔘"}, crc=True)
    loaded = mindspore.load_checkpoint(path, crc_check=True)
    assert {key: loaded[key] for key in ("note", "empty", "ключ")} == {"note": "héllo\n", "empty": "", "ключ": "𝔘"}
    assert opened(tmp_path / "a.ckpt")[0] == {"note": "héllo\n", "empty": "", "ключ": "𝔘"}


@pytest.mark.parametrize("mode", ["AES-GCM", "AES-CBC", "SM4-CBC"])
def test_encrypted_files_are_refused_with_the_reason(mode: str, tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """By the mark of each cipher."""
    items = [{"name": "w", "data": mindspore.Tensor.from_numpy(np.zeros(2, np.float32))}]
    mindspore.save_checkpoint(items, str(tmp_path / "a.ckpt"), enc_key=b"0123456789abcdef", enc_mode=mode)
    with pytest.raises(CheckpointError, match=rf"is encrypted \({mode}\).*Hint: .*dec_key"):
        open_checkpoint(tmp_path / "a.ckpt")


def test_two_tensors_of_a_name_are_an_error_where_mindspore_silently_takes_one(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """Of two apart it takes the last, of two adjacent ones the first."""
    one, two, other = (np.float32(v).tobytes() for v in ([1, 2], [3, 4], [5, 6]))
    path = tmp_path / "a.ckpt"
    path.write_bytes(
        entry(b"a", (2,), b"Float32", one) + entry(b"b", (2,), b"Float32", other) + entry(b"a", (2,), b"Float32", two)
    )
    assert mindspore.load_checkpoint(str(path))["a"].asnumpy().tolist() == [3, 4]
    with pytest.raises(CheckpointError, match="a second 'a' at offset 58.*take the last"):
        open_checkpoint(path)
    path.write_bytes(entry(b"a", (2,), b"Float32", one) + entry(b"a", (2,), b"Float32", two))
    assert mindspore.load_checkpoint(str(path))["a"].asnumpy().tolist() == [1, 2]
    with pytest.raises(CheckpointError, match=r"'a' at offset 2 Float32\[2\] has 16 bytes, not 8.*take the first"):
        open_checkpoint(path)
    path.write_bytes(entry(b"a", (2,), b"Float32", one) + entry(b"a", (1, 2), b"Float32", two))
    with pytest.raises(CheckpointError, match="goes on with another type or shape"):
        open_checkpoint(path)


def test_content_too_short_is_an_error_where_mindspore_fills_up_with_zeros(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """A missing slice looks like that."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(entry(b"a", (2,), b"Float32", np.float32([1]).tobytes()))
    assert mindspore.load_checkpoint(str(path))["a"].asnumpy().tolist() == [1, 0]
    with pytest.raises(CheckpointError, match=r"Float32\[2\] has 4 bytes, not 8"):
        open_checkpoint(path)


def test_a_wrong_checksum_is_an_error(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """One bit of the data: MindSpore loads it, unless asked to check."""
    path = tmp_path / "a.ckpt"
    written(path, {"w": some("float32", (8,))}, crc=True)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    mindspore.load_checkpoint(str(path))
    with pytest.raises(CheckpointError, match=r"the checksum says \d+, the content gives \d+"):
        open_checkpoint(path)


def test_entries_without_elements_and_scalars_marked_with_0_are_read(tmp_path: Path) -> None:
    """dims [0] with one element is a scalar for MindSpore's loader."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(
        entry(b"a", (0,), b"Float32", b"abcd") + entry(b"b", (0,), b"Float32", b"") + entry(b"c", (0, 4), b"Int8", b"")
    )
    assert {name: a.shape for name, a in opened(path)[1].items()} == {"a": (), "b": (0,), "c": (0, 4)}


def test_types_that_nobody_loads_are_left_out_with_an_error_finding(tmp_path: Path) -> None:
    """Complex64 is what MindSpore saves and cannot load; a hash table has no shape."""
    path = tmp_path / "a.ckpt"
    table = b"\x0a\x05\x0a\x01m\x1a\x00"
    path.write_bytes(entry(b"w", (1,), b"Int8", b"x") + entry(b"c", (1,), b"Complex64", bytes(8)) + table)
    checkpoint = open_checkpoint(path)
    assert list(checkpoint.tensors) == ["w"]
    assert [(f.code, f.where, f.severity) for f in checkpoint.report] == [
        ("unreadable-dtype", "c", "error"),
        ("map-parameter", "m", "error"),
    ]


GOOD = entry(b"a", (2,), b"Int8", b"xy")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (GOOD + b"\x12\x00", "field 2 before offset .* is no entry"),
        (GOOD + b"\x0d\x00\x00\x00\x00", "holds wire type 5"),
        (GOOD + b"\x0a", "no whole number at offset"),
        (GOOD + b"\x0a" + b"\xff" * 10, "no whole number at offset"),
        (GOOD + b"\x0a\x7f", "ends at .*, the part that holds it at"),
        (GOOD[:-1], "the part that holds it at"),
        (b"\x0a\x03\x0a\x01a", "field 2 is there 0 times"),
        (b"\x0a\x06\x0a\x01a\x0a\x01b", "field 1 is there 2 times"),
        (b"\x0a\x07\x0a\x01a\x20\x01\x12\x00", "unknown field 4"),
        (b"\x0a\x05\x0a\x01a\x12\x00", "field 3 is there 0 times"),
        (entry(b"a", (), b"Int8", b"x").replace(b"a", b"\xff"), "is not UTF-8"),
        (entry(b"a", (), b"Int7", b"x"), "has the type 'Int7', expected one of"),
        (entry(b"a", (1 << 62, 4), b"Int8", b"x"), "more than an array can hold"),
        (entry(b"a", ((1 << 64) - 1,), b"Int8", b"x"), "more than an array can hold"),
        (entry(b"a", (0,), b"str", b"xyz"), "not UTF-32 text"),
        (entry(b"a", (0,), b"str", b"\xff\xff\xff\xff"), "not UTF-32 text"),
        (entry(b"a", (0,), b"str", b"a\0\0\0") * 2, "in 2 entries"),
        (b"\x0a\x84\x80\x80\x01" + b"\x0a\x80\x80\x80\x01" + bytes(1 << 21), "the part that holds it"),
        (mc._entry_head("a" * (2 << 20), (), "Int8", 1) + b"x", "a name of 2097152 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_stream_that_does_not_add_up_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    """By the offset, with what was got and what was expected, and with the path."""
    path = tmp_path / "m"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        (Outline("w", "float32", (0, 4)), r"cannot hold tensor 'w': its shape \[0, 4\] has no elements.*safetensors"),
        (Outline("w", "complex64", (2,)), "cannot hold tensor 'w': there is no complex64.*safetensors"),
        (Outline("w", "float8_e5m2", (2,)), "there is no float8_e5m2"),
        (Outline("v", "int8", ()), "'v' is there twice"),
    ],
)
def test_the_writer_refuses_before_a_byte_is_written(outline: Outline, message: str) -> None:
    """Zero-size tensors, which MindSpore loses, complex and fp8: named at ``begin``."""
    file = io.BytesIO()
    with pytest.raises(CheckpointError, match=message):
        mc.MindSporeWriter().begin(file, [Outline("v", "int8", ()), outline], {})
    assert file.getvalue() == b""


def test_the_writer_refuses_what_mindspore_would_not_load() -> None:
    """An empty file; metadata that hides a tensor, or loses its end."""
    one = [Outline("w", "int8", ())]
    for outlines, metadata, message in (
        ([], {}, "without tensors"),
        (one, {"w": "x"}, "has the name of a tensor"),
        (one, {"x": "a\0"}, "ends in NUL"),
        (one, {"x": 3}, "is int, not text"),
    ):
        with pytest.raises(CheckpointError, match=message):
            mc.MindSporeWriter().begin(io.BytesIO(), outlines, metadata)


def test_the_writer_refuses_another_order_and_wrong_lengths() -> None:
    """Too few and too many bytes, and tensors that never came."""

    def begun() -> mc.MindSporeWriter:
        writer = mc.MindSporeWriter(slice_bytes=2)
        writer.begin(io.BytesIO(), [Outline("a", "int8", (3,)), Outline("b", "int8", (2,))], {})
        return writer

    for name, chunks, message in (
        ("b", [b"xx"], "'b' came where 'a' was expected"),
        ("a", [b"x", b"xxx"], "'a' has more bytes than its outline"),
        ("a", [b"xxx", b"x"], "'a' has more bytes than its outline"),
        ("a", [b"x"], "'a' has 2 bytes less than its outline"),
        ("a", [], "'a' has 3 bytes less than its outline"),
    ):
        with pytest.raises(CheckpointError, match=message):
            begun().write(name, chunks)
    writer = begun()
    writer.write("a", [b"", b"xx", b"x"])
    with pytest.raises(CheckpointError, match="1 tensors were not written, first 'b'"):
        writer.end()


def test_a_tensor_of_3_gib_is_read_by_its_lengths(tmp_path: Path) -> None:
    """Six slices in a file with holes: offsets beyond 32 bits, and no tensor is read."""
    path = tmp_path / "a.ckpt"
    head = mc._entry_head("big", (6, mc.SLICE_BYTES), "UInt8", mc.SLICE_BYTES)
    with open(path, "wb") as file:
        for n in range(6):
            file.seek(n * (len(head) + mc.SLICE_BYTES))
            file.write(head)
        file.seek(6 * (len(head) + mc.SLICE_BYTES))
        file.write(GOOD)
    begin = time.monotonic()
    checkpoint = open_checkpoint(path)
    assert time.monotonic() - begin < 1
    assert len(checkpoint.tensors["big"].spans) == 6
    assert checkpoint.tensors["a"].read().tobytes() == b"xy"


def test_150_damaged_files(tmp_path: Path) -> None:
    """Without a checksum: an error, or entries that add up to the last byte; nothing else is raised."""
    data = store(mc.MindSporeWriter(slice_bytes=32), everything(("float32", "int64", "bool"), ((), (3,), (4, 5))), {"a": "b"})

    def judge(checkpoint: Checkpoint, arrays: dict[str, np.ndarray], seed: int) -> None:
        held = sum(array.nbytes for array in arrays.values())
        assert held <= checkpoint.path.stat().st_size

    assert survive(tmp_path, data, len(data), judge) > 60


def test_150_damaged_files_with_a_checksum_are_never_silently_wrong(tmp_path: Path, mindspore: Any) -> None:  # noqa: F811
    """Cut, changed or spliced: an error, or all as it was; the files are MindSpore's own.

    The format's limit: cut exactly between two entries, a file is a whole one without a checksum.
    """
    arrays = everything(("float32", "int64", "bool"), ((), (3,), (4, 5)))
    items = [{"name": name, "data": mindspore.Tensor.from_numpy(array.copy())} for name, array in arrays.items()]
    mindspore.save_checkpoint(items, str(tmp_path / "a.ckpt"), crc_check=True)
    data, between = (tmp_path / "a.ckpt").read_bytes(), []

    def judge(checkpoint: Checkpoint, got: dict[str, np.ndarray], seed: int) -> None:
        content = checkpoint.path.read_bytes()
        if b"crc_num" not in content and data.startswith(content):
            between.append(seed)
            assert {name: bits(a) for name, a in got.items()}.items() <= {name: bits(a) for name, a in arrays.items()}.items()
            return
        assert {name: bits(a) for name, a in got.items()} == {name: bits(a) for name, a in arrays.items()}

    assert survive(tmp_path, data, len(data), judge) > 140
    assert len(between) <= 3
