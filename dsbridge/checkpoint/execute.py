"""A plan carried out: tensor by tensor from one file to another, whole or not at all, and read back."""

from __future__ import annotations

import contextlib
import math
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.checkpoint.apply import agree, applied
from dsbridge.checkpoint.atomic import Pending, replacing
from dsbridge.checkpoint.formats.base import Writer
from dsbridge.checkpoint.rows import Array, Row
from dsbridge.checkpoint.stored import CHUNK_BYTES, Checkpoint, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup, numpy_dtype

SHOWN = 20
"""How many rows an error message lists."""


Chunk = bytes | memoryview


@dataclass(slots=True)
class Piece:
    """One target's bytes on their way; ``crc``: their CRC-32 where the source states it, and ``chunks`` compares; else 0."""

    name: str
    chunks: Iterable[Chunk]
    crc: int = 0


@dataclass(slots=True)
class Target:
    """A tensor that will be written: what a header needs of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor.

        >>> Target("w", "bfloat16", (2, 3)).nbytes
        12
        """
        return math.prod(self.shape) * numpy_dtype(self.dtype).itemsize


class ConvertReport(Report):
    """What a conversion did: ``counts`` of rows by status, ``tensors`` and ``nbytes`` written, ``read_back`` (compared).

    Dropped tensors are findings of their own.

    >>> print(ConvertReport(Path("a.ckpt"), {"exact": 2}, tensors=2, nbytes=8, read_back=True))
    a.ckpt: 2 tensors, 8 bytes, read back and equal; 2 exact: nothing to report
    """

    def __init__(self, target: Path, counts: Mapping[str, int], *, tensors: int, nbytes: int, read_back: bool) -> None:
        proof = "read back and equal" if read_back else "not read back"
        rows = ", ".join(f"{count} {status}" for status, count in counts.items())
        super().__init__(f"{target}: {tensors:,} tensors, {nbytes:,} bytes, {proof}; {rows}")
        self.target, self.counts, self.tensors, self.nbytes, self.read_back = target, dict(counts), tensors, nbytes, read_back

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``."""
        numbers = {"tensors": self.tensors, "nbytes": self.nbytes, "read_back": self.read_back, "counts": self.counts}
        return {**super().to_dict(), "target": str(self.target), **numbers}


@dataclass(slots=True)
class Job:
    """Rows to be written from a checkpoint, and how.

    ``open_checkpoint`` opens what was written, to compare it, if ``read_back``. ``metadata`` goes into the files.
    ``targets``: what will be written. Raises ``CheckpointError`` for rows that are not fine (``accept_guesses`` lets "guessed"
    ones through), targets named twice, sources that are not there, and a metadata key that is a tensor's name (MindSpore
    reads it as a dtype and fails).
    """

    rows: Sequence[Row]
    checkpoint: Checkpoint
    open_checkpoint: Callable[[Path], Checkpoint]
    metadata: Mapping[str, str] = field(default_factory=dict)
    progress: bool = False
    read_back: bool = True
    accept_guesses: bool = False
    targets: list[Target] = field(init=False)

    def __post_init__(self) -> None:
        _refuse_doubtful(self.rows, self.accept_guesses)
        self.targets = _targets(self.rows, self.metadata)
        _check_sources(self.rows, self.checkpoint)

    @property
    def files(self) -> set[str]:
        """What is read meanwhile, and must not be written."""
        return {span.path for stored in self.checkpoint.tensors.values() for span in stored.spans} | {str(self.checkpoint.path)}

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors that will be written."""
        return sum(one.nbytes for one in self.targets)

    @property
    def room(self) -> int:
        """Bytes that the files will take, at most about."""
        return self.nbytes + sum(256 + len(one.name) for one in self.targets)  # names, dtypes, alignment

    def bar(self) -> AbstractContextManager[Callable[[int], object]]:
        """Bytes on stderr while a block runs; calls with a number of bytes move it."""
        return shown_progress(self.nbytes, self.progress)

    def fill(
        self, pending: Pending, rows: Sequence[Row], targets: Sequence[Target], writer: Writer, advance: Callable[[int], object]
    ) -> None:
        """Write one file from some of the rows, and read it back."""
        writer.begin(pending.file, targets, self.metadata)
        sums = _write(rows, self.checkpoint, writer, advance, self.read_back)
        writer.end()
        if self.read_back:
            _compare(pending, targets, sums, self.open_checkpoint)

    def told(self, target: Path) -> ConvertReport:
        """The report of the finished job."""
        counts = Counter(row.status for row in self.rows)
        report = ConvertReport(target, counts, tensors=len(self.targets), nbytes=self.nbytes, read_back=self.read_back)
        _tell(report, self.rows, self.checkpoint)
        return report


