"""torch.save's zip container (Lightning's .ckpt is the same): a pickle, and every storage as an entry of raw bytes.

Source of the layout: PKWARE's APPNOTE 6.3, torch/csrc/.../inline_container; torch 2.13 measured.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dsbridge.checkpoint.formats.pickles import load
from dsbridge.checkpoint.formats.torch_tree import Collector
from dsbridge.checkpoint.formats.torch_words import VOCABULARY, StorageRef, persistent_storage
from dsbridge.checkpoint.stored import Checkpoint, Span
from dsbridge.errors import CheckpointError

_EMPTY_U32 = 0xFFFFFFFF
METADATA_ENTRY = "extra/dsbridge.json"
"""Where ``torch_writer`` keeps metadata: torch passes over entries that it does not know."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a zip: where its raw bytes lie in the file, and their CRC-32 (0: torch was told not to compute it).

    >>> Entry("a/data/0", 64, 4, 0).length
    4
    """

    name: str
    offset: int
    length: int
    crc: int


def entries(file: BinaryIO, where: str, start: int = 0, length: int | None = None) -> dict[str, Entry]:
    """The entries of the zip in ``length`` bytes (None: all) at ``start`` of a file, by name, in the directory's order.

    Raises ``CheckpointError`` for damage, compression and encryption.
    """
    size = os.fstat(file.fileno()).st_size - start if length is None else length
    window = _Window(file, where, start, size)
    count, at, total = _directory(window)
    found: dict[str, Entry] = {}
    end = at + total
    for _ in range(count):
        head = window.unpack("<4s6H3L5H2L", at, b"PK\1\2")
        flags, method, crc, held, wide, local = head[3], head[4], head[7], head[8], head[9], head[16]
        name_size, extra_size, comment_size = head[10:13]
        raw = window.take(at + 46, name_size + extra_size)
        name = raw[:name_size].decode("utf-8", "replace")
        held, wide, local = _wide(window, raw[name_size:], (held, wide, local))
        at += 46 + name_size + extra_size + comment_size
        if flags & 1:
            raise window.fail(f"entry {name!r} is encrypted", "decrypt it with the tool that wrote it")
        if method != 0 or held != wide:
            raise window.fail(f"entry {name!r} is compressed (method {method})", "unpack it and pack it again with zip -0")
        its = window.unpack("<4s5H3L2H", local, b"PK\3\4")
        begin = local + 30 + its[9] + its[10]
        if window.take(local + 30, its[9]) != raw[:name_size] or its[3] != method or begin + held > size or at > end:
            raise window.fail(f"entry {name!r}: its header at {start + local} and the directory do not agree")
        if name in found:
            raise window.fail(f"two entries have the name {name!r}")
        found[name] = Entry(name, start + begin, held, crc)
    if at != end:
        raise window.fail(f"the directory of {count} entries has {total} bytes, not {total + at - end}")
    return found


@dataclass(frozen=True, slots=True)
class _Window:
    file: BinaryIO
    where: str
    start: int
    size: int

    def fail(self, what: str, hint: str = "the file is damaged or was not written to its end") -> CheckpointError:
        return CheckpointError(f"{self.where}: {what}", hint=hint)

    def take(self, at: int, count: int) -> bytes:
        if not 0 <= at <= at + count <= self.size:
            raise self.fail(f"offset {self.start + at}: {count} bytes expected, it ends at {self.start + self.size}")
        self.file.seek(self.start + at)
        data = self.file.read(count)
        if len(data) != count:
            raise self.fail(f"offset {self.start + at}: {count} bytes expected, got {len(data)}")
        return data

    def unpack(self, form: str, at: int, magic: bytes) -> tuple[Any, ...]:
        fields = struct.unpack(form, self.take(at, struct.calcsize(form)))
        if fields[0] != magic:
            raise self.fail(f"offset {self.start + at}: {fields[0]!r} where {magic!r} is expected")
        return fields


def _directory(window: _Window) -> tuple[int, int, int]:
    """(how many entries, where their directory begins, its bytes); from the end of the file, zip64 or not."""
    tail = window.take(max(0, window.size - 65557), min(window.size, 65557))
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        raise window.fail(f"no directory in its last {len(tail)} bytes")
    at += window.size - len(tail)
    disk, first, here, count, total, begin, comment = window.unpack("<4s4H2LH", at, b"PK\5\6")[1:]
    if at + 22 + comment != window.size:
        raise window.fail("bytes after the end of the zip's directory")
    if at >= 20 and window.take(at - 20, 4) == b"PK\6\7":
        place = window.unpack("<4sLQL", at - 20, b"PK\6\7")[2]
        fields = window.unpack("<4sQ2H2L4Q", place, b"PK\6\6")
        disk, first, here, count, total, begin = fields[4:]
        at = place
    if disk or first or here != count or begin + total != at:
        raise window.fail(f"its directory of {total} bytes at {begin} does not end at {at}")
    return count, begin, total


def _wide(window: _Window, extra: bytes, sizes: tuple[int, int, int]) -> list[int]:
    """The 32-bit (held, whole, offset) with those that did not fit replaced from the zip64 field."""
    field, at = b"", 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
        at += 4 + length
    held, whole, local = sizes
    full, at = {}, 0
    for key, value in (("whole", whole), ("held", held), ("local", local)):
        full[key] = value
        if value == _EMPTY_U32:
            if at + 8 > len(field):
                raise window.fail("an entry over 4 GiB without its zip64 field")
            full[key] = struct.unpack_from("<Q", field, at)[0]
            at += 8
    return [full["held"], full["whole"], full["local"]]


def read_zip(path: Path, form: str, start: int = 0, length: int | None = None, *, trust: bool = False) -> Checkpoint:
    """What torch.save wrote as a zip, alone in the file or in ``length`` bytes at ``start`` of it."""
    where = str(path) if length is None else f"{path}, bytes {start} to {start + length}"
    with open(path, "rb") as file:
        held = entries(file, where, start, length)
        prefix = next((name.removesuffix("data.pkl") for name in held if name.endswith("/data.pkl")), None)
        if prefix is None:
            raise CheckpointError(f"{where}: a zip without a data.pkl", hint="torch.save did not write it")
        if f"{prefix}constants.pkl" in held:
            raise CheckpointError(f"{where}: TorchScript, not a checkpoint", hint="torch.jit.load it, save its state_dict()")
        small = {name: _content(file, where, held[prefix + name]) for name in _SMALL if prefix + name in held}
        pickled = _content(file, where, held[f"{prefix}data.pkl"])
    if small.get("byteorder", b"little") != b"little":
        what = f"byte order {small['byteorder'][:20]!r}, expected little"
        raise CheckpointError(f"{where}: {what}", hint="load it with torch and save it again on a little-endian machine")

    def locate(ref: StorageRef) -> Span:
        entry = held.get(f"{prefix}data/{ref.key}")
        if entry is None or entry.length != ref.nbytes(ref.count):
            got = "is not there" if entry is None else f"has {entry.length} bytes, expected {ref.nbytes(ref.count)}"
            raise CheckpointError(f"{where}: entry {prefix}data/{ref.key} {got}", hint="the file is damaged")
        return Span(str(path), entry.offset, entry.length, entry.crc)

    loaded = load(io.BytesIO(pickled), len(pickled), f"{where}, {prefix}data.pkl", VOCABULARY, persistent_storage, trust)
    collector = Collector(where, locate)
    if METADATA_ENTRY in small:
        collector.metadata.update(_json(small[METADATA_ENTRY], where))
    if not held[f"{prefix}data.pkl"].crc:
        collector.report.add("no-crc", "info", path.name, "written without checksums (torch.serialization.set_crc32_options)")
    return collector.checkpoint(path, form, loaded, trust)


_SMALL = ("byteorder", METADATA_ENTRY)


def _content(file: BinaryIO, where: str, entry: Entry) -> bytes:
    file.seek(entry.offset)
    data = file.read(entry.length)
    if len(data) != entry.length or (entry.crc and zlib.crc32(data) != entry.crc):
        raise CheckpointError(f"{where}: entry {entry.name!r} is not what its checksum says", hint="the file is damaged")
    return data


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{where}: {METADATA_ENTRY} is no JSON ({str(exc)[:80]})", hint="the file is damaged") from exc
    return found if isinstance(found, dict) else {METADATA_ENTRY: found}


class TorchZip:
    """torch.save's format since torch 1.6.

    >>> READER.matches(Path("x.pth"), b"\\x0a\\x10")
    False
    """

    name = "torch-zip"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether it is a zip with a data.pkl: first, as torch writes it, or anywhere."""
        if not head.startswith(b"PK\3\4"):
            return False
        if b"/data.pkl" in head[:512]:
            return True
        try:
            with open(path, "rb") as file:
                return any(name.endswith("/data.pkl") for name in entries(file, str(path)))
        except CheckpointError as exc:
            return "data.pkl" in str(exc)

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """The tensors as spans of the entries; ``CheckpointError`` for what is damaged, packed, encrypted or TorchScript."""
        return read_zip(path, self.name, trust=trust)


READER = TorchZip()
