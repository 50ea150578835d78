"""Who has which slot: a worker that may write to it, a result that waits, or somebody who keeps the batch."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from dsbridge.prefetch.channels import Result, Tokens
from dsbridge.prefetch.interrupts import interrupt_later
from dsbridge.prefetch.segment import Segment

_BESIDE_BYTES = 1 << 14

logger = logging.getLogger("dsbridge")


class Slots:
    """The slots of one pool. Free ones are tokens in a pipe, from which workers help themselves.

    Few slots are in circulation, so that they stay in the cache: one for each worker to write, and one more. Another is
    added when the trainer waits for long while a worker has no slot to write to; one that comes back while enough circulate is
    put aside, on top of the segment's stack. What somebody keeps is never written to: out of slots it takes more while
    ``max_bytes`` allows (then it starts with one), and copies batches out beyond.

    Used from the trainer's thread, but leases end on any.
    """

    def __init__(self, segment: Segment, workers: int, in_flight: int, max_bytes: int | None) -> None:
        self._segment, self._most, self._max_bytes = segment, in_flight + 1, max_bytes
        self.tokens = Tokens()
        self._owner = os.getpid()
        self.grown = self.spilled = 0
        self._mine: set[int] = set()
        self._leased: set[int] = set()
        self._largest = 0
        self._aside: dict[int, np.ndarray[Any, Any]] = {}  # results that were copied out while they waited
        self._closed = False
        self._lock = threading.RLock()  # reentrant: a finalizer may run in the middle of anything
        self._loose = 0  # slots that are tokens, with workers, or in results that wait
        self._target = workers + 1 if max_bytes is None else 1
        for _ in range(self._target):
            self._add()

    def _add(self) -> bool:
        slot = self._segment.take_slot()
        if slot is None:
            return False
        self._mine.add(slot)
        self._loose += 1
        self.tokens.give(slot)
        return True

    @property
    def leased(self) -> int:
        """How many slots hold batches that somebody still has."""
        return len(self._leased)

    def replace_lost(self) -> None:
        """A worker died in the moment of taking a token: put another slot in the place of the one that may be lost."""
        with self._lock:
            if self._add():
                self._loose -= 1

    def keep_moving(self, done: Iterable[Result], waited_s: float, patience_s: float | None) -> float | None:
        """To be called before the trainer waits, and when it has done so for ``waited_s``. ``done``: results that wait.

        If all slots are kept or hold results that wait, the workers would wait for ever: take another slot, or copy the
        results out. Otherwise ``patience_s`` says when another slot is worth its memory, because a worker has none and could
        have made a batch by then (None: no worker waits); returns how many seconds are left, None if there is no such time.
        """
        with self._lock:
            waiting = [result for result in done if result.slot >= 0 and result.number not in self._aside]
            if self._loose > len(waiting):
                if patience_s is None or self._loose >= self._most or self.tokens.queued:
                    return None
                if waited_s < patience_s:
                    return patience_s - waited_s
                self._grow()
                return None
            for result in waiting:
                self._largest = max(self._largest, result.used)
            if self._grow():
                return None
            for result in waiting:
                self._aside[result.number] = np.array(self._segment.view(self._segment.slot_at(result.slot), result.used))
                self.tokens.give(result.slot)
            return None

    def recipe(self, result: Result) -> bytes:
        """The recipe of a result, copied."""
        if result.slot < 0:
            return b""
        if result.number in self._aside:
            return self._aside[result.number][result.recipe_at :].tobytes()
        at = self._segment.slot_at(result.slot) + result.recipe_at
        return self._segment.view(at, result.used - result.recipe_at).tobytes()

    def lease(self, result: Result) -> np.ndarray[Any, Any]:
        """The bytes of a result. The slot is free again when this array and all views of it are gone.

        Where memory is used up the bytes are copied out instead, and the slot is free at once.
        """
        size, slot = result.recipe_at, result.slot
        with self._lock:
            aside = self._aside.pop(result.number, None)
            if aside is not None:
                self._count_spilled()
                return aside[:size]
            self._largest = max(self._largest, result.used)
            if size == 0 or (self._loose < 2 and not self._grow()):
                if size:
                    self._count_spilled()
                private = np.array(self._segment.view(self._segment.slot_at(slot), max(size, 1)))[:size]
                self.tokens.give(slot)
                return private
            self._leased.add(slot)
            self._loose -= 1
        array = self._segment.view(self._segment.slot_at(slot), size)
        weakref.finalize(array, self._give_back, slot).atexit = False
        return array

    def release(self, result: Result) -> None:
        """Nobody wants what is in this slot."""
        if self._aside.pop(result.number, None) is None and result.slot >= 0:
            self.tokens.give(result.slot)

    def _grow(self) -> bool:
        """Put another slot into circulation, if there is one and ``max_bytes`` allows."""
        slot = self._segment.take_slot()
        if slot is None:
            return False
        self._segment.put_slot(slot)  # it was only looked at
        if self._max_bytes is not None and not self._allows(slot, self._max_bytes):
            return False
        self.grown += 1
        self._add()
        self._target = max(self._target, self._loose)
        return True

    def _allows(self, slot: int, max_bytes: int) -> bool:
        """Whether a slot as large as the largest so far is within ``max_bytes``; what lies beside the arrays is not counted."""
        pages = self._segment.pages
        new = max(0, self._largest - int(pages[slot]))
        beside = _BESIDE_BYTES * (int(np.count_nonzero(pages)) + 1)
        held: int = int(pages.sum())
        return self._largest > 0 and held + new <= max_bytes + beside

    def _count_spilled(self) -> None:
        self.spilled += 1
        if self.spilled == 1:
            held = int(self._segment.pages.sum()) >> 20
            logger.warning("%d batches are still held and use %d MB; further ones are copied out", self.leased, held)

    def _give_back(self, slot: int) -> None:
        if os.getpid() != self._owner:  # a forked child inherits batches and their finalizers
            return
        try:
            with self._lock:
                self._leased.discard(slot)
                if self._closed or self._loose >= self._target:
                    self._mine.discard(slot)
                    self._segment.put_slot(slot)
                else:
                    self._loose += 1
                    self.tokens.give(slot)
        except KeyboardInterrupt:
            interrupt_later()

    def close(self) -> None:
        """No worker writes any more: slots go back to the segment, those of kept batches when these are gone."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for slot in sorted(self._mine - self._leased, reverse=True):
                self._segment.put_slot(slot)
            self.tokens.close()
