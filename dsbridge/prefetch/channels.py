"""Pipes with fixed records: no lock that a killed process could hold.

A write of up to PIPE_BUF (4096) bytes is atomic, and so is a read of one record, as all records of a pipe have one size.
Several workers read tasks from one pipe, or slot tokens, without knowing of each other.
"""

from __future__ import annotations

import contextlib
import os
import struct
import weakref
from dataclasses import dataclass
from typing import Any

TASK = struct.Struct("<qqq")  # number, kind, bytes of payload
TOKEN = struct.Struct("<q")
RESULT = struct.Struct("<qqqqqqq")  # number, kind, worker, slot, bytes used, recipe offset, nanoseconds

STOP, WORK, BEGIN = 0, 1, 2  # kinds of task
BATCH, ERROR, END = 0, 1, 2  # kinds of result


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker says about a task: where its slot's ``used`` bytes end and its recipe begins."""

    number: int
    kind: int
    worker: int
    slot: int
    used: int
    recipe_at: int
    produce_ns: int


class Pipe:
    """A pipe whose ends are closed when nothing refers to it any more, or by ``close``.

    >>> pipe = Pipe(); pipe.write(b"12345678"); pipe.read(8)
    b'12345678'
    """

    def __init__(self, ends: tuple[int, int] | None = None) -> None:
        self.reader, self.writer = ends or os.pipe()
        self._owner = os.getpid()
        self._closer = weakref.finalize(self, _close, self.reader, self.writer)
        self._closer.atexit = False

    def __getstate__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return DupFd(self.reader), DupFd(self.writer)

    def __setstate__(self, state: Any) -> None:
        Pipe.__init__(self, (state[0].detach(), state[1].detach()))

    @property
    def is_open(self) -> bool:
        """Whether ``close`` was not called yet."""
        return self._closer.alive

    def read(self, size: int) -> bytes:
        """One record; blocks; empty at the end of file."""
        return os.read(self.reader, size)

    def write(self, record: bytes) -> None:
        """Write one record, whole or not at all."""
        os.write(self.writer, record)

    def drain(self, size: int) -> None:
        """Take out all records, without waiting, though others may be reading too.

        Through a second opening of the pipe: whether reads wait is a property of the opening, which workers share.
        """
        descriptor = os.open(f"/proc/self/fd/{self.reader}", os.O_RDONLY | os.O_NONBLOCK)
        try:
            with contextlib.suppress(BlockingIOError):
                while os.read(descriptor, size):
                    pass
        finally:
            os.close(descriptor)

    def close_writer(self) -> None:
        """Close the writing end only: readers see the end of file when nobody else has it."""
        self._closer.detach()
        os.close(self.writer)
        self._closer = weakref.finalize(self, _close, self.reader)
        self._closer.atexit = False

    def close(self) -> None:
        """Close both ends."""
        self._closer()


class Tokens(Pipe):
    """Free slots. Finalizers of batches give theirs back from any thread, but never from a forked child.

    >>> tokens = Tokens(); tokens.give(3); tokens.take()
    3
    """

    def give(self, slot: int) -> None:
        """A slot is free."""
        if self.is_mine:
            with contextlib.suppress(OSError):
                os.write(self.writer, TOKEN.pack(slot))

    @property
    def is_mine(self) -> bool:
        """Whether this process made the pipe and has not closed it; a forked child inherits what others made."""
        return os.getpid() == self._owner and self.is_open

    def take(self) -> int:
        """Wait for a free slot; -1 means that there will be none."""
        record = os.read(self.reader, TOKEN.size)
        return int(TOKEN.unpack(record)[0]) if record else -1


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
