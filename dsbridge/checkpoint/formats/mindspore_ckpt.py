"""MindSpore's .ckpt: a stream of protobuf entries ``{tag, tensor {dims, type, content}}`` and an optional checksum.

Source: ``checkpoint.proto`` and ``mindspore/train/serialization.py`` 2.10, and what they were seen to do: tensors above 512 MiB
lie in several adjacent entries of one tag; text of ``append_dict`` is an entry of type "str" in UTF-32; a 17-byte trailer is
"crc_num" and the big-endian CRC-32 of all before it. MindSpore's loader checks little: content that is too short is filled with
zeros, of two adjacent entries of a name the first wins, of two others the last. All of that is an error here.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from dsbridge.checkpoint.formats.base import Outline
from dsbridge.checkpoint.formats.safetensors_format import check_names, put, sound_shape
from dsbridge.checkpoint.stored import CHUNK_BYTES, Checkpoint, Span, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup, numpy_dtype

SLICE_BYTES = 512 << 20
"""The most content that MindSpore puts into one entry."""

_TYPES = {
    **{f"Int{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"Float{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BFloat16": "bfloat16",
    "Bool": "bool",
}
_SPELLINGS = {name: spelling for spelling, name in _TYPES.items()}
_UNREADABLE = ("Int4", "Complex64", "Complex128", "Float8E4M3FN", "Float8E5M2", "HiFloat8")  # MindSpore writes, nobody loads
_CIPHERS = {
    b"\xd8\x5e\x3a\x7f": "AES-GCM",
    b"\xd9\x5e\x3a\x7f": "AES-CBC",
    b"\xda\x5e\x3a\x7f": "SM4-CBC",
}  # as written by 2.10
_TRAILER_BYTES = 17
_LONGEST_TEXT = 1 << 20  # of a name: more is a damaged length
_VARINT, _BYTES = 0, 2  # wire types
_VALUE, _TAG, _TENSOR, _MAP, _DIMS, _TYPE, _CONTENT = 1, 1, 2, 3, 1, 2, 3  # field numbers, per message


@dataclass(frozen=True, slots=True)
class MindSporeReader:
    """Walks the entries' lengths; no tensor is read, unless there is a checksum to verify.

    >>> READER.matches(Path("any.suffix"), bytes([10, 20, 10, 1]) + b"s")
    True
    """

    name: str = "mindspore-ckpt"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether it begins with an entry that begins with a tag, or with the mark of an encrypted file."""
        if head[:4] in _CIPHERS:
            return True
        end = next((at for at in range(1, min(len(head), 11)) if head[at] < 0x80), len(head))
        return head[:1] == b"\x0a" and head[end + 1 : end + 2] == b"\x0a"

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """Names, dtypes, shapes and byte ranges. Encrypted files are refused; a checksum is verified (that reads all)."""
        with open(path, "rb") as file:
            cipher = _CIPHERS.get(file.read(4))
            if cipher:
                raise CheckpointError(
                    f"{path} is encrypted ({cipher})", hint="load it in MindSpore with dec_key and save it without enc_key"
                )
            size = os.fstat(file.fileno()).st_size
            end = _check_crc(path, file, size)
            groups: dict[str, list[_Entry]] = {}
            previous = None
            for entry in _entries(_Wire(path, file), end):
                if entry.tag in groups and entry.tag != previous:
                    raise CheckpointError(
                        f"{path}: a second {entry.tag!r} at offset {entry.at}",
                        hint="MindSpore would silently take the last; name each tensor once",
                    )
                groups.setdefault(entry.tag, []).append(entry)
                previous = entry.tag
        checkpoint = Checkpoint(path, self.name, {}, report=Report(str(path)))
        for entries in groups.values():
            _add(checkpoint, entries)
        return checkpoint