def execute(job: Job, writer: Writer, target: Path) -> ConvertReport:
    """Write ``target`` as the rows say, in their order; nothing appears there unless all of it is right.

    Rows that leave the bytes alone are copied 1 MiB at a time; of the others, one row's tensors are in memory at once (a row
    that makes a new array, as concat and cast do, holds that beside its sources). What was written is opened before it takes
    the target's name, and every tensor compared by name, dtype, shape and CRC-32.
    """
    with replacing(target, nbytes=job.room, sources=job.files) as pending, job.bar() as advance:
        job.fill(pending, job.rows, job.targets, writer, advance)
    return job.told(Path(target))


def _refuse_doubtful(rows: Sequence[Row], accept_guesses: bool) -> None:
    doubtful = [row for row in rows if not row.fine and not (accept_guesses and row.status == "guessed")]
    if not doubtful:
        return
    counts = ", ".join(f"{count} {status}" for status, count in Counter(row.status for row in doubtful).items())
    lines = [
        f"  {row.status}: {', '.join(row.sources) or '-'} -> {', '.join(row.targets) or '-'}"
        + (f" ({row.note})" if row.note else "")
        + (f"; nearest: {', '.join(row.candidates)}" if row.candidates else "")
        for row in doubtful[:SHOWN]
    ]
    more = [f"  ... and {len(doubtful) - SHOWN} more"] if len(doubtful) > SHOWN else []
    only_guesses = all(row.status == "guessed" for row in doubtful)
    raise CheckpointError(
        "\n".join([f"{len(doubtful)} of {len(rows)} rows of the plan are open: {counts}", *lines, *more]),
        unmatched=[name for row in doubtful if row.status == "unmatched" for name in row.sources],
        missing=[name for row in doubtful if row.status == "missing" for name in row.targets],
        candidates={name: list(row.candidates) for row in doubtful for name in row.targets or row.sources},
        hint="look at the guesses and pass accept_guesses=True" if only_guesses else "add rules or pairs for these names",
    )


def _targets(rows: Sequence[Row], metadata: Mapping[str, str]) -> list[Target]:
    found: dict[str, Target] = {}
    for row in rows:
        for name, dtype, shape in zip(row.targets, row.dtypes, row.shapes, strict=True):
            if name in found:
                raise CheckpointError(
                    f"two rows write the tensor {name!r} (one of them from {', '.join(row.sources) or 'nothing'})",
                    hint="in MindSpore's files the last one would win silently; give each target one source",
                )
            found[name] = Target(name, lookup(dtype).name, tuple(shape))
    clash = sorted(found.keys() & metadata.keys())
    if clash:
        raise CheckpointError(f"metadata keys are names of tensors: {', '.join(clash)}", hint="give the metadata other keys")
    return list(found.values())


def _check_sources(rows: Sequence[Row], checkpoint: Checkpoint) -> None:
    absent = sorted({name for row in rows for name in row.sources} - checkpoint.tensors.keys())
    if absent:
        raise CheckpointError(
            f"{checkpoint.path} lacks {len(absent)} tensors of the plan: {', '.join(absent[:SHOWN])}",
            missing=absent,
            hint="the plan was made for another file; make it again",
        )


def _write(
    rows: Sequence[Row], checkpoint: Checkpoint, writer: Writer, advance: Callable[[int], object], summed: bool
) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        # A generator, so that arrays of a row are let go before those of the next are read.
        for piece in pieces(row, checkpoint):
            if summed:
                writer.write(piece.name, _summed(piece, sums, advance))
            else:
                writer.write(piece.name, _counted(piece.chunks, advance))
    return sums


def _counted(chunks: Iterable[Chunk], advance: Callable[[int], object]) -> Iterator[Chunk]:
    for chunk in chunks:
        yield chunk
        advance(len(chunk))


