"""One anonymous shared memory file for a whole pool, mapped once.

The file is sparse and huge: every region has more address space than it will ever need, and only pages that were written
take memory. So a slot grows by being written to, and one mapping serves however many batches are kept. It
has no name: nothing is left of it when the last process that maps it is gone, killed or not.

    control   one block of 16 int64 per worker: what it is doing, readable after its death
    pages     one int64 per slot: how many of its bytes have memory behind them
    places    one per task under way: its payload, and what a successor of its worker needs to go on behind it
    slots     the batches
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from typing import Any

import numpy as np

CONTROL_WORDS = 16
JOURNAL_BYTES = 1 << 15
PAYLOAD_BYTES = 64 << 20
SLOT_BYTES = 4 << 30
MAX_SLOTS = 256

_JOURNAL_HEAD = 16  # the task's number + 1, and the record's length
_PLACE_BYTES = JOURNAL_BYTES + PAYLOAD_BYTES
_POPULATE_READ, _POPULATE_WRITE = 22, 23  # Linux 5.14; Python's mmap has no names for them
_REMOVE = 9  # MADV_REMOVE: as if it had never been written


class Segment:
    """The memory of a pool of ``workers`` with up to ``places`` tasks under way.

    Made in the trainer, mapped by workers. ``max_slots`` slots of 4 GiB of address space each. It has one descriptor, and
    the mapping another one, whatever is kept.

    >>> segment = Segment(workers=2, places=4)
    >>> segment.slot(3)[:4] = 7
    >>> segment.slot(3)[:5].tolist()
    [7, 7, 7, 7, 0]
    """

    def __init__(self, workers: int, places: int, max_slots: int = MAX_SLOTS) -> None:
        self.workers, self.places, self.max_slots = workers, places, max_slots
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
        return self._slots_at + self.max_slots * SLOT_BYTES

    @property
    def _places_at(self) -> int:
        words = self.workers * CONTROL_WORDS + self.max_slots
        return -(-words * 8 // mmap.PAGESIZE) * mmap.PAGESIZE

    @property
    def _slots_at(self) -> int:
        return self._places_at + self.places * _PLACE_BYTES

    def reset(self) -> None:
        """Forget what an earlier pool's workers left: numbers start anew."""
        self.control[:] = -1
        for place in range(self.places):
            self._put(self._places_at + place * _PLACE_BYTES, bytes(8))

    @property
    def slots_used(self) -> int:
        """How many slots were ever taken: memory was allocated for no more than these."""
        return self._fresh

    def take_slot(self) -> int | None:
        """A slot nobody has, the one that was put back last if there is one: its pages are there. None if all are taken."""
        with self._lock:
            if self._free:
                return self._free.pop()
            if self._fresh == self.max_slots:
                return None
            self._fresh += 1
            return self._fresh - 1

    def put_slot(self, slot: int) -> None:
        """Nobody has this slot any more. Called from finalizers, on any thread.

        Memory stays behind the slots put back last, as many as an iteration begins with; of others it is given up.
        """
        with self._lock:
            self._free.append(slot)
            for cold in self._free[: -self.workers - 1]:
                if self.pages[cold]:
                    self.pages[cold] = 0
                    self._memory.madvise(_REMOVE, self.slot_at(cold), SLOT_BYTES)

    def _map(self) -> None:
        self._memory = mmap.mmap(self.fd, self.size, flags=mmap.MAP_SHARED)
        self._free: list[int] = []
        self._fresh = 0
        self._lock = threading.RLock()  # reentrant: a finalizer may run in the middle of anything
        self._closer = weakref.finalize(self, os.close, self.fd)
        self._closer.atexit = False
        words = np.frombuffer(self._memory, np.int64, self.workers * CONTROL_WORDS + self.max_slots)
        self.control = words[: self.workers * CONTROL_WORDS].reshape(self.workers, CONTROL_WORDS)
        self.pages = words[self.workers * CONTROL_WORDS :]

    def __getstate__(self) -> dict[str, Any]:
        from multiprocessing.reduction import DupFd

        return {"shape": (self.workers, self.places, self.max_slots), "fd": DupFd(self.fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.workers, self.places, self.max_slots = state["shape"]
        self.fd = state["fd"].detach()
        self._map()

    def view(self, offset: int, nbytes: int) -> np.ndarray[Any, Any]:
        """A fresh uint8 array over part of the file: the array itself is what a lease watches."""
        return np.frombuffer(self._memory, np.uint8, nbytes, offset)

    def slot_at(self, slot: int) -> int:
        """Where a slot begins."""
        return self._slots_at + slot * SLOT_BYTES

    def slot(self, slot: int) -> np.ndarray[Any, Any]:
        """A slot with all its address space."""
        return self.view(self.slot_at(slot), SLOT_BYTES)

    def populate(self, slot: int, start: int, end: int) -> None:
        """Map bytes ``start`` to ``end`` of a slot into this process at once: a page fault each costs several times more.

        Pages that have no memory yet get it here, where running out of it is a MemoryError and not the process's end.
        """
        known = int(self.pages[slot])
        try:
            if start < known:
                self._advise(_POPULATE_READ, slot, start, min(end, known))
            if end > known:
                self._advise(_POPULATE_WRITE, slot, max(start, known), end)
                self.pages[slot] = end
        except OSError as exc:
            if exc.errno == 22:  # an older kernel: pages come one by one
                return
            raise MemoryError(
                f"no memory for a batch of {end >> 20} MiB: {exc}. Hint: make batches smaller, set max_memory=, "
                "use fewer workers, or free memory"
            ) from exc

    def _advise(self, advice: int, slot: int, start: int, end: int) -> None:
        start -= start % mmap.PAGESIZE
        self._memory.madvise(advice, self.slot_at(slot) + start, end - start)

    def write_task(self, place: int, payload: bytes) -> None:
        """Put a task's payload into its place. Raises ValueError beyond 64 MiB."""
        if len(payload) > PAYLOAD_BYTES:
            raise ValueError(f"the indices of a batch take {len(payload) >> 20} MiB, more than {PAYLOAD_BYTES >> 20}")
        self._put(self._payload_at(place), payload)

    def read_task(self, place: int, nbytes: int) -> bytes:
        """A task's payload."""
        return self._get(self._payload_at(place), nbytes)

    def _payload_at(self, place: int) -> int:
        return self._places_at + place * _PLACE_BYTES + JOURNAL_BYTES

    def write_journal(self, place: int, number: int, record: bytes) -> None:
        """What a successor needs to go on behind task ``number``. The number is written last: a torn record is none."""
        if len(record) > JOURNAL_BYTES - _JOURNAL_HEAD:
            raise ValueError(f"a journal record of {len(record)} bytes; at most {JOURNAL_BYTES - _JOURNAL_HEAD} fit")
        at = self._places_at + place * _PLACE_BYTES
        self._put(at, bytes(8))
        self._put(at + 8, len(record).to_bytes(8, "little") + record)
        self._put(at, (number + 1).to_bytes(8, "little"))

    def read_journal(self, place: int, number: int) -> bytes:
        """The record written behind task ``number`` in its place; empty if there is none."""
        at = self._places_at + place * _PLACE_BYTES
        if int.from_bytes(self._get(at, 8), "little") != number + 1:
            return b""
        return self._get(at + _JOURNAL_HEAD, int.from_bytes(self._get(at + 8, 8), "little"))

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