READER = MindSporeReader()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry: its tag, type, dims and where the content lies; type "" for a MapParameter."""

    at: int
    tag: str
    type: str
    dims: tuple[int, ...]
    content: Span


@dataclass(frozen=True, slots=True)
class _Wire:
    """A protobuf file read by seeking: fields of a range, as (number, wire type, value or begin, end)."""

    path: Path
    file: BinaryIO

    def fields(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        while at < end:
            start = at
            key, at = self._varint(at, end)
            value, at = self._varint(at, end)
            wire = key & 7
            if wire not in (_VARINT, _BYTES):
                raise CheckpointError(f"{self.path}: offset {start} holds wire type {wire}, which MindSpore does not write")
            stop = at
            if wire == _BYTES:
                value, stop = at, at + value
                if stop > end:
                    raise CheckpointError(
                        f"{self.path}: the field at offset {start} ends at {stop}, the part that holds it at {end}",
                        hint="the file is cut short or damaged",
                    )
            yield key >> 3, wire, value, stop
            at = stop

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        self.file.seek(at)
        value = 0
        for place, byte in enumerate(self.file.read(max(0, min(10, end - at)))):
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value, at + place + 1
        raise CheckpointError(f"{self.path}: no whole number at offset {at}", hint="the file is cut short or damaged")

    def text(self, begin: int, end: int) -> str:
        if end - begin > _LONGEST_TEXT:
            raise CheckpointError(f"{self.path}: a name of {end - begin} bytes at offset {begin}", hint="the file is damaged")
        self.file.seek(begin)
        try:
            return self.file.read(end - begin).decode()
        except UnicodeDecodeError as exc:
            raise CheckpointError(f"{self.path}: the name at offset {begin} is not UTF-8", hint="the file is damaged") from exc

    def message(self, at: int, end: int, expected: dict[int, int]) -> dict[int, list[tuple[int, int]]]:
        """The fields of a message by number; ``expected``: the wire type of each that may be there."""
        found: dict[int, list[tuple[int, int]]] = {}
        for number, wire, value, stop in self.fields(at, end):
            if expected.get(number) != wire:
                raise CheckpointError(f"{self.path}: unknown field {number} in the entry at offset {at}")
            found.setdefault(number, []).append((value, stop))
        return found

    def single(self, found: dict[int, list[tuple[int, int]]], number: int, at: int) -> tuple[int, int]:
        places = found.get(number, [])
        if len(places) != 1:
            raise CheckpointError(
                f"{self.path}: field {number} is there {len(places)} times in the entry at offset {at}, not once"
            )
        return places[0]


def _entries(wire: _Wire, end: int) -> Iterator[_Entry]:
    for number, kind, at, stop in wire.fields(0, end):
        if (number, kind) != (_VALUE, _BYTES):
            raise CheckpointError(f"{wire.path}: field {number} before offset {at} is no entry of a MindSpore checkpoint")
        value = wire.message(at, stop, {_TAG: _BYTES, _TENSOR: _BYTES, _MAP: _BYTES})
        tag = wire.text(*wire.single(value, _TAG, at))
        if _MAP in value:
            yield _Entry(at, tag, "", (), Span(str(wire.path), at, stop - at))
            continue
        begin, close = wire.single(value, _TENSOR, at)
        tensor = wire.message(begin, close, {_DIMS: _VARINT, _TYPE: _BYTES, _CONTENT: _BYTES})
        first, last = wire.single(tensor, _CONTENT, at)
        dims = sound_shape([size for size, _ in tensor.get(_DIMS, [])], f"{wire.path}: tensor {tag!r}")
        spelling = wire.text(*wire.single(tensor, _TYPE, at))
        yield _Entry(at, tag, spelling, dims, Span(str(wire.path), first, last - first))


def _add(checkpoint: Checkpoint, entries: list[_Entry]) -> None:
    """Put the entries of one tag where they belong: tensors, metadata, or a finding."""
    first = entries[0]
    what = f"{checkpoint.path}: {first.tag!r} at offset {first.at}"
    if any((entry.type, entry.dims) != (first.type, first.dims) for entry in entries):
        raise CheckpointError(f"{what} goes on with another type or shape", hint="two tensors of one name, or a damaged file")
    held = sum(entry.content.length for entry in entries)
    if first.type == "str":
        checkpoint.metadata[first.tag] = _string(what, entries)
    elif first.type == "":
        checkpoint.report.add("map-parameter", "error", first.tag, "a MapParameter (hash table) is left out")
    elif first.type in _UNREADABLE:
        checkpoint.report.add("unreadable-dtype", "error", first.tag, f"{first.type} cannot be read: the tensor is left out")
    elif first.type not in _TYPES:
        raise CheckpointError(f"{what} has the type {first.type[:40]!r}, expected one of {', '.join(_TYPES)}")
    else:
        dtype = _TYPES[first.type]
        item = numpy_dtype(dtype).itemsize
        shape = () if first.dims == (0,) and held == item else first.dims  # MindSpore's loader takes [0] for no dims
        if held != prod(shape) * item:
            twice = len(entries) > 1 and first.content.length == prod(shape) * item
            hint = "two tensors of one name: MindSpore would silently take the first" if twice else "the file is damaged"
            raise CheckpointError(f"{what} {first.type}{list(shape)} has {held} bytes, not {prod(shape) * item}", hint=hint)
        spans = tuple(entry.content for entry in entries if entry.content.length)
        checkpoint.tensors[first.tag] = Stored(first.tag, dtype, shape, spans)


def _string(what: str, entries: list[_Entry]) -> str:
    length = sum(entry.content.length for entry in entries)
    if len(entries) > 1 or length > 64 << 20:
        raise CheckpointError(f"{what} is text of {length} bytes in {len(entries)} entries", hint="the file is damaged")
    with open(entries[0].content.path, "rb") as file:
        file.seek(entries[0].content.offset)
        raw = file.read(length)
    try:
        return raw.decode("utf-32-le").rstrip("\0")  # numpy pads text with zeros; "" is one
    except UnicodeDecodeError as exc:
        raise CheckpointError(f"{what} is not UTF-32 text", hint="the file is damaged") from exc


def _check_crc(path: Path, file: BinaryIO, size: int) -> int:
    """Where the entries end; with a trailer, after its checksum was found right."""
    file.seek(max(0, size - _TRAILER_BYTES))
    trailer = file.read(_TRAILER_BYTES)
    if not trailer.startswith(b"crc_num"):
        return size
    end, crc = size - _TRAILER_BYTES, 0
    file.seek(0)
    for at in range(0, end, CHUNK_BYTES):
        crc = zlib.crc32(file.read(min(CHUNK_BYTES, end - at)), crc)
    expected = int.from_bytes(trailer[7:], "big")
    if crc != expected:
        raise CheckpointError(f"{path}: the checksum says {expected}, the content gives {crc}", hint="the file is damaged")
    return end


@dataclass(slots=True)
class MindSporeWriter:
    """Writes one .ckpt as a stream; ``slice_bytes``: content of an entry at most, ``crc``: with the checksum.

    Metadata becomes text entries, as ``append_dict`` writes them.

    >>> import io
    >>> file, writer = io.BytesIO(), MindSporeWriter()
    >>> writer.begin(file, [Stored("w", "uint8", (3,), (Span("f", 0, 3),))], {})
    >>> writer.write("w", [b"ab", b"c"]); writer.end()
    >>> file.getvalue()
    b'\\n\\x13\\n\\x01w\\x12\\x0e\\x08\\x03\\x12\\x05UInt8\\x1a\\x03abc'
    """

    slice_bytes: int = SLICE_BYTES
    crc: bool = False
    _file: Any = None
    _waiting: dict[str, Outline] = field(default_factory=dict)
    _metadata: dict[str, str] = field(default_factory=dict)
    _sum: int = 0

    def begin(self, file: Any, outlines: Iterable[Outline], metadata: Mapping[str, str]) -> None:
        """Check all that is to come; nothing is written yet. Raises ``CheckpointError`` for what the format cannot hold."""
        outlines = list(outlines)
        check_names(outlines, metadata)
        if not outlines:
            raise CheckpointError("a MindSpore .ckpt without tensors is an empty file, which MindSpore refuses")
        for outline in outlines:
            dtype = lookup(outline.dtype).name
            problem = f"there is no {dtype} in it" if dtype not in _SPELLINGS else ""
            if not prod(outline.shape):
                problem = f"its shape {list(outline.shape)} has no elements, and MindSpore would lose it"
            if problem:
                raise CheckpointError(f"a .ckpt cannot hold tensor {outline.name!r}: {problem}", hint="write .safetensors")
        for key, value in metadata.items():
            if value.endswith("\0"):
                raise CheckpointError(f"metadata {key!r} ends in NUL, which a .ckpt loses", hint="strip it")
        self._file, self._sum, self._metadata = file, 0, dict(metadata)
        self._waiting = {outline.name: outline for outline in outlines}

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Write the next tensor, in slices. Raises ``CheckpointError`` for another name, too few or too many bytes."""
        expected = next(iter(self._waiting), None)
        if name != expected:
            raise CheckpointError(f"tensor {name!r} came where {expected!r} was expected")
        outline = self._waiting.pop(name)
        spelling = _SPELLINGS[lookup(outline.dtype).name]
        left, room = prod(outline.shape) * numpy_dtype(outline.dtype).itemsize, 0
        for chunk in chunks:
            view = memoryview(chunk)
            if view.nbytes > left + room:
                raise CheckpointError(f"tensor {name!r} has more bytes than its outline")
            view = view.cast("B") if view.nbytes else memoryview(b"")
            while view:
                if not room:
                    room = min(self.slice_bytes, left)
                    left -= room
                    self._put(_entry_head(name, outline.shape, spelling, room))
                self._put(view[:room])
                room, view = room - min(room, len(view)), view[room:]
        if left + room:
            raise CheckpointError(f"tensor {name!r} has {left + room} bytes less than its outline")

    def end(self) -> None:
        """Write metadata and checksum. Raises ``CheckpointError`` if tensors did not come."""
        if self._waiting:
            raise CheckpointError(f"{len(self._waiting)} tensors were not written, first {next(iter(self._waiting))!r}")
        for key, value in self._metadata.items():
            raw = (value or "\0").encode("utf-32-le")
            self._put(_entry_head(key, (0,), "str", len(raw)) + raw)
        if self.crc:
            put(self._file, b"crc_num" + self._sum.to_bytes(10, "big"))

    def _put(self, data: bytes | memoryview) -> None:
        if self.crc:
            self._sum = zlib.crc32(data, self._sum)
        put(self._file, data)


def _number(value: int) -> bytes:
    """A protobuf varint."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _entry_head(tag: str, dims: tuple[int, ...], spelling: str, length: int) -> bytes:
    """All of an entry but its content of ``length`` bytes, which is the last of it."""
    sizes = b"".join(b"\x08" + _number(size) for size in dims)
    tensor = sizes + _field(_TYPE, spelling.encode()) + bytes([_CONTENT << 3 | _BYTES]) + _number(length)
    tag_field = _field(_TAG, tag.encode())
    tensor_head = bytes([_TENSOR << 3 | _BYTES]) + _number(len(tensor) + length)
    return (
        bytes([_VALUE << 3 | _BYTES])
        + _number(len(tag_field) + len(tensor_head) + len(tensor) + length)
        + (tag_field + tensor_head + tensor)
    )


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _number(len(content)) + content
