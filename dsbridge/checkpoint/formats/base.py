"""What a format is: a way to recognise, to read the header, and (some) to write as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dsbridge.checkpoint.stored import Checkpoint


class Reader(Protocol):
    """Reads one format. ``matches`` looks at the first bytes (of a directory: at what is in it), never at the suffix.

    ``read`` executes nothing that the file says; ``trust=True`` lets a pickle build its own classes. Both raise
    ``CheckpointError`` for a file that is damaged, encrypted or one rank's part, naming path, offset or entry.
    """

    name: str

    def matches(self, path: Path, head: bytes) -> bool: ...

    def read(self, path: Path, *, trust: bool = False) -> Checkpoint: ...


class Outline(Protocol):
    """A tensor to be written: what the header needs."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


class Writer(Protocol):
    """Writes one format front to back: ``begin`` once, then each tensor in the order of the outlines, then ``end``.

    The file object is the caller's: it opens, syncs, renames and removes. Raises ``CheckpointError`` for what the format
    cannot hold (name the tensor and its dtype), at ``begin``, before a byte is written.
    """

    def begin(self, file: Any, outlines: Iterable[Outline], metadata: Mapping[str, str]) -> None: ...

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None: ...

    def end(self) -> None: ...
