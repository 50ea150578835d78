"""The trainer's side of the workers: tasks, results, deaths."""

from __future__ import annotations

import logging
import os
import select
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsbridge.errors import WorkerDiedError, WorkerTimeoutError
from dsbridge.prefetch.channels import BEGIN, HUNGRY, RESULT, TASK, WORK, Pipe, Result
from dsbridge.prefetch.interrupts import interrupts_wait
from dsbridge.prefetch.members import Crew, exit_text
from dsbridge.prefetch.segment import Segment
from dsbridge.prefetch.slots import Slots
from dsbridge.prefetch.worker import NONE, READY, SEQ, SLOT, STARTED, TAKING, WAITING

logger = logging.getLogger("dsbridge")

IN_COMPANY, ALONE = 2, 5  # a task that outlived two workers is done alone; when it kills five more, it is what kills
CATCHING_UP = 20
_HICCUP_S, _LONG_S = 0.005, 0.1  # what the scheduler may keep a process waiting; what is too long to have a worker idle
MOST_UNDER_WAY = 512  # what pipes hold for sure, so that nobody blocks on writing


@dataclass(slots=True)
class Task:
    """A task under way: its payload, the worker it belongs to (None: anybody's), and how many workers it outlived."""

    number: int
    place: int
    payload: bytes
    worker: int | None
    about: Any
    deaths: int = 0
    timeouts: int = 0


@dataclass(slots=True)
class Settings:
    """How a pool behaves; the same words as ``DataLoader``'s arguments.

    ``describe`` turns what a task is about into the indices that errors name. ``journals``: what workers of an earlier
    pool left, one for each, to go on from.
    """

    workers: int
    context: Any
    in_flight: int
    shared_tasks: bool = False
    on_worker_death: str = "restart"
    max_restarts: int = 3
    max_bytes: int | None = None
    batch_timeout_s: float | None = None
    describe: Callable[[Any], Any] = field(default=lambda about: about)
    journals: Sequence[bytes] = ()


