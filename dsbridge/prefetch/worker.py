"""What runs in a worker process: take a task, produce into a slot, say so."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import select
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dsbridge.prefetch.channels import BATCH, BEGIN, END, HUNGRY, RESULT, STOP, TASK, Pipe, Tokens
from dsbridge.prefetch.segment import SLOT_BYTES, Segment

ALIGN = 64
SEQ, SLOT, STARTED, READY = 0, 1, 2, 3  # words of a control block
NONE, TAKING, WAITING = -1, -2, -3
_POPULATE_FROM = 1 << 17  # bytes; below it page faults cost less than a system call that spares them


class Program(Protocol):
    """What the pool runs, knowing nothing about it. Called in the worker, except where it says otherwise."""

    def setup(self, worker: int, journal: bytes) -> None:
        """Once, before the first task. ``journal`` is what a predecessor left, empty if there was none."""

    def begin(self, epoch: int, seed: int) -> None:
        """A new epoch begins for a worker that lives on."""

    def produce(self, payload: bytes, writer: SlotWriter) -> tuple[int, bytes]:
        """Do a task: write arrays through ``writer``, return (kind of result, recipe)."""

    def journal(self) -> bytes:
        """What a successor needs to do the next task as this worker would, asked after each; empty for nothing."""


class SlotWriter:
    """Memory for one result, in a slot that is taken when the first byte is asked for.

    ``reserve`` gives 64-byte aligned arrays one behind the other. One instance serves one worker; ``reset`` starts
    a new result.
    """

    def __init__(self, segment: Segment, tokens: Tokens, control: np.ndarray[Any, Any], hungry: Any = lambda: None) -> None:
        self._segment, self._tokens, self._control, self._hungry = segment, tokens, control, hungry
        self._poller = select.poll()
        self._poller.register(tokens.reader, select.POLLIN)
        self._mapped: dict[int, int] = {}  # slot -> bytes that this process has written or populated
        self.slot = NONE
        self.used = 0

    def reset(self) -> None:
        """The next byte is the first of another result."""
        self.slot, self.used = NONE, 0

    def reserve(self, nbytes: int) -> np.ndarray[Any, Any]:
        """A writable uint8 array of that many bytes. Raises MemoryError beyond 4 GiB a batch, or when there is none."""
        if self.slot == NONE:
            self._take()
        start = -(-self.used // ALIGN) * ALIGN
        end = start + nbytes
        if end > SLOT_BYTES:
            raise MemoryError(f"a batch needs more than {SLOT_BYTES >> 30} GiB. Hint: make batches smaller")
        if end > self._mapped.get(self.slot, 0):
            self._map(start, end)
        self.used = end
        return self._segment.view(self._segment.slot_at(self.slot) + start, nbytes)

    def _map(self, start: int, end: int) -> None:
        pages = self._segment.pages
        if end - start >= _POPULATE_FROM:
            self._segment.populate(self.slot, start, end)
        elif end > pages[self.slot]:
            pages[self.slot] = end
        self._mapped[self.slot] = end

    def offset_of(self, array: np.ndarray[Any, Any]) -> int:
        """Where in the slot an array lies; -1 if it lies elsewhere."""
        if self.slot == NONE:
            return -1
        base = self._segment.view(self._segment.slot_at(self.slot), 1).ctypes.data
        offset = int(array.ctypes.data) - base
        return offset if 0 <= offset <= self.used - array.nbytes else -1

    def _take(self) -> None:
        control = self._control
        control[SLOT] = TAKING  # if we die now, the pool cannot know whether a token is lost
        slot = self._tokens.take()
        if slot is None:
            slot = self._wait_for_slot()
        if slot < 0:
            os._exit(0)
        control[SLOT] = slot
        self.slot = slot
        if self._mapped.get(slot, 0) > self._segment.pages[slot]:  # its memory was given up
            del self._mapped[slot]

    def _wait_for_slot(self) -> int:
        control, slot = self._control, None
        while slot is None:
            control[SLOT] = WAITING
            self._hungry()
            self._poller.poll()
            control[SLOT] = TAKING
            slot = self._tokens.take()
        control[STARTED] = time.monotonic_ns()  # waiting for a slot is nobody's fault
        return slot


@dataclass(slots=True)
class Link:
    """A worker's ends of everything.

    ``shared`` is the pipe of tasks that anybody may take, if there is one; ``alone``: not before one task of its own is
    done. ``journal`` is what a predecessor left. ``others`` are pipes of the trainer whose writing ends keep
    other workers from seeing that it is gone. ``trainer`` is its pid.
    """

    worker: int
    segment: Segment
    tasks: Pipe
    shared: Pipe | None
    tokens: Tokens
    results: Pipe
    alive: Pipe
    stack: Pipe
    journal: bytes = b""
    alone: bool = False
    others: tuple[Pipe, ...] = ()
    trainer: int = 0


def worker_main(program: Program, link: Link) -> None:
    """The life of a worker: until it is told to stop, or the trainer is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # a /proc that is hidden or read-only
        Path("/proc/self/comm").write_text(f"dsb:{link.trainer}")  # for ps, top, and whoever looks for workers left behind
    faulthandler.register(signal.SIGUSR2, file=link.stack.writer, all_threads=False, chain=False)
    for pipe in link.others:
        pipe.close_writer()
    link.alive.close_writer()
    threading.Thread(target=_watch_parent, args=(link.alive.reader, os.getppid()), daemon=True).start()
    gc.freeze()  # what the trainer had is not ours to traverse: that would copy its pages
    program.setup(link.worker, link.journal)
    link.segment.control[link.worker, READY] = 1
    _work(program, link)


