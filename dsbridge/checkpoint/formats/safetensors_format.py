"""The safetensors format: a u64 header length, a JSON header, then the bytes of all tensors without holes.

Source: the format's README (github.com/huggingface/safetensors) and its ``MAX_HEADER_SIZE``; MindSpore's ``crc_num`` and
``remove_redundancy`` from ``mindspore/train/serialization.py`` 2.10. This reader is stricter than the reference one, which
takes the last of two equal keys and ignores unknown fields.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.formats.base import Outline
from dsbridge.checkpoint.stored import CHUNK_BYTES, Checkpoint, Span, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Report
from dsbridge.schema.dtypes import TABLE, lookup, numpy_dtype

MAX_HEADER_BYTES = 100_000_000
"""The reference implementation's limit."""

NOT_FOR_MINDSPORE = frozenset(row.name for row in TABLE if row.name.startswith(("float8", "complex")))
"""One tensor of such a dtype and ``mindspore.load_checkpoint`` refuses the whole file with a KeyError (measured, 2.10)."""

_MOST_DIMENSIONS = 32  # numpy 1's limit
_MOST_ZEROS = 1 << 30
_DTYPES = {row.safetensors: row.name for row in TABLE if row.safetensors}
_CODES = {name: code for code, name in _DTYPES.items()}
_SUB_BYTE_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}  # known to the format, held by no numpy array


def sound_shape(shape: Any, what: str) -> tuple[int, ...]:
    """``shape`` as a tuple of whole numbers that numpy can hold; ``CheckpointError`` naming ``what`` otherwise.

    >>> sound_shape([2, 0], "tensor 'w'")
    (2, 0)
    """
    if not isinstance(shape, (list, tuple)) or any(type(size) is not int or size < 0 for size in shape):
        raise CheckpointError(f"{what} has the shape {str(shape)[:80]}, expected a list of sizes")
    if len(shape) > _MOST_DIMENSIONS or prod(size or 1 for size in shape) >= 1 << 59:
        raise CheckpointError(f"{what} has the shape {str(shape)[:80]}, more than an array can hold")
    return tuple(shape)


def put(file: Any, data: bytes | memoryview) -> int:
    """Write all of ``data``, also where one call writes only a part (raw files above 2 GiB); the number of bytes.

    >>> import io
    >>> put(io.BytesIO(), b"abc")
    3
    """
    view = memoryview(data)
    if not view.nbytes:
        return 0
    view = view.cast("B")
    length = len(view)
    while view:
        view = view[file.write(view) :]
    return length


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; ``ValueError`` for a key that is there twice, where ``json`` takes the last.

    >>> json.loads('{"a": 1, "a": 2}', object_pairs_hook=unique_keys)
    Traceback (most recent call last):
    ...
    ValueError: the key 'a' is there twice
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def text_problem(text: Any) -> str:
    """Why something is not text that a file can hold; "" if it is.

    >>> text_problem("w"), text_problem(3), text_problem(chr(0xD800))
    ('', 'int, not text', 'not encodable as UTF-8')
    """
    if not isinstance(text, str):
        return f"{type(text).__name__}, not text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not encodable as UTF-8"
    return ""


def check_names(outlines: Iterable[Outline], metadata: Mapping[str, str]) -> None:
    """Refuse what both of MindSpore's formats would lose: a name twice, metadata named like a tensor, what is not text.

    MindSpore keeps one of two tensors of a name, and takes metadata with a tensor's name for its dtype (it crashes).

    >>> check_names([Stored("w", "int8", (0,), ())], {"w": "x"})
    Traceback (most recent call last):
    ...
    dsbridge.errors.CheckpointError: metadata 'w' has the name of a tensor, ... Hint: rename the metadata
    """
    names: set[str] = set()
    for outline in outlines:
        problem = text_problem(outline.name) or ("there twice" if outline.name in names else "")
        if problem:
            raise CheckpointError(f"the tensor name {outline.name!r} is {problem}", hint="give each tensor a name of its own")
        sound_shape(outline.shape, f"tensor {outline.name!r}")
        names.add(outline.name)
    for key, value in metadata.items():
        problem = text_problem(key) or text_problem(value)
        if problem:
            raise CheckpointError(f"metadata {key!r} is {problem}", hint="keep other values in the sidecar")
        if key in names:
            raise CheckpointError(
                f"metadata {key!r} has the name of a tensor, which MindSpore cannot load", hint="rename the metadata"
            )


