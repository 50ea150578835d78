"""Recycled, page-aligned memory for batches built in this process.

Writing a fresh 38 MB batch costs many times the copy itself, all of it page faults
(benchmarks/overhead.py); memory that was written a moment ago costs the copy alone. So a buffer whose batch
is gone is used again, the hottest first. A batch that somebody still holds is never written to.
"""

from __future__ import annotations

import logging
import math
import mmap
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np

logger = logging.getLogger("dsbridge")

# Below this malloc recycles by itself: glibc maps and unmaps what is larger (its M_MMAP_THRESHOLD grows no further), and
# up to there torch's own stack into malloc's memory is the faster way. benchmarks/overhead.py --sweep shows both.
RECYCLE_BYTES = 32 << 20

_KEEP = 4  # free buffers kept per pool: the batch in use, the one being built, and two for a user who holds some


class BufferPool:
    """Hands out writable numpy arrays over recycled memory.

    Each array is a lease: its memory returns to the pool when the last array, tensor or view over it
    is gone, in any order and on any thread. ``max_bytes`` bounds what leased and free buffers may take
    together; beyond it arrays come from ordinary memory, which is counted in ``spilled`` and logged once.

    >>> pool = BufferPool(); pool.min_bytes = 0
    >>> a = pool.empty((2, 3), np.dtype("float32")); a.shape, a.ctypes.data % 64
    ((2, 3), 0)
    >>> pool.leased; del a; pool.leased
    1
    0
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.min_bytes = RECYCLE_BYTES
        self._leased = 0
        self.allocated = 0
        self.spilled = 0
        self._spilled_before = 0
        self._bytes = 0
        self._free: list[mmap.mmap] = []
        self._returned: deque[mmap.mmap] = deque()  # appended to by finalizers, on whatever thread
        self._lock = threading.Lock()

    @property
    def leased(self) -> int:
        """How many arrays handed out are still alive, themselves or through a view."""
        with self._lock:
            self._collect()
            return self._leased

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """A writable, C-contiguous array of undefined content; from ``min_bytes`` on recycled and page-aligned."""
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes == 0 or nbytes < self.min_bytes:
            return np.empty(shape, dtype)
        with self._lock:
            memory = self._take(nbytes)
            if memory is None:
                self.spilled += 1
                if self.spilled == 1:
                    logger.warning(
                        "max_memory=%d is used up by %d batches that are still held; further batches use ordinary memory",
                        self.max_bytes,
                        self._leased,
                    )
                return np.empty(shape, dtype)
            self._leased += 1
        # The lease is this very array: numpy makes it the base of every view, and torch and mindspore
        # tensors over a view hold the view. A fresh one per lease, so that its death means the end of all.
        lease = np.frombuffer(memory, np.uint8, nbytes)
        weakref.finalize(lease, self._returned.append, memory).atexit = False
        return lease.view(dtype).reshape(shape)

    def take_spilled(self) -> bool:
        """Whether an array has spilled since this was last asked."""
        spilled, self._spilled_before = self.spilled > self._spilled_before, self.spilled
        return spilled

    def _take(self, nbytes: int) -> mmap.mmap | None:
        self._collect()
        for position in range(len(self._free) - 1, -1, -1):  # the last one returned is the hottest
            if nbytes <= len(self._free[position]) <= 2 * nbytes + mmap.PAGESIZE:
                return self._free.pop(position)
        size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        while self._free and self.max_bytes is not None and self._bytes + size > self.max_bytes:
            self._drop(self._free.pop(0))
        if self.max_bytes is not None and self._bytes + size > self.max_bytes:
            return None
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        self._bytes += size
        self.allocated += 1
        return memory

    def _collect(self) -> None:
        """Take back what finalizers have returned; unmap what is more than worth keeping."""
        while self._returned:
            self._free.append(self._returned.popleft())
            self._leased -= 1
        while len(self._free) > _KEEP:
            self._drop(self._free.pop(0))

    def _drop(self, memory: mmap.mmap) -> None:
        self._bytes -= len(memory)
        # Not memory.close(): the array that is being finalized may still export the buffer.