def _work(program: Program, link: Link) -> None:
    control, segment, number = link.segment.control[link.worker], link.segment, NONE

    def hungry() -> None:
        link.results.write(RESULT.pack(number, HUNGRY, link.worker, NONE, 0, 0, 0, 0))

    inbox = _Inbox(link)
    writer = SlotWriter(segment, link.tokens, control, hungry)
    while True:
        record = inbox.next()
        if not record:
            return
        number, kind, place, size = TASK.unpack(record)
        if kind == STOP:
            return
        if kind == BEGIN:
            program.begin(place, size)
            continue
        control[STARTED] = time.monotonic_ns()
        control[SEQ] = number
        writer.reset()
        _do(program, link, writer, number, place, segment.read_task(place, size))
        control[SLOT] = NONE  # before SEQ: a slot without a task would be taken for a lost one
        control[SEQ] = NONE
        inbox.open()


class _Inbox:
    """Where a worker's tasks come from: its own pipe first, then the shared one unless it is to be left alone."""

    def __init__(self, link: Link) -> None:
        self._own, self._shared = link.tasks, link.shared
        self._alone = link.alone
        self._poller = select.poll()
        self._poller.register(link.tasks.reader, select.POLLIN)
        if link.shared is not None and not link.alone:
            self._poller.register(link.shared.reader, select.POLLIN)

    def open(self) -> None:
        """One task is done: share in what is there for all."""
        if self._alone:
            self._alone = False
            if self._shared is not None:
                self._poller.register(self._shared.reader, select.POLLIN)

    def next(self) -> bytes:
        """Wait for a task; empty when there will be none."""
        while True:
            record = self._own.read(TASK.size)
            if record is None and self._shared is not None and not self._alone:
                record = self._shared.read(TASK.size)
            if record is not None:
                return record
            self._poller.poll()


def _do(program: Program, link: Link, writer: SlotWriter, number: int, place: int, payload: bytes) -> None:
    start = time.monotonic_ns()
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
        link.segment.write_journal(place, number, journal)
    end = time.monotonic_ns()
    link.results.write(RESULT.pack(number, kind, link.worker, writer.slot, writer.used, at, start, end))


def _watch_parent(alive: int, parent: int) -> None:
    """End this process when the trainer is gone: end of file, or (if a stranger holds the pipe) another parent."""
    poller = select.poll()
    poller.register(alive, select.POLLIN)
    while not poller.poll(1000) and os.getppid() == parent:
        pass
    os._exit(1)