def _summed(piece: Piece, sums: dict[str, int], advance: Callable[[int], object]) -> Iterator[Chunk]:
    crc = 0
    for chunk in _counted(piece.chunks, advance):
        if not piece.crc:
            crc = zlib.crc32(chunk, crc)
        yield chunk
    sums[piece.name] = piece.crc or crc


def pieces(row: Row, checkpoint: Checkpoint) -> Iterator[Piece]:
    """The targets of one row, in order; what is not moved is never whole in memory."""
    if not row.targets:
        return
    sources = [checkpoint.tensors[name] for name in row.sources]
    if len(sources) == len(row.targets) == 1 and not any(operation.moves_bytes for operation in row.operations):
        _check_stream(row, sources[0])
        (stored,) = sources
        stated = stored.spans[0].crc if len(stored.spans) == 1 and stored.strides is None else 0
        yield Piece(row.targets[0], stored.chunks(), stated)
        return
    arrays = applied(row, tuple(stored.read() for stored in sources))
    for name, array in zip(row.targets, arrays, strict=True):
        yield Piece(name, contiguous_chunks(array))


def _check_stream(row: Row, stored: Stored) -> None:
    shapes: tuple[tuple[int, ...], ...] = (stored.shape,)
    for operation in row.operations:
        shapes = operation.shapes(shapes)
    agree(row, [(stored.dtype, shapes[0])])


def contiguous_chunks(array: Array, size: int = CHUNK_BYTES) -> Iterator[memoryview]:
    """The array's bytes in C order, at most ``size`` (or one element) at a time; no second copy of the whole is made.

    >>> [bytes(chunk) for chunk in contiguous_chunks(np.arange(4, dtype="u1").reshape(2, 2).T, 2)]
    [b'\\x00\\x02', b'\\x01\\x03']
    """
    if array.flags.c_contiguous:
        flat = array.reshape(-1).view(np.uint8)
        for at in range(0, flat.nbytes, size):
            yield flat[at : at + size].data
        return
    inner = array.nbytes // len(array)
    if inner > size:
        for part in array:
            yield from contiguous_chunks(part, size)
        return
    step = max(size // inner, 1)
    for at in range(0, len(array), step):
        yield np.array(array[at : at + step], order="C").reshape(-1).view(np.uint8).data


def _compare(
    pending: Pending, targets: Sequence[Target], sums: Mapping[str, int], open_checkpoint: Callable[[Path], Checkpoint]
) -> None:
    pending.sync()
    written = open_checkpoint(pending.path).tensors
    wrong = sorted(written.keys() ^ {one.name for one in targets})
    if not wrong:
        wrong = [one.name for one in targets if not _same(one, written[one.name], sums[one.name])]
    if wrong:
        raise CheckpointError(
            f"{pending.target}: {len(wrong)} tensors read back differ from what was to be written: {', '.join(wrong[:SHOWN])}",
            hint="this is a fault of the disk, the memory or dsbridge; the file that was there is untouched",
        )


def _same(target: Target, stored: Stored, crc: int) -> bool:
    if (stored.dtype, stored.shape) != (target.dtype, target.shape):
        return False
    found = 0
    for chunk in stored.chunks():
        found = zlib.crc32(chunk, found)
    return found == crc


@contextlib.contextmanager
def shown_progress(nbytes: int, shown: bool) -> Iterator[Callable[[int], object]]:
    """Bytes on stderr while a block runs; calls with a number of bytes move it."""
    if not shown:
        yield lambda written: None
        return
    from tqdm import tqdm

    with tqdm(total=nbytes, unit="B", unit_scale=True, file=sys.stderr, leave=False) as bar:
        yield bar.update


def _tell(report: ConvertReport, rows: Sequence[Row], checkpoint: Checkpoint) -> None:
    for row in rows:
        where = ", ".join(row.sources) or ", ".join(row.targets)
        if not row.targets and row.status != "tied":
            report.add("dropped", "info", where, row.note or f"not written (rule {row.rule or 'none'})")
        elif row.status in ("const", "guessed", "tied"):
            report.add(row.status, "warning" if row.status == "guessed" else "info", where, row.note or f"rule {row.rule}")
    for name in sorted(checkpoint.tensors.keys() - {name for row in rows for name in row.sources}):
        report.add(
            "not-in-plan", "warning", name, "no row of the plan mentions it, so it was not written", "make the plan again"
        )
