"""Who has which slot: a worker that may write to it, a result that waits, or somebody who keeps the batch."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from dsbridge.prefetch.channels import Result, Tokens
from dsbridge.prefetch.segment import Segment

logger = logging.getLogger("dsbridge")


class Slots:
    """The slots of one pool. Free ones are tokens in a pipe, from which workers help themselves.

    Used from the trainer's thread, but leases end on any. Out of slots it takes another of the segment while
    ``max_bytes`` allows, then batches are copied out: nothing that somebody holds is ever written to, and no worker
    waits for ever.
    """

    def __init__(self, segment: Segment, count: int, max_bytes: int | None) -> None:
        self._segment, self._max_bytes = segment, max_bytes
        self.tokens = Tokens()
        self.grown = self.spilled = 0
        self._mine: set[int] = set()
        self._leased: set[int] = set()
        self._returned: deque[int] = deque()
        self._high_water: dict[int, int] = {}
        self._aside: dict[Result, np.ndarray[Any, Any]] = {}  # results that were copied out while they waited
        self._closed = False
        self._lock = threading.RLock()  # reentrant: a finalizer may run in the middle of anything
        for _ in range(count):
            self.add()

    def add(self) -> bool:
        """Put one more slot into circulation; False if the segment has no more."""
        slot = self._segment.take_slot()
        if slot is None:
            return False
        self._mine.add(slot)
        self.tokens.give(slot)
        return True

    @property
    def leased(self) -> int:
        """Slots that hold batches somebody still has."""
        while self._returned:
            self._leased.discard(self._returned.popleft())
        return len(self._leased)

    def keep_moving(self, done: Iterable[Result]) -> None:
        """If every slot is leased or holds one of these results, which wait, workers would wait for ever: take another
        slot, or copy the results out."""
        waiting = [result for result in done if result.slot >= 0 and result not in self._aside]
        if self.leased + len(waiting) < len(self._mine) or self._grow(0):
            return
        for result in waiting:  # there is one, as a slot is never leased if it is the last
            self._aside[result] = np.array(self._segment.view(self._segment.slot_at(result.slot), result.used))
            self.tokens.give(result.slot)

    def recipe(self, result: Result) -> bytes:
        """The recipe of a result, copied."""
        if result.slot < 0:
            return b""
        if result in self._aside:
            return self._aside[result][result.recipe_at :].tobytes()
        at = self._segment.slot_at(result.slot) + result.recipe_at
        return self._segment.view(at, result.used - result.recipe_at).tobytes()

    def lease(self, result: Result) -> np.ndarray[Any, Any]:
        """The bytes of a result. The slot is free again when this array and all views of it are gone.

        Where memory is used up the bytes are copied out instead, and the slot is free at once.
        """
        size = result.recipe_at
        aside = self._aside.pop(result, None)
        if aside is not None:
            self._count_spilled()
            return aside[:size]
        if size == 0 or not self._may_lease(result):
            private = np.array(self._segment.view(self._segment.slot_at(result.slot), max(size, 1)))[:size]
            self.release(result)
            return private
        self._leased.add(result.slot)
        array = self._segment.view(self._segment.slot_at(result.slot), size)
        weakref.finalize(array, self._give_back, result.slot).atexit = False
        return array

    def release(self, result: Result) -> None:
        """Nobody wants what is in this slot."""
        if self._aside.pop(result, None) is None and result.slot >= 0:
            self.tokens.give(result.slot)

    def _may_lease(self, result: Result) -> bool:
        self._high_water[result.slot] = max(self._high_water.get(result.slot, 0), result.used)
        if self.leased + 1 < len(self._mine):
            return True
        if self._grow(result.used):
            return True
        self._count_spilled()
        return False

    def _grow(self, nbytes: int) -> bool:
        """Take another slot, if there is one and so many more bytes are within ``max_bytes``."""
        if self._max_bytes is not None and sum(self._high_water.values()) + nbytes > self._max_bytes:
            return False
        if not self.add():
            return False
        self.grown += 1
        return True

    def _count_spilled(self) -> None:
        self.spilled += 1
        if self.spilled == 1:
            held = sum(self._high_water.values()) >> 20
            logger.warning("%d batches are still held and use %d MB; further ones are copied out", self.leased, held)

    def _give_back(self, slot: int) -> None:
        if not self.tokens.is_mine:  # a forked child inherits batches and their finalizers
            return
        with self._lock:
            if self._closed:
                self._segment.put_slot(slot)
            else:
                self._returned.append(slot)
                self.tokens.give(slot)

    def close(self) -> None:
        """No worker writes any more: slots go back to the segment, those of kept batches when these are gone."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            _ = self.leased
            for slot in sorted(self._mine - self._leased, reverse=True):
                self._segment.put_slot(slot)
