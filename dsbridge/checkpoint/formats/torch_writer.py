"""Writes the zip that ``torch.load(weights_only=True)`` opens, memory-mapped or not, front to back."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from dsbridge.checkpoint.formats.base import Outline
from dsbridge.checkpoint.formats.torch_zip import METADATA_ENTRY, Entry
from dsbridge.errors import CheckpointError
from dsbridge.schema.dtypes import lookup

ALIGNMENT = 64
_PREFIX = "archive/"
_UNKNOWN_YET = 1 << 3 | 1 << 11  # the sizes and the CRC follow the data; the name is UTF-8
_NARROW = 0xFFFFFFFF
_LIMIT = _NARROW  # what does not fit 32 bits; lower in tests
_STORAGES = {
    "bool": "BoolStorage",
    "int8": "CharStorage",
    "int16": "ShortStorage",
    "int32": "IntStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}
"""Of dtypes that have a storage class; torch keeps the others as bytes and says the dtype beside them."""


@dataclass(slots=True)
class TorchWriter:
    """An OrderedDict of tensors as torch.save writes it; metadata goes to an entry that torch passes over.

    Tied tensors are written as often as they are named: an ``Outline`` does not say what is tied.

    >>> import io
    >>> from dsbridge.checkpoint.stored import Stored
    >>> file, writer = io.BytesIO(), TorchWriter()
    >>> writer.begin(file, [Stored("w", "float32", (0, 4), ())], {})
    >>> writer.write("w", []); writer.end()
    >>> file.getvalue()[:4]
    b'PK\\x03\\x04'
    """

    name: str = "torch-zip"
    _file: Any = None
    _at: int = 0
    _written: int = 0
    _pending: list[Outline] = field(default_factory=list)
    _entries: list[Entry] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    def begin(self, file: Any, outlines: Iterable[Outline], metadata: Mapping[str, str]) -> None:
        """Write the pickle; raises ``CheckpointError`` for two tensors of one name and for dtypes that torch has not."""
        outlines = list(outlines)
        pickled = _pickled(outlines)
        self._file, self._at, self._written = file, 0, 0
        self._pending, self._entries, self._starts = outlines[::-1], [], []
        self._entry("data.pkl", [pickled], len(pickled))
        self._entry("byteorder", [b"little"], 6)
        if metadata:
            text = json.dumps(dict(metadata)).encode()
            self._entry(METADATA_ENTRY, [text], len(text))

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Write one tensor's bytes, C-contiguous and little-endian; raises ``CheckpointError`` for another order or size."""
        expected = self._pending[-1].name if self._pending else "the end"
        if name != expected:
            raise CheckpointError(f"tensor {name!r} is written where {expected!r} is due")
        outline = self._pending.pop()
        self._entry(f"data/{self._written}", chunks, _nbytes(outline))
        self._written += 1

    def end(self) -> None:
        """Write the version and the directory; raises ``CheckpointError`` if a tensor is missing."""
        if self._pending:
            raise CheckpointError(f"tensor {self._pending[-1].name!r} was not written, and {len(self._pending) - 1} after it")
        self._entry("version", [b"3\n"], 2)
        self._directory()

    def _put(self, data: bytes | memoryview) -> int:
        self._file.write(data)
        length = memoryview(data).nbytes
        self._at += length
        return length

    def _entry(self, name: str, chunks: Iterable[bytes | memoryview], length: int) -> None:
        """A stored entry whose data begins at a multiple of 64 bytes: an extra field "FB" fills up, as in torch's files."""
        start, raw = self._at, (_PREFIX + name).encode()
        wide = struct.pack("<2H2Q", 1, 16, 0, 0) if length >= _LIMIT else b""
        fill = -(start + 30 + len(raw) + len(wide) + 4) % ALIGNMENT
        extra = wide + struct.pack("<2H", 0x4246, fill) + b"Z" * fill
        size = _NARROW if wide else 0
        self._put(
            struct.pack(
                "<4s5H3L2H", b"PK\3\4", 45 if wide else 20, _UNKNOWN_YET, 0, 0, 0x21, 0, size, size, len(raw), len(extra)
            )
        )
        self._put(raw + extra)
        begin, crc, written = self._at, 0, 0
        for chunk in chunks:
            crc = zlib.crc32(chunk, crc)
            written += self._put(chunk)
        if written != length:
            raise CheckpointError(f"entry {name!r} got {written} bytes, not {length}")
        self._put(struct.pack("<4sL2Q" if wide else "<4s3L", b"PK\7\x08", crc, length, length))
        self._entries.append(Entry(_PREFIX + name, begin, length, crc))
        self._starts.append(start)

    def _directory(self) -> None:
        begin = self._at
        for entry, start in zip(self._entries, self._starts, strict=True):
            raw, wide = entry.name.encode(), b""
            sizes = [entry.length, entry.length, start]
            if too_wide := [value for value in sizes if value >= _LIMIT]:
                wide = struct.pack(f"<2H{len(too_wide)}Q", 1, 8 * len(too_wide), *too_wide)
            held, whole, local = (_NARROW if value >= _LIMIT else value for value in sizes)
            version = 45 if wide else 20
            self._put(
                struct.pack(
                    "<4s6H3L5H2L",
                    *(b"PK\1\2", version, version, _UNKNOWN_YET, 0, 0, 0x21, entry.crc, held, whole),
                    *(len(raw), len(wide), 0, 0, 0, 0, local),
                )
            )
            self._put(raw + wide)
        size, count, place = self._at - begin, len(self._entries), self._at
        if begin >= _LIMIT or count >= 0xFFFF:
            self._put(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, begin))
            self._put(struct.pack("<4sLQL", b"PK\6\7", 0, place, 1))
        few = min(count, 0xFFFF)
        self._put(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, few, few, size, _NARROW if begin >= _LIMIT else begin, 0))


