"""A converted checkpoint against its source: every tensor is what the plan makes of it, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dsbridge.checkpoint.convert import Rules, plan
from dsbridge.checkpoint.execute import Chunk, pieces, shown_progress
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.rows import Row
from dsbridge.checkpoint.stored import Checkpoint, Stored
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup, numpy_dtype

_MOST_NAMED = 20


class ComparedReport(Report):
    """What ``compare`` found: ``equal`` of ``tensors`` tensors are what they should be, ``nbytes`` bytes were compared.

    ``module_paths``: those of the plan, for ``audit`` and ``verify``.

    >>> print(ComparedReport("b.ckpt", tensors=2, equal=2, nbytes=8))
    b.ckpt: 2 of 2 tensors equal bit for bit, 8 bytes: nothing to report
    """

    def __init__(
        self, target: str, *, tensors: int, equal: int, nbytes: int, module_paths: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{target}: {equal:,} of {tensors:,} tensors equal bit for bit, {nbytes:,} bytes")
        self.tensors, self.equal, self.nbytes, self.module_paths = tensors, equal, nbytes, dict(module_paths or {})

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``."""
        return {**super().to_dict(), "tensors": self.tensors, "equal": self.equal, "nbytes": self.nbytes}


def compare(
    source: str | os.PathLike[str] | Checkpoint,
    target: str | os.PathLike[str] | Checkpoint,
    *,
    model: Any = None,
    network: Any = None,
    inputs: Any = None,
    rules: Rules = "auto",
    key: str = "",
    dtypes: str = "target",
    trust: bool = False,
    progress: bool = False,
) -> ComparedReport:
    """Plan the conversion of ``source`` again and compare every tensor of ``target`` with what it makes, as bytes.

    Arguments as for ``plan``. Streamed: memory grows by one transformed tensor. Errors name tensors that are missing, surplus,
    of another shape or dtype, or different, with the first element that is; warnings name sources that nothing took.

    >>> import json, tempfile
    >>> header = json.dumps({"w": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    >>> with tempfile.NamedTemporaryFile() as a, tempfile.NamedTemporaryFile() as b:
    ...     for file, data in ((a, b"ab"), (b, b"ac")):
    ...         _ = file.write(len(header).to_bytes(8, "little") + header + data); file.flush()
    ...     print([finding.message for finding in compare(a.name, b.name)])
    ['element [1] is 99, 98 is expected; 1 of 2 differ']
    """
    left = source if isinstance(source, Checkpoint) else open_checkpoint(source, trust=trust)
    right = target if isinstance(target, Checkpoint) else open_checkpoint(target)
    found = plan(left, None, model=model, network=network, inputs=inputs, rules=rules, key=key, dtypes=dtypes)
    findings = Report(str(right.path))
    expected: set[str] = set()
    equal = nbytes = 0
    with shown_progress(sum(stored.nbytes for stored in right.tensors.values()), progress) as advance:
        for row in found.rows:
            expected.update(row.targets)
            if not row.targets or row.status == "missing":
                _tell_unwritten(findings, row)
                continue
            for name, difference in _differences(row, left, right, advance):
                equal += not difference
                nbytes += right.tensors[name].nbytes if name in right.tensors else 0
                if difference:
                    findings.add("differs", "error", name, difference, "convert again; do not use this file")
    surplus = [name for name in right.tensors if name not in expected]
    for name in surplus[:_MOST_NAMED]:
        findings.add("surplus", "error", name, "the target holds it, the plan does not write it")
    if len(surplus) > _MOST_NAMED:
        findings.add("surplus", "error", "...", f"and {len(surplus) - _MOST_NAMED} more")
    report = ComparedReport(str(right.path), tensors=len(expected), equal=equal, nbytes=nbytes, module_paths=found.module_paths)
    report.extend((*found.findings, *findings))
    return report


def _tell_unwritten(findings: Report, row: Row) -> None:
    where = ", ".join(row.targets or row.sources)
    if row.status == "missing":
        findings.add("missing", "error", where, "the network has it, nothing fills it", "say what does by rules=")
    elif row.status in ("unmatched", "ambiguous"):
        findings.add("left-out", "warning", where, "nothing takes it", "say what becomes of it by rules=")


def _differences(row: Row, left: Checkpoint, right: Checkpoint, advance: Any) -> Iterator[tuple[str, str]]:
    """(target, what differs) of one row; "" for what is equal."""
    outlines = dict(zip(row.targets, zip(row.dtypes, row.shapes, strict=True), strict=True))
    for piece in pieces(row, left):
        name = piece.name
        stored = right.tensors.get(name)
        if stored is None:
            yield name, "it is not in the target"
            continue
        dtype, shape = lookup(outlines[name][0]).name, tuple(outlines[name][1])
        if (stored.dtype, stored.shape) != (dtype, shape):
            yield name, f"{stored.dtype}{list(stored.shape)}, {dtype}{list(shape)} is expected"
            continue
        yield name, _first_difference(stored, piece.chunks, advance)


def _first_difference(stored: Stored, chunks: Iterable[Chunk], advance: Any) -> str:
    """Where a stored tensor differs from the bytes it should have; "" where it does not."""
    rest, at = memoryview(b""), 0
    held = stored.chunks()
    first: tuple[int, str, str] | None = None
    count = 0
    for chunk in chunks:
        theirs = memoryview(chunk).cast("B")
        while len(rest) < len(theirs):
            rest = memoryview(bytes(rest) + bytes(next(held)))
        ours, rest = rest[: len(theirs)], rest[len(theirs) :]
        if ours != theirs:
            apart = np.frombuffer(ours, np.uint8) != np.frombuffer(theirs, np.uint8)
            places = np.unique((at + np.flatnonzero(apart)) // stored.itemsize)
            count += len(places)
            if first is None:
                begin = int(places[0]) * stored.itemsize - at
                first = int(places[0]), _value(ours, begin, stored), _value(theirs, begin, stored)
        at += len(theirs)
        advance(len(theirs))
    if first is None:
        return ""
    place, got, expected = first
    index = [int(axis) for axis in np.unravel_index(place, stored.shape)] if stored.shape else []
    total = stored.nbytes // stored.itemsize
    return f"element {index} is {got}, {expected} is expected; {count:,} of {total:,} differ"


def _value(data: memoryview, begin: int, stored: Stored) -> str:
    raw = bytes(data[max(begin, 0) : begin + stored.itemsize])
    return str(np.frombuffer(raw, numpy_dtype(stored.dtype))[0]) if len(raw) == stored.itemsize else raw.hex()