@dataclass(frozen=True, slots=True)
class SafetensorsReader:
    """Reads a header; tensors are byte ranges.

    >>> READER.matches(Path("any.suffix"), bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}")
    True
    """

    name: str = "safetensors"

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether byte 8 opens a JSON object and the length before it is below 2**40."""
        return head[8:9] == b"{" and head[5:8] == bytes(3)

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint:
        """The header, checked: no holes, overlaps, duplicates; a MindSpore checksum is verified (that reads all bytes)."""
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES or 8 + length > size:
                limit = min(MAX_HEADER_BYTES, max(size - 8, 0))
                raise CheckpointError(
                    f"{path}: the safetensors header says it has {length} bytes, at most {limit} are possible",
                    hint="the file is cut short or is no safetensors file",
                )
            header = _parse(path, file.read(length))
        report = Report(str(path))
        metadata = _metadata(path, header.pop("__metadata__", {}))
        tensors = dict(_tensors(path, header, 8 + length, size, report))
        _say_mindspore(metadata, header, report)
        if metadata.get("format") == "ms" and "crc_num" in metadata:
            _check_crc(path, tensors, metadata["crc_num"])
        return Checkpoint(path, self.name, tensors, metadata=metadata, report=report)


READER = SafetensorsReader()


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode(), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as exc:  # also what is not UTF-8
        raise CheckpointError(f"{path}: the safetensors header (bytes 8 to {8 + len(raw)}) is not sound JSON: {exc}") from exc
    if not isinstance(header, dict) or not raw.startswith(b"{"):
        raise CheckpointError(f"{path}: the safetensors header begins with {raw[:8]!r}, expected a JSON object")
    return header


def _metadata(path: Path, metadata: Any) -> dict[str, Any]:
    texts = metadata.items() if isinstance(metadata, dict) else [(None, metadata)]
    for key, value in texts:
        problem = text_problem(key) or text_problem(value)
        if problem:
            raise CheckpointError(f"{path}: __metadata__ entry {key!r} is {problem}")
    return dict(metadata)


def _tensors(path: Path, header: dict[str, Any], base: int, size: int, report: Report) -> Iterator[tuple[str, Stored]]:
    ranges = []
    for name, info in header.items():
        what = f"{path}: tensor {name!r}"
        if text_problem(name) or not isinstance(info, dict) or not {"dtype", "shape", "data_offsets"} <= info.keys():
            raise CheckpointError(f"{what} is described by {str(info)[:80]}, expected dtype, shape and data_offsets")
        code, shape, offsets = info["dtype"], sound_shape(info["shape"], what), info["data_offsets"]
        if not isinstance(offsets, list) or len(offsets) != 2 or any(type(at) is not int or at < 0 for at in offsets):
            raise CheckpointError(f"{what} has the data_offsets {str(offsets)[:80]}, expected [begin, end]")
        begin, end = offsets
        bits = _bits(code, what) * prod(shape)
        if (end - begin) * 8 != bits:
            raise CheckpointError(f"{what} {code}{list(shape)} has {end - begin} bytes in data_offsets, not {-(-bits // 8)}")
        ranges.append((begin, end, name))
        for extra in sorted(info.keys() - {"dtype", "shape", "data_offsets"}):
            report.add("unknown-field", "warning", name, f"the field {extra!r} of the header is ignored")
        if code in _DTYPES:
            yield name, Stored(name, _DTYPES[code], shape, (Span(str(path), base + begin, end - begin),) if end > begin else ())
        else:
            report.add("unreadable-dtype", "error", name, f"{code} is no numpy dtype: the tensor is left out")
    _check_cover(path, sorted(ranges), size - base)


def _bits(code: Any, what: str) -> int:
    if isinstance(code, str) and code in _DTYPES:
        return numpy_dtype(_DTYPES[code]).itemsize * 8
    if isinstance(code, str) and code in _SUB_BYTE_BITS:
        return _SUB_BYTE_BITS[code]
    raise CheckpointError(f"{what} has the dtype {str(code)[:40]!r}, expected one of {', '.join(_DTYPES)}")


def _check_cover(path: Path, ranges: list[tuple[int, int, str]], length: int) -> None:
    at, previous = 0, "the header"
    for begin, end, name in ranges:
        if begin != at:
            how = f"leaves a hole of {begin - at} bytes" if begin > at else f"overlaps by {at - begin} bytes"
            raise CheckpointError(f"{path}: tensor {name!r} at {begin} {how} after {previous!r}, which ends at {at}")
        at, previous = end, name
    if at != length:
        raise CheckpointError(
            f"{path}: the tensors take {at} bytes after the header, the file has {length}",
            hint="it was cut short" if at > length else "something was appended",
        )


def _say_mindspore(metadata: dict[str, Any], header: dict[str, Any], report: Report) -> None:
    if metadata.get("remove_redundancy") == "True":
        report.add(
            "one-rank",
            "error",
            "remove_redundancy",
            "the file is one rank's part: what other ranks hold was left out",
            "save with remove_redundancy=False, or merge the ranks with mindspore.unified_safetensors",
        )
    for name in metadata.keys() & header.keys():
        packed = metadata[name] == "Int4"
        message = (
            "two 4-bit values in a byte, not the numbers" if packed else "metadata of this name: MindSpore cannot load the file"
        )
        report.add("named-like-a-tensor", "error" if packed else "warning", name, message)


def _check_crc(path: Path, tensors: dict[str, Stored], expected: str) -> None:
    crc = 0
    for name in sorted(tensors):  # MindSpore's order
        crc = zlib.crc32(name.encode(), crc)
        for chunk in _summed(path, tensors[name]):
            crc = zlib.crc32(chunk, crc)
    if str(crc) != expected:
        raise CheckpointError(f"{path}: crc_num is {expected}, the tensors give {crc}", hint="the file is damaged")


def _summed(path: Path, stored: Stored) -> Iterator[bytes | memoryview]:
    """What MindSpore sums of a tensor: ``bytes(array)``, which for a 0-d integer n is not its bytes but n zeros."""
    if stored.shape or numpy_dtype(stored.dtype).kind not in "iu":
        yield from stored.chunks()
        return
    left = int(stored.read())
    if not 0 <= left <= _MOST_ZEROS:
        raise CheckpointError(
            f"{path}: {stored.name!r} is {left}, which no checksum of MindSpore's covers", hint="the file is damaged"
        )
    while left > 0:
        yield bytes(min(left, CHUNK_BYTES))
        left -= CHUNK_BYTES


@dataclass(slots=True)
class SafetensorsWriter:
    """Writes one file; tensors of wide dtypes lie first, so that all are aligned, otherwise in the outlines' order.

    The header has that order, too: MindSpore refuses others. So tensors come in one order and may lie in another: the file
    must be seekable. fp8 and complex64 are written: see ``NOT_FOR_MINDSPORE``.

    >>> import io
    >>> file, writer = io.BytesIO(), SafetensorsWriter()
    >>> writer.begin(file, [Stored("w", "uint8", (3,), (Span("f", 0, 3),))], {})
    >>> writer.write("w", [b"abc"]); writer.end()
    >>> file.getvalue()[8:].split(b"}")[0]
    b'{"w":{"dtype":"U8","shape":[3],"data_offsets":[0,3]'
    """

    _file: Any = None
    _places: dict[str, tuple[int, int]] = field(default_factory=dict)  # of what is still to be written, in order

    def begin(self, file: Any, outlines: Iterable[Outline], metadata: Mapping[str, str]) -> None:
        """Write the header. Raises ``CheckpointError`` for dtypes the format lacks and names it cannot hold."""
        outlines = list(outlines)
        check_names(outlines, metadata)
        if "crc_num" in metadata:
            raise CheckpointError("metadata 'crc_num' is MindSpore's checksum of another file", hint="leave it out")
        codes = {outline.name: _code(outline) for outline in outlines}
        sizes = {outline.name: prod(outline.shape) * numpy_dtype(outline.dtype).itemsize for outline in outlines}
        header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
        at = 0
        for outline in sorted(outlines, key=lambda outline: -numpy_dtype(outline.dtype).itemsize):
            span = [at, at + sizes[outline.name]]
            header[outline.name] = {"dtype": codes[outline.name], "shape": list(outline.shape), "data_offsets": span}
            at += sizes[outline.name]
        raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        raw += b" " * (-len(raw) % 8)
        if len(raw) > MAX_HEADER_BYTES:
            raise CheckpointError(f"the header would have {len(raw)} bytes, more than {MAX_HEADER_BYTES}", hint="write shards")
        base = file.tell() + put(file, len(raw).to_bytes(8, "little") + raw)
        self._file = file
        self._places = {name: (base + header[name]["data_offsets"][0], size) for name, size in sizes.items()}

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Write the next tensor's bytes. Raises ``CheckpointError`` for another name, too few or too many bytes."""
        expected = next(iter(self._places), None)
        if name != expected:
            raise CheckpointError(f"tensor {name!r} came where {expected!r} was expected")
        offset, length = self._places.pop(name)
        if self._file.tell() != offset:  # seeking flushes
            self._file.seek(offset)
        written = 0
        for chunk in chunks:
            written += memoryview(chunk).nbytes
            if written > length:  # the neighbour's place begins there
                raise CheckpointError(f"tensor {name!r} has more than the {length} bytes of its outline")
            put(self._file, chunk)
        if written != length:
            raise CheckpointError(f"tensor {name!r} has {written} bytes, its outline {length}")

    def end(self) -> None:
        """Check that all tensors came and leave the file at its end."""
        if self._places:
            raise CheckpointError(f"{len(self._places)} tensors were not written, first {next(iter(self._places))!r}")
        self._file.seek(0, os.SEEK_END)


def _code(outline: Outline) -> str:
    name = lookup(outline.dtype).name
    if name not in _CODES or outline.name == "__metadata__":
        reason = "its name is the format's own" if name in _CODES else f"the format has no {name}"
        raise CheckpointError(f"safetensors cannot hold tensor {outline.name!r}: {reason}", hint="drop, cast or rename it")
    return _CODES[name]
