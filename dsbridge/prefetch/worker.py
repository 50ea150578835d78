"""What runs in a worker process: take a task, produce into a slot, say so."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dsbridge.prefetch.channels import BATCH, BEGIN, END, RESULT, STOP, TASK, Pipe, Tokens
from dsbridge.prefetch.segment import SLOT_STRIDE, Segment

ALIGN = 64
SEQ, SLOT, TASKS_DONE, STARTED = 0, 1, 2, 3  # words of a control block
NONE, TAKING = -1, -2


class Program(Protocol):
    """What the pool runs, knowing nothing about it. Called in the worker, except where it says otherwise."""

    def setup(self, worker: int, journal: bytes) -> None:
        """Once, before the first task. ``journal`` is what a predecessor left, empty if there was none."""

    def begin(self, payload: bytes) -> None:
        """A new epoch begins for a worker that lives on."""

    def produce(self, payload: bytes, writer: SlotWriter) -> tuple[int, bytes]:
        """Do a task: write arrays through ``writer``, return (kind of result, recipe)."""

    def journal(self) -> bytes:
        """What a successor needs to do the next task as this worker would, asked after each; empty for nothing."""


class SlotWriter:
    """Memory for one result, in a slot that is taken when the first byte is asked for.

    ``reserve`` gives 64-byte aligned arrays one behind the other. One instance serves one task.
    """

    def __init__(self, segment: Segment, tokens: Tokens, control: np.ndarray[Any, Any]) -> None:
        self._segment, self._tokens, self._control = segment, tokens, control
        self.slot = NONE
        self.used = 0

    def reserve(self, nbytes: int) -> np.ndarray[Any, Any]:
        """A writable uint8 array of that many bytes. Raises MemoryError beyond 4 GiB a batch."""
        if self.slot == NONE:
            self._take()
        start = -(-self.used // ALIGN) * ALIGN
        if start + nbytes > SLOT_STRIDE:
            raise MemoryError(f"a batch needs more than {SLOT_STRIDE >> 30} GiB. Hint: make batches smaller")
        self.used = start + nbytes
        return self._segment.view(self._segment.slot_at(self.slot) + start, nbytes)

    def offset_of(self, array: np.ndarray[Any, Any]) -> int:
        """Where in the slot an array lies; -1 if it lies elsewhere."""
        if self.slot == NONE:
            return -1
        base = self._segment.view(self._segment.slot_at(self.slot), 1).ctypes.data
        offset = int(array.ctypes.data) - base
        return offset if 0 <= offset <= self.used - array.nbytes else -1

    def _take(self) -> None:
        self._control[SLOT] = TAKING  # if we die now, the pool cannot know whether a token is lost
        slot = self._tokens.take()
        if slot < 0:
            os._exit(0)
        self._control[SLOT] = slot
        self._control[STARTED] = time.monotonic_ns()  # waiting for a slot is nobody's fault
        self.slot = slot


@dataclass(slots=True)
class Link:
    """A worker's ends of everything; ``others`` are descriptors of the trainer that it must not keep open."""

    worker: int
    segment: Segment
    tasks: Pipe
    tokens: Tokens
    results: Pipe
    alive: Pipe
    stack: Pipe
    others: tuple[int, ...] = ()
    behind: int = -1  # the last task a predecessor has done


def worker_main(program: Program, link: Link) -> None:
    """The life of a worker: until it is told to stop, or the trainer is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    faulthandler.register(signal.SIGUSR2, file=link.stack.writer, all_threads=False, chain=False)
    for descriptor in link.others:
        os.close(descriptor)
    link.alive.close_writer()
    threading.Thread(target=_watch_parent, args=(link.alive.reader, os.getppid()), daemon=True).start()
    control = link.segment.control[link.worker]
    program.setup(link.worker, link.segment.read_journal(link.worker, link.behind) if link.behind >= 0 else b"")
    while True:
        record = link.tasks.read(TASK.size)
        if not record:
            return
        number, kind, size = TASK.unpack(record)
        if kind == STOP:
            return
        payload = link.segment.read_task(number, size)
        if kind == BEGIN:
            program.begin(payload)
            continue
        control[STARTED] = time.monotonic_ns()
        control[SEQ] = number
        _do(program, link, control, number, payload)
        control[SLOT] = NONE  # before SEQ: a slot without a task would be taken for a lost one
        control[SEQ] = NONE
        control[TASKS_DONE] += 1


def _do(program: Program, link: Link, control: np.ndarray[Any, Any], number: int, payload: bytes) -> None:
    start = time.perf_counter_ns()
    writer = SlotWriter(link.segment, link.tokens, control)
    kind, recipe = program.produce(payload, writer)
    if kind != BATCH:
        writer.used = 0  # what an interrupted batch has written is nobody's
    at = 0
    if kind != END:
        area = writer.reserve(len(recipe))
        area[:] = np.frombuffer(recipe, np.uint8)
        at = writer.used - len(recipe)
    journal = program.journal()
    if journal:
        link.segment.write_journal(link.worker, number, journal)
    elapsed = time.perf_counter_ns() - start
    link.results.write(RESULT.pack(number, kind, link.worker, writer.slot, writer.used, at, elapsed))


def _watch_parent(alive: int, parent: int) -> None:
    """End this process when the trainer is gone: end of file, or (if a stranger holds the pipe) another parent."""
    poller = select.poll()
    poller.register(alive, select.POLLIN)
    while not poller.poll(1000) and os.getppid() == parent:
        pass
    os._exit(1)