def _nbytes(outline: Outline) -> int:
    return prod(outline.shape) * lookup(outline.dtype).numpy.itemsize


def _pickled(outlines: list[Outline]) -> bytes:
    """The pickle, of few opcodes (protocol 2): an OrderedDict of ``_rebuild_tensor_v2`` and ``_v3`` calls."""
    seen: set[str] = set()
    parts = [b"\x80\x02", _ORDERED, b"("]
    for number, outline in enumerate(outlines):
        if outline.name in seen:
            raise CheckpointError(f"two tensors have the name {outline.name!r}", hint="rename one of them")
        if lookup(outline.dtype).torch is None:
            raise CheckpointError(
                f"tensor {outline.name!r} is {outline.dtype}, which torch has not", hint="cast it or leave it out"
            )
        seen.add(outline.name)
        parts += [_text(outline.name), *_tensor(outline, str(number))]
    return b"".join([*parts, b"u."])


def _tensor(outline: Outline, key: str) -> list[bytes]:
    steps, step = [], 1
    for size in reversed(outline.shape):
        steps.append(step)
        step *= max(size, 1)
    kind = _STORAGES.get(outline.dtype)
    storage = _global("torch", kind) if kind else _global("torch.storage", "UntypedStorage")
    held = prod(outline.shape) if kind else _nbytes(outline)
    return [
        _global("torch._utils", "_rebuild_tensor_v2" if kind else "_rebuild_tensor_v3"),
        *(b"((", _text("storage"), storage, _text(key), _text("cpu"), _integer(held), b"tQ", _integer(0)),
        *(b"(", *map(_integer, outline.shape), b"t(", *map(_integer, steps[::-1]), b"t"),
        *(pickle.NEWFALSE, _ORDERED, b"" if kind else _global("torch", outline.dtype), b"tR"),
    ]


def _text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(raw)) + raw


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", value)


_ORDERED = _global("collections", "OrderedDict") + b")R"