class Journals:
    """What each worker left behind the last of its tasks that was taken; outlives the pool."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._taken: dict[int, tuple[int, int]] = {}
        self._frozen: list[bytes] | None = None

    def taken(self, worker: int, number: int, place: int) -> int | None:
        """A result was taken: its place is needed from now on, the one before (returned) no longer."""
        before = self._taken.get(worker)
        self._taken[worker] = number, place
        return None if before is None else before[1]

    def read(self) -> list[bytes]:
        """One record a worker; empty for those of which nothing was taken."""
        if self._frozen is not None:
            return self._frozen
        found = [self._taken.get(worker) for worker in range(self._segment.workers)]
        return [b"" if last is None else self._segment.read_journal(last[1], last[0]) for last in found]

    def freeze(self) -> None:
        """Copy them: the segment is going to serve another pool."""
        self._frozen = self.read()


class WorkerPool:
    """Workers that run a ``Program`` (or what unpickles as one). Used from one thread at a time; ``close`` from any.

    ``submit`` hands out tasks, ``wait`` returns the result of one of them. A worker that dies is
    replaced, its tasks are done again, and nobody notices but ``restarts``. ``spare`` holds segments of the same shape
    that closed pools have left, whose pages need not be faulted in again; this one's is added to it at the end.
    """

    def __init__(self, program: Any, settings: Settings, spare: list[Segment] | None = None) -> None:
        self.settings, workers = settings, settings.workers
        self.restarts = 0
        spare = [] if spare is None else spare
        self.segment = spare.pop() if spare else Segment(workers, settings.in_flight + workers)
        self.segment.reset()
        self.journals = Journals(self.segment)
        self.slots = Slots(self.segment, workers, settings.in_flight, settings.max_bytes)
        self._crew = Crew(program, settings.context, self.segment, self.slots, Pipe() if settings.shared_tasks else None)
        self._places = list(range(self.segment.places))
        self._under_way: dict[int, Task] = {}
        self._done: dict[int, Result] = {}
        self._held: dict[int, list[Task]] = {}  # tasks of a worker that does another one alone first
        self._next = 0
        self._early_deaths = 0
        first = list(settings.journals) or [b""] * workers
        self._behind: list[tuple[int, int]] = [(NONE, 0)] * workers  # number and place of the last task each has done
        self._first_journals = first
        self._took_s = [0.0] * workers  # for the last task
        self._epoch: tuple[int, bytes] | None = None  # the first number of the epoch, and what began it
        self._results = self._crew.lines.results
        self._poller = select.poll()
        self._poller.register(self._results.reader, select.POLLIN)
        self._finalizer = weakref.finalize(
            self, _shut_down, self._crew, self.slots, self.segment, self.journals, spare, os.getpid()
        )
        try:
            for worker in range(workers):
                self._poller.register(self._crew.start(worker, first[worker]).watch, select.POLLIN)
        except BaseException:
            self.close()
            raise

    # ---- tasks

    def submit(self, payload: bytes, worker: int | None, about: Any) -> int:
        """Hand out a task, to one worker or (with shared tasks) to whoever is free; returns its number.

        Raises RuntimeError for a closed pool, IndexError beyond ``in_flight`` tasks under way.
        """
        self._check_open()
        number, self._next = self._next, self._next + 1
        task = self._under_way[number] = Task(number, self._places.pop(), payload, worker, about)
        self.segment.write_task(task.place, payload)
        if worker in self._held:
            self._held[worker].append(task)
        else:
            self._send(task)
        return number

    def begin(self, epoch: int, seed: int = 0) -> None:
        """Tell every worker that an epoch begins; all earlier tasks must have been waited for."""
        self._check_open()
        self._epoch = self._next, TASK.pack(NONE, BEGIN, epoch, seed)
        for member in self._crew.members:
            member.tasks.write(self._epoch[1])

    def wait(self, numbers: Sequence[int], timeout_s: float | None = None) -> Result | None:
        """The first of these results to arrive, in the order given; None after ``timeout_s`` seconds.

        Raises RuntimeError for a closed pool, LookupError for a number that is not under way, ``WorkerDiedError`` and
        ``WorkerTimeoutError`` when there is no point in going on.
        """
        start = time.monotonic()
        deadline = None if timeout_s is None else start + timeout_s
        while True:
            self._check_open()
            for number in numbers:
                if number in self._done:
                    return self._take(number)
            if self._collect():
                continue
            if not any(number in self._under_way for number in numbers):
                raise LookupError(f"tasks {list(numbers)} are not under way")
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return None
            left = self.slots.keep_moving(self._done.values(), now - start, self._patience_s())
            limits = [] if left is None else [left]
            if deadline is not None:
                limits.append(deadline - now)
            if self.settings.batch_timeout_s is not None:
                limits.append(self._until_stuck(self.settings.batch_timeout_s))
            self._poll(max(0.0, min(limits)) * 1000 if limits else -1)

    def _patience_s(self) -> float | None:
        """How long a worker without a slot takes for a batch, within limits; None if all workers have what they need."""
        hungry = np.flatnonzero(self.segment.control[:, SLOT] == WAITING)
        if not len(hungry):
            return None
        took_s: float = min(self._took_s[worker] for worker in hungry)
        return min(max(_HICCUP_S, took_s), _LONG_S)

    def _take(self, number: int) -> Result:
        result, task = self._done.pop(number), self._under_way.pop(number)
        unneeded = self.journals.taken(result.worker, number, task.place)
        if unneeded is not None:
            self._places.append(unneeded)
        return result

    def _send(self, task: Task) -> None:
        record = TASK.pack(task.number, WORK, task.place, len(task.payload))
        shared = self._crew.shared
        if task.worker is None and shared is not None:
            shared.write(record)
        else:
            self._crew.members[task.worker or 0].tasks.write(record)

    def _collect(self) -> bool:
        """Take in the results there are; False if there are none."""
        records = self._results.read(RESULT.size * 64)
        for fields in RESULT.iter_unpack(records or b""):
            result = Result._make(fields)
            if result.kind == HUNGRY:
                continue
            task = self._under_way.get(result.number)
            if task is None or result.number in self._done:
                self._behind[result.worker] = result.number, 0
                self.slots.release(result)  # a task that was done twice
                continue
            self._behind[result.worker] = result.number, task.place
            self._early_deaths = 0
            self._took_s[result.worker] = (result.finished_ns - result.started_ns) / 1e9
            self._done[result.number] = result
            if task.deaths >= IN_COMPANY:
                for held in self._held.pop(result.worker, ()):
                    self._send(held)
        return bool(records)

    def _poll(self, milliseconds: float) -> None:
        ready = {descriptor for descriptor, _ in self._poller.poll(milliseconds)}
        self._check_open()
        for worker, member in enumerate(self._crew.members):
            if member.watch in ready:
                self._bury(worker)

    # ---- deaths

    def _bury(self, worker: int) -> None:
        """A worker is dead: see what it was doing, start another, hand over its tasks."""
        member, control = self._crew.members[worker], self.segment.control[worker]
        self._poller.unregister(member.watch)
        code = member.reaped()
        while self._collect():  # what it managed to say
            pass
        pid, number, slot = member.process.pid, int(control[SEQ]), int(control[SLOT])
        early = control[READY] != 1
        has_worked = self._behind[worker][0] >= 0 or bool(self._first_journals[worker])
        task = None if number in self._done else self._under_way.get(number)
        if slot == TAKING:
            self.slots.replace_lost()
        elif slot >= 0 and number != self._behind[worker][0]:  # else its result has the slot
            self.slots.tokens.give(slot)
        control[:] = NONE
        self._judge(pid, code, task, early, has_worked)
        logger.warning("worker %d (pid %d) died (%s) and is replaced", worker, pid, exit_text(code))
        self.restarts += 1
        member.forget()
        number, place = self._behind[worker]
        journal = self.segment.read_journal(place, number) if number >= 0 else self._first_journals[worker]
        alone = task is not None and task.deaths >= IN_COMPANY
        replacement = self._crew.start(worker, journal, alone=alone)
        self._poller.register(replacement.watch, select.POLLIN)
        if self._epoch is not None and number < self._epoch[0]:
            replacement.tasks.write(self._epoch[1])
        self._hand_over(worker, task if alone else None)

    def _judge(self, pid: int, code: int | None, task: Task | None, early: bool, has_worked: bool) -> None:
        """Raise if there is no point in going on: a task kills, or workers do not live to take one."""
        self._early_deaths = self._early_deaths + 1 if early else 0
        if task is not None:
            task.deaths += 1
        # one that catches up with a stream has a long way to go, and may be killed on it more than once by chance
        given_up = self._early_deaths > self.settings.max_restarts + has_worked * CATCHING_UP
        given_up |= task is not None and task.deaths >= IN_COMPANY + ALONE
        if self.settings.on_worker_death == "raise" or given_up:
            indices = [] if task is None else self.settings.describe(task.about)
            self.close()
            raise WorkerDiedError(pid, -code if code is not None and code < 0 else None, indices)

    def _hand_over(self, worker: int, suspect: Task | None) -> None:
        """Send again what a dead worker had and nobody is going to do; ``suspect`` first, and for now alone."""
        self._held.pop(worker, None)
        lost = self._lost(worker)
        if suspect is not None:
            lost.remove(suspect)
            suspect.worker = worker
            self._send(suspect)
            if self._crew.shared is None:
                self._held[worker], lost = lost, []
        for task in lost:
            self._send(task)

    def _lost(self, worker: int) -> list[Task]:
        """Tasks nobody is going to do any more, oldest first."""
        waiting = [task for task in self._under_way.values() if task.number not in self._done]
        if self._crew.shared is None:
            return [task for task in waiting if task.worker == worker]
        self._crew.shared.drain(TASK.size)
        claimed = set(self.segment.control[:, SEQ].tolist())
        # One that was just read but not yet noted is sent twice; the second result is dropped.
        return [t for t in waiting if t.worker == worker or (t.worker is None and t.number not in claimed)]

    def _until_stuck(self, limit_s: float) -> float:
        """Seconds until the first worker will have spent ``limit_s`` on its task; kills those that have."""
        left = limit_s
        for worker, member in enumerate(self._crew.members):
            number, slot, started = (int(self.segment.control[worker, word]) for word in (SEQ, SLOT, STARTED))
            task = self._under_way.get(number)
            if task is None or slot in (TAKING, WAITING) or number in self._done:
                continue
            worker_left = limit_s - (time.monotonic_ns() - started) / 1e9
            if worker_left > 0:
                left = min(left, worker_left)
                continue
            stack, pid = self._crew.stack_of(worker), member.process.pid
            member.process.kill()
            member.process.join()  # or it would be found stuck once more
            task.timeouts += 1
            if task.timeouts > 1 or self.settings.on_worker_death == "raise":
                self.close()
                raise WorkerTimeoutError(pid, self.settings.describe(task.about), stack)
            logger.warning(
                "worker %d was stuck for %.1f s and is killed; its batch is tried again:\n%s", worker, limit_s, stack
            )
        return left

    # ---- the end

    @property
    def outstanding(self) -> list[int]:
        """Numbers of the tasks under way, oldest first."""
        return sorted(self._under_way)

    @property
    def closed(self) -> bool:
        """Whether the workers are gone."""
        return not self._finalizer.alive

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("the loader was closed. Hint: start a new iteration; batches you hold stay valid")

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [member.process.pid for member in self._crew.members]

    def close(self) -> None:
        """Stop the workers. Batches that are still held stay valid."""
        self._finalizer()


def _shut_down(crew: Crew, slots: Slots, segment: Segment, journals: Journals, spare: list[Segment], owner: int) -> None:
    if os.getpid() != owner:
        return
    with interrupts_wait(in_callback=True):
        crew.end()
        slots.close()
        journals.freeze()
        spare.append(segment)
