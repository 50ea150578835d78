"""What a checkpoint holds, by its headers: tensors, metadata, other content, findings; and how two of them differ."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.stored import Checkpoint, Stored
from dsbridge.report import Report, Reported
from dsbridge.styles import aligned, printable, repr_html

_SHOWN = 60  # characters of a value
_MOST_OTHER = 1000  # rows of other content


@dataclass(frozen=True, slots=True)
class TensorLine:
    """One tensor as it is stored; ``tied_to``: an earlier tensor with the very same bytes.

    >>> print(TensorLine("w", "float32", (2, 3), 24))
    w float32[2, 3] 24 bytes
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    tied_to: str = ""

    def __str__(self) -> str:
        tied = f", tied to {self.tied_to}" if self.tied_to else ""
        return f"{self.name} {self.kind} {self.nbytes} bytes{tied}"

    @property
    def kind(self) -> str:
        """Dtype and shape in one word.

        >>> TensorLine("w", "float32", (2, 3), 24).kind
        'float32[2, 3]'
        """
        return f"{self.dtype}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class CheckpointReport(Reported):
    """The outcome of ``inspect``. ``other``: what is there besides tensors, summarised, by its place in the file.

    >>> print(CheckpointReport("a.ckpt", "mindspore-ckpt", (TensorLine("w", "int8", (2,), 2),), 2))
    a.ckpt: mindspore-ckpt, 1 tensor, 2 bytes
      w  int8[2]  2
    """

    path: str
    format: str
    tensors: tuple[TensorLine, ...]
    nbytes: int
    metadata: dict[str, Any] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report("checkpoint"))

    @property
    def ok(self) -> bool:
        """Whether no finding is worse than "info"."""
        return self.report.clean

    def matching(self, pattern: str) -> CheckpointReport:
        """The same of those tensors whose names the regular expression is found in. Raises re.error.

        >>> both = (TensorLine("conv.w", "int8", (2,), 2), TensorLine("fc.w", "int8", (2,), 2))
        >>> CheckpointReport("a.ckpt", "mindspore-ckpt", both, 4).matching("^fc").nbytes
        2
        """
        found = tuple(line for line in self.tensors if re.search(pattern, line.name))
        return replace(self, tensors=found, nbytes=sum(line.nbytes for line in found if not line.tied_to))

    @property
    def title(self) -> str:
        """The first line: path, format, how many tensors and bytes."""
        plural = "" if len(self.tensors) == 1 else "s"
        return f"{printable(self.path)}: {self.format}, {len(self.tensors):,} tensor{plural}, {self.nbytes:,} bytes"

    def text(self, limit: int | None = None) -> str:
        """The table, with at most ``limit`` tensors; how many were left out is said.

        >>> CheckpointReport("a", "safetensors", (), 0).text()
        'a: safetensors, 0 tensors, 0 bytes'
        """
        lines = [self.title]
        shown = self.tensors[:limit]
        rows = [
            (printable(t.name), t.kind, f"{t.nbytes:,}" if not t.tied_to else f"tied to {printable(t.tied_to)}") for t in shown
        ]
        lines += aligned(rows)
        if len(shown) < len(self.tensors):
            lines.append(f"  ... and {len(self.tensors) - len(shown):,} more")
        for title, entries in (("metadata", self.metadata), ("other content", self.other)):
            if entries:
                lines += [f"{title}:", *aligned([(printable(key), _cut(value)) for key, value in entries.items()])]
        return "\n".join([*lines, *([str(self.report)] if len(self.report) else [])])

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``.

        >>> CheckpointReport("a", "safetensors", (), 0).to_dict()["ok"]
        True
        """
        return {
            "path": self.path,
            "format": self.format,
            "ok": self.ok,
            "nbytes": self.nbytes,
            "tensors": [{**asdict(line), "shape": list(line.shape)} for line in self.tensors],
            "metadata": {
                str(key): value if isinstance(value, (int, str)) else _cut(value) for key, value in self.metadata.items()
            },
            "other": dict(self.other),
            "findings": self.report.to_dict()["findings"],
        }


def inspect(path: str | os.PathLike[str]) -> CheckpointReport:
    """What is in a checkpoint of any format; tensors are not read, nothing in it is executed.

    A file that carries a checksum (MindSpore's ``crc_num``) is read once to verify it. Raises ``CheckpointError``.

    >>> import json, tempfile
    >>> header = json.dumps({"w": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(len(header).to_bytes(8, "little") + header + b"ab"); file.flush()
    ...     inspect(file.name).tensors
    (TensorLine(name='w', dtype='int8', shape=(2,), nbytes=2, tied_to=''),)
    """
    return describe(open_checkpoint(path))


def describe(checkpoint: Checkpoint) -> CheckpointReport:
    """The same of a checkpoint that is open already.

    >>> from pathlib import Path
    >>> describe(Checkpoint(Path("a"), "torch-zip", {}, tree={"epoch": 3})).other
    {'epoch': '3'}
    """
    tensors = tuple(TensorLine(t.name, t.dtype, t.shape, t.nbytes, t.tied_to) for t in checkpoint.tensors.values())
    other = dict(_other(checkpoint.tree))
    return CheckpointReport(
        str(checkpoint.path), checkpoint.format, tensors, checkpoint.nbytes, checkpoint.metadata, other, checkpoint.report
    )


def _other(tree: Any) -> Iterator[tuple[str, str]]:
    """The top level without its tensors; containers by what they hold."""
    if isinstance(tree, Stored) or tree is None:
        return
    if not isinstance(tree, (Mapping, list, tuple)):
        yield "(all of it)", _summary(tree)
        return
    left_out = 0
    for number, (key, value) in enumerate(_children(tree)):
        if number >= _MOST_OTHER:
            left_out += not isinstance(value, Stored)
        elif not isinstance(value, Stored):
            yield str(key), _summary(value)
    if left_out:
        yield "...", f"and {left_out:,} more"


def _children(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, Mapping) else enumerate(container)


def _summary(value: Any) -> str:
    if not isinstance(value, (Mapping, list, tuple)):
        return _cut(value)
    tensors = values = 0
    seen = {id(value)}  # a pickle's containers may hold themselves
    waiting = [value]
    while waiting:
        for _, child in _children(waiting.pop()):
            if isinstance(child, Stored):
                tensors += 1
            elif not isinstance(child, (Mapping, list, tuple)):
                values += 1
            elif id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
    short = _cut(value) if not tensors and values <= 4 and len(seen) == 1 else ""
    return short or f"{type(value).__name__} of {len(value):,}: {tensors:,} tensors, {values:,} other values"


def _cut(value: Any) -> str:
    text = printable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


@dataclass(frozen=True, slots=True)
class Difference:
    """How two inspections differ, by names, shapes and dtypes; values are not compared.

    ``only_first``, ``only_second``: names; ``shapes``, ``dtypes``: (name, of the first, of the second).

    >>> print(Difference("a", "b", 7, ("w",), (), (), (("v", "float32", "int8"),)))
    a and b: 7 tensors alike by name, shape and dtype, 2 differ (values were not compared)
      only in a  w
      dtype      v  float32  int8
    """

    first: str
    second: str
    alike: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    dtypes: tuple[tuple[str, str, str], ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.only_first or self.only_second or self.shapes or self.dtypes)

    def text(self, limit: int | None = None) -> str:
        """The differences, at most ``limit`` of them.

        >>> Difference("a", "b", 7, (), (), (), ()).text()
        'a and b: 7 tensors alike by name, shape and dtype, 0 differ (values were not compared)'
        """
        rows = [(f"only in {self.first}", printable(name)) for name in self.only_first]
        rows += [(f"only in {self.second}", printable(name)) for name in self.only_second]
        rows += [("shape", f"{printable(name)}  {list(a)}  {list(b)}") for name, a, b in self.shapes]
        rows += [("dtype", f"{printable(name)}  {a}  {b}") for name, a, b in self.dtypes]
        names = {*self.only_first, *self.only_second, *(row[0] for row in (*self.shapes, *self.dtypes))}
        title = f"{printable(self.first)} and {printable(self.second)}: {self.alike:,} tensors alike by name, shape and dtype"
        lines = [f"{title}, {len(names):,} differ (values were not compared)", *aligned(rows[:limit])]
        shown = len(rows[:limit])
        return "\n".join([*lines, *([f"  ... and {len(rows) - shown:,} more"] if shown < len(rows) else [])])

    _repr_html_ = repr_html

    def __str__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """The differences as plain data, ready for ``json.dumps``.

        >>> Difference("a", "b", 7, (), (), (), ()).to_dict()["equal"]
        True
        """
        return {**asdict(self), "equal": self.equal}


def difference(first: CheckpointReport, second: CheckpointReport) -> Difference:
    """Names only in one, and shapes and dtypes that differ.

    >>> one = CheckpointReport("a", "safetensors", (TensorLine("w", "int8", (2,), 2),), 2)
    >>> difference(one, one).equal
    True
    """
    a = {line.name: line for line in first.tensors}
    b = {line.name: line for line in second.tensors}
    both = [(a[name], b[name]) for name in a if name in b]
    return Difference(
        first.path,
        second.path,
        sum((one.shape, one.dtype) == (two.shape, two.dtype) for one, two in both),
        tuple(name for name in a if name not in b),
        tuple(name for name in b if name not in a),
        tuple((one.name, one.shape, two.shape) for one, two in both if one.shape != two.shape),
        tuple((one.name, one.dtype, two.dtype) for one, two in both if one.dtype != two.dtype),
    )
