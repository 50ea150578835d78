"""Pipes with fixed records: no lock that a killed process could hold.

A write of up to PIPE_BUF (4096) bytes is atomic, and so is a read of one record, as all records of a pipe have one size.
Several workers read tasks from one pipe, or slot tokens, without knowing of each other. Reading ends do not block: who
wants to wait polls, and finds that another reader was faster when there is nothing left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import weakref
from typing import Any, NamedTuple

TASK = struct.Struct("<qqqq")  # number, kind, place and bytes of the payload (BEGIN: epoch and seed)
TOKEN = struct.Struct("<q")
RESULT = struct.Struct("<qqqqqqqq")  # the fields of Result

STOP, WORK, BEGIN = 0, 1, 2  # kinds of task
BATCH, ERROR, END, HUNGRY = 0, 1, 2, 3  # kinds of result; HUNGRY: a worker waits for a slot


class Result(NamedTuple):
    """What a worker says about a task: where its slot's ``used`` bytes end and its recipe begins; times are monotonic."""

    number: int
    kind: int
    worker: int
    slot: int
    used: int
    recipe_at: int
    started_ns: int
    finished_ns: int


class Pipe:
    """A pipe whose ends are closed when nothing refers to it any more, or by ``close``.

    >>> pipe = Pipe(); pipe.write(b"12345678"); pipe.read(8)
    b'12345678'
    """

    def __init__(self, ends: tuple[int, int] | None = None) -> None:
        if ends is None:
            ends = os.pipe()
            os.set_blocking(ends[0], False)
        self.reader, self.writer = ends
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

    def read(self, size: int) -> bytes | None:
        """Up to ``size`` bytes, whole records; None if there is nothing now; empty at the end of file."""
        try:
            return os.read(self.reader, size)
        except BlockingIOError:
            return None

    def write(self, record: bytes) -> None:
        """Write one record, whole or not at all."""
        os.write(self.writer, record)

    def drain(self, size: int) -> None:
        """Take out all records, though others may be reading too."""
        while self.read(size):
            pass

    def close_writer(self) -> None:
        """Close the writing end only: readers see the end of file when nobody else has it."""
        if self._closer.detach() is not None:
            os.close(self.writer)
            self._closer = weakref.finalize(self, _close, self.reader)
            self._closer.atexit = False

    def close(self) -> None:
        """Close both ends."""
        self._closer()


class Tokens(Pipe):
    """Free slots, the one given last in front: its memory is there, and in the cache.

    Finalizers of batches give theirs back from any thread, but never from a forked child.

    >>> tokens = Tokens(); tokens.give(3); tokens.give(4); tokens.take(), tokens.take(), tokens.take()
    (4, 3, None)
    """

    def give(self, slot: int) -> None:
        """A slot is free; -1 tells one worker that there will be none."""
        if self.is_mine:
            with contextlib.suppress(OSError):
                behind = self.read(select.PIPE_BUF - TOKEN.size) if self.queued else None
                os.write(self.writer, TOKEN.pack(slot) + (behind or b""))

    @property
    def queued(self) -> bool:
        """Whether a token waits to be taken."""
        return bool(struct.unpack("i", fcntl.ioctl(self.reader, termios.FIONREAD, bytes(4)))[0])

    @property
    def is_mine(self) -> bool:
        """Whether this process made the pipe and has not closed it; a forked child inherits what others made."""
        return self.is_open and os.getpid() == self._owner

    def take(self) -> int | None:
        """A free slot, None if there is none now, -1 if there will be none."""
        record = self.read(TOKEN.size)
        if record is None:
            return None
        return int(TOKEN.unpack(record)[0]) if record else -1


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
