"""One anonymous shared memory file for a whole pool, mapped once.

The file is sparse and huge: every region has more address space than it will ever need, and only pages that were written
take memory. So a slot grows by being written to, and one descriptor and one mapping serve however many batches are kept. It
has no name: nothing is left of it when the last process that maps it is gone, killed or not.

    control   one block of 16 int64 per worker: what it is doing, readable after its death
    journal   per worker: what its successor needs to go on (the generators' states)
    tasks     a ring of task payloads
    slots     the batches
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from typing import Any

import numpy as np

CONTROL_WORDS = 16
JOURNAL_STRIDE = 1 << 20
TASK_STRIDE = 1 << 30
SLOT_STRIDE = 4 << 30
MAX_SLOTS = 256


class Segment:
    """The memory of a pool of ``workers`` with up to ``tasks`` tasks under way.

    Made in the trainer, mapped by workers. ``max_slots`` slots of 4 GiB of address space each.

    >>> segment = Segment(workers=2, tasks=4)
    >>> segment.slot(3)[:4] = 7
    >>> segment.slot(3)[:5].tolist()
    [7, 7, 7, 7, 0]
    """

    def __init__(self, workers: int, tasks: int, max_slots: int = MAX_SLOTS) -> None:
        self.workers, self.tasks, self.max_slots = workers, tasks, max_slots
        self.fd = _anonymous_file()
        try:
            os.ftruncate(self.fd, self.size)
            self._map()
        except OSError as exc:
            os.close(self.fd)
            raise MemoryError(
                f"cannot reserve {self.size >> 30} GiB of address space for shared batches: {exc}. "
                "Hint: raise the limits (ulimit -f, ulimit -v), or use num_workers=0"
            ) from exc

    @property
    def size(self) -> int:
        """Bytes of address space; hardly any of it is ever written."""
        return self._slots_at + self.max_slots * SLOT_STRIDE

    @property
    def _journal_at(self) -> int:
        return mmap.PAGESIZE * (1 + self.workers * CONTROL_WORDS * 8 // mmap.PAGESIZE)

    @property
    def _tasks_at(self) -> int:
        return self._journal_at + self.workers * JOURNAL_STRIDE

    @property
    def _slots_at(self) -> int:
        return self._tasks_at + self.tasks * TASK_STRIDE

    def reset(self) -> None:
        """Forget what an earlier pool's workers left: numbers start anew."""
        self.control[:] = -1
        for half in range(2 * self.workers):
            self._put(self._journal_at + half * (JOURNAL_STRIDE // 2), bytes(8))

    def take_slot(self) -> int | None:
        """A slot nobody has, one that was written before if there is one: its pages are there. None if all are taken."""
        if self._free:
            return self._free.pop()
        if self._fresh == self.max_slots:
            return None
        self._fresh += 1
        return self._fresh - 1

    def put_slot(self, slot: int) -> None:
        """Nobody has this slot any more. Called from finalizers, on any thread."""
        self._free.append(slot)

    def _map(self) -> None:
        self._memory = mmap.mmap(self.fd, self.size, flags=mmap.MAP_SHARED)
        self._free: list[int] = []
        self._fresh = 0
        self._closer = weakref.finalize(self, os.close, self.fd)
        self._closer.atexit = False
        words = np.frombuffer(self._memory, np.int64, self.workers * CONTROL_WORDS)
        self.control = words.reshape(self.workers, CONTROL_WORDS)

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import DupFd

        return {"shape": (self.workers, self.tasks, self.max_slots), "fd": DupFd(self.fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.workers, self.tasks, self.max_slots = state["shape"]
        self.fd = state["fd"].detach()
        self._map()

    def view(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """A fresh uint8 array over part of the file: the array itself is what a lease watches."""
        return np.frombuffer(self._memory, np.uint8, nbytes, offset)

    def slot_at(self, slot: int) -> int:
        """Where a slot begins."""
        return self._slots_at + slot * SLOT_STRIDE

    def slot(self, slot: int) -> np.ndarray[Any, Any]:
        """A slot with all its address space."""
        return self.view(self.slot_at(slot), SLOT_STRIDE)

    def write_task(self, number: int, payload: bytes) -> None:
        """Put a task's payload into its place of the ring."""
        self._put(self._tasks_at + number % self.tasks * TASK_STRIDE, payload)

    def read_task(self, number: int, nbytes: int) -> bytes:
        """A task's payload."""
        return self._get(self._tasks_at + number % self.tasks * TASK_STRIDE, nbytes)

    def write_journal(self, worker: int, number: int, record: bytes) -> None:
        """What a successor needs to go on behind task ``number``. The record before it stays: we may die before we say
        that the task is done. The number is written last, so that a torn record is none."""
        at = self._journal_at + worker * JOURNAL_STRIDE
        previous = [int.from_bytes(self._get(at + half, 8), "little") for half in (0, JOURNAL_STRIDE // 2)]
        at += JOURNAL_STRIDE // 2 if previous[0] > previous[1] else 0  # over the older one
        self._put(at, bytes(8))
        self._put(at + 8, len(record).to_bytes(8, "little") + record)
        self._put(at, (number + 1).to_bytes(8, "little"))

    def read_journal(self, worker: int, number: int) -> bytes:
        """The record written behind task ``number``; empty if there is none."""
        for half in (0, JOURNAL_STRIDE // 2):
            at = self._journal_at + worker * JOURNAL_STRIDE + half
            if int.from_bytes(self._get(at, 8), "little") == number + 1:
                return self._get(at + 16, int.from_bytes(self._get(at + 8, 8), "little"))
        return b""

    def _put(self, at: int, data: bytes) -> None:
        self._memory[at : at + len(data)] = data

    def _get(self, at: int, nbytes: int) -> bytes:
        return self._memory[at : at + nbytes]

    def close(self) -> None:
        """Close the descriptor; the mapping stays as long as an array over it."""
        self._closer()


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("dsbridge", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
        return os.dup(file.fileno())
