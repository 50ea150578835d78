"""The trainer's side of the workers: who does what, who died, which slots are whose."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsbridge.errors import WorkerDiedError
from dsbridge.prefetch.channels import BEGIN, RESULT, STOP, TASK, WORK, Pipe, Result, Tokens
from dsbridge.prefetch.segment import Segment
from dsbridge.prefetch.worker import NONE, SEQ, SLOT, TAKING, Link, Program, worker_main

logger = logging.getLogger("dsbridge")

MAX_DEATHS = 7  # two in company, five alone: then a task is what kills
_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


@dataclass(slots=True)
class Task:
    """A task under way: its payload, the worker it belongs to (None: anybody's), and how many workers it outlived."""

    number: int
    payload: bytes
    worker: int | None
    describe: Any
    deaths: int = 0


@dataclass(slots=True)
class Member:
    """One worker: its process, its task pipe, the pipe whose end of file tells it that the trainer is gone."""

    process: Any
    tasks: Pipe
    alive: Pipe


@dataclass(slots=True)
class PoolStats:
    """What a pool went through."""

    restarts: int = 0
    spilled: int = 0
    grown: int = 0


@dataclass(slots=True)
class Settings:
    """How a pool behaves; the same words as ``DataLoader``'s arguments."""

    workers: int
    context: Any
    in_flight: int
    shared_tasks: bool = False
    on_worker_death: str = "restart"
    max_restarts: int = 3
    max_bytes: int | None = None
    describe: Callable[[Any], Any] = field(default=lambda payload: payload)


class WorkerPool:
    """Workers that run a ``Program``. Used from one thread at a time; ``close`` from any.

    ``submit`` hands out tasks, ``wait`` returns the result of one of them. A worker that dies is
    replaced, its tasks are done again, and nobody notices but ``stats``.
    """

    def __init__(self, program: Program, settings: Settings) -> None:
        self.settings, self._program = settings, program
        workers = settings.workers
        self.stats = PoolStats()
        self._segment = Segment(workers, settings.in_flight + 2 * workers + 2)
        self._segment.control[:] = NONE
        self._tokens, self._results = Tokens(), Pipe()
        self._shared = Pipe() if settings.shared_tasks else None
        self._under_way: dict[int, Task] = {}
        self._done: dict[int, Result] = {}
        self._leased = 0
        self._returned: deque[int] = deque()
        self._high_water: dict[int, int] = {}
        self._slots = 0
        self._next = 0
        self._early_deaths = 0
        self._behind = [-1] * workers  # the last task each worker has done
        self._epoch: tuple[int, bytes] | None = None  # the first number of the epoch, and what began it
        self._poller = select.poll()
        self._poller.register(self._results.reader, select.POLLIN)
        self._members: list[Member] = []
        _POOLS.add(self)
        self._finalizer = weakref.finalize(self, _shut_down, self._members, self._segment, self._tokens, os.getpid())
        for _ in range(workers + 2):  # one each to write, one to read, one between: few and hot
            self._add_slot()
        for worker in range(workers):
            self._members.append(self._start(worker))

    # ---- processes

    def _start(self, worker: int) -> Member:
        tasks, alive = self._shared or Pipe(), Pipe()
        fork = self.settings.context.get_start_method() == "fork"
        others = self._trainers_ends() if fork else ()
        link = Link(worker, self._segment, tasks, self._tokens, self._results, alive, os.getpid(), others, self._behind[worker])
        process = self.settings.context.Process(target=worker_main, args=(self._program, link), daemon=True)
        process.start()
        self._poller.register(process.sentinel, select.POLLIN)
        return Member(process, tasks, alive)

    @staticmethod
    def _trainers_ends() -> tuple[int, ...]:
        """Ends of all pools' pipes that keep other workers from seeing that the trainer is gone."""
        members = [member for pool in _POOLS if not pool.closed for member in pool._members]
        return tuple(member.alive.writer for member in members if member.alive.is_open)

    def _bury(self, worker: int) -> None:
        """A worker is dead: see what it was doing, start another, hand over its tasks."""
        member = self._members[worker]
        self._poller.unregister(member.process.sentinel)
        member.process.join()
        self._collect()  # what it managed to say
        control = self._segment.control[worker]
        code, number, slot = member.process.exitcode, int(control[SEQ]), int(control[SLOT])
        task = self._under_way.get(number)
        if slot == TAKING:
            self._add_slot()  # a token may be lost with it; one slot too many does no harm
        elif slot >= 0 and number != self._behind[worker]:  # else its result has the slot
            self._tokens.give(slot)
        control[SEQ] = control[SLOT] = NONE
        self._judge(worker, member.process.pid, code, task)
        logger.warning("worker %d (pid %d) died (%s) and is replaced", worker, member.process.pid, _exit_text(code))
        self.stats.restarts += 1
        if self._shared is None:
            member.tasks.close()
        member.alive.close()
        replacement = self._start(worker)
        self._members[worker] = replacement
        if self._epoch is not None and self._behind[worker] < self._epoch[0]:
            self._send(replacement.tasks, self._next, BEGIN, self._epoch[1])
            self._next += 1
        for lost in sorted(self._lost(worker), key=lambda t: t.number):
            self._send(replacement.tasks, lost.number, WORK, lost.payload)

    def _judge(self, worker: int, pid: int, code: int | None, task: Task | None) -> None:
        """Raise if there is no point in going on."""
        cause = -code if code is not None and code < 0 else None
        indices = [] if task is None else self.settings.describe(task.describe)
        if task is None:
            self._early_deaths += 1
        else:
            self._early_deaths, task.deaths = 0, task.deaths + 1
        given_up = self._early_deaths > self.settings.max_restarts or (task is not None and task.deaths >= MAX_DEATHS)
        if self.settings.on_worker_death == "raise" or given_up:
            self.close()
            raise WorkerDiedError(pid, cause, indices)

    def _lost(self, worker: int) -> list[Task]:
        """Tasks nobody is going to do any more."""
        if self._shared is None:
            return [t for t in self._under_way.values() if t.worker == worker and t.number not in self._done]
        self._shared.drain(TASK.size)
        claimed = set(self._segment.control[:, SEQ].tolist())
        # One that was just read but not yet noted is sent twice; the second result is dropped.
        return [t for t in self._under_way.values() if t.number not in claimed and t.number not in self._done]

    # ---- tasks

    def submit(self, payload: bytes, worker: int | None, describe: Any) -> int:
        """Hand out a task, to one worker or (with shared tasks) to whoever is free; returns its number."""
        number = self._next
        self._next += 1
        self._under_way[number] = Task(number, payload, worker, describe)
        self._send(self._members[worker or 0].tasks, number, WORK, payload)
        return number

    def begin(self, payload: bytes) -> None:
        """Tell every worker that an epoch begins; all earlier tasks must have been waited for."""
        self._epoch = self._next, payload
        for member in self._members:
            self._send(member.tasks, self._next, BEGIN, payload)
            self._next += 1

    def _send(self, pipe: Pipe, number: int, kind: int, payload: bytes) -> None:
        self._segment.write_task(number, payload)
        pipe.write(TASK.pack(number, kind, len(payload)))

    def wait(self, numbers: Any, timeout_s: float | None = None) -> Result | None:
        """The first of these results to arrive, in the order given; None after ``timeout_s`` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            self._collect()
            for number in numbers:
                if number in self._done:
                    del self._under_way[number]
                    return self._done.pop(number)
            if deadline is not None and time.monotonic() >= deadline:
                return None
            self._keep_slots_moving()
            left = -1 if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            self._poll(left)

    def _poll(self, milliseconds: float) -> None:
        ready = {descriptor for descriptor, _ in self._poller.poll(milliseconds)}
        for worker, member in enumerate(self._members):
            if member.process.sentinel in ready:
                self._bury(worker)

    def _collect(self) -> None:
        """Take in all results there are."""
        reader = self._results.reader
        while select.select([reader], [], [], 0)[0]:
            result = Result(*RESULT.unpack(self._results.read(RESULT.size)))
            task = self._under_way.get(result.number)
            self._behind[result.worker] = result.number
            if task is None or result.number in self._done:
                self.release(result)  # a task that was done twice
            else:
                self._early_deaths = 0
                self._done[result.number] = result

    # ---- slots

    def _add_slot(self) -> bool:
        if self._slots == self._segment.max_slots:
            return False
        self._tokens.give(self._slots)
        self._slots += 1
        return True

    def _keep_slots_moving(self) -> None:
        """If every slot holds a batch that nobody may overwrite, workers would wait for ever: add one."""
        taken = self.leased + sum(result.slot >= 0 for result in self._done.values())
        if taken >= self._slots:
            self.stats.grown += 1
            if not self._add_slot():
                raise MemoryError(f"all {self._slots} slots hold batches that are waiting to be delivered")

    @property
    def leased(self) -> int:
        """Slots that hold batches somebody still has."""
        while self._returned:
            self._returned.popleft()
            self._leased -= 1
        return self._leased

    def recipe(self, result: Result) -> bytes:
        """The recipe of a result, copied."""
        if result.slot < 0:
            return b""
        at = self._segment.slot_at(result.slot) + result.recipe_at
        return self._segment.view(at, result.used - result.recipe_at).tobytes()

    def lease(self, result: Result) -> np.ndarray[Any, Any]:
        """The bytes of a result. The slot is free again when this array and all views of it are gone.

        Where memory is used up the bytes are copied out instead, and the slot is free at once.
        """
        size = result.recipe_at
        if size == 0 or not self._may_lease(result):
            private = np.array(self._segment.view(self._segment.slot_at(result.slot), max(size, 1)))[:size]
            self.release(result)
            return private
        self._leased += 1
        array = self._segment.view(self._segment.slot_at(result.slot), size)
        weakref.finalize(array, _give_back, self._tokens, self._returned, result.slot).atexit = False
        return array

    def release(self, result: Result) -> None:
        """Nobody wants what is in this slot."""
        if result.slot >= 0:
            self._tokens.give(result.slot)

    def _may_lease(self, result: Result) -> bool:
        self._high_water[result.slot] = max(self._high_water.get(result.slot, 0), result.used)
        if self.leased + 1 < self._slots:
            return True
        held = sum(self._high_water.values())
        full = self._slots == self._segment.max_slots
        over = self.settings.max_bytes is not None and held + result.used > self.settings.max_bytes
        if not full and not over:
            self.stats.grown += 1
            return self._add_slot()
        self.stats.spilled += 1
        if self.stats.spilled == 1:
            logger.warning("%d batches are still held and use %d MB; further ones are copied out", self.leased, held >> 20)
        return False

    # ---- the end

    @property
    def outstanding(self) -> list[int]:
        """Numbers of the tasks under way, oldest first."""
        return sorted(self._under_way)

    @property
    def closed(self) -> bool:
        """Whether the workers are gone."""
        return not self._finalizer.alive

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [member.process.pid for member in self._members]

    def close(self) -> None:
        """Stop the workers. Batches that are still held stay valid."""
        self._finalizer()


def _give_back(tokens: Tokens, returned: deque[int], slot: int) -> None:
    returned.append(slot)
    tokens.give(slot)


def _shut_down(members: list[Member], segment: Segment, tokens: Tokens, owner: int) -> None:
    """Ask, then kill: a worker in the middle of a sample has no way to stop early."""
    if os.getpid() != owner:
        return
    for member in members:
        tokens.give(NONE)
        with contextlib.suppress(OSError):
            member.tasks.write(TASK.pack(0, STOP, 0))
    deadline = time.monotonic() + 0.1
    for member in members:
        member.process.join(max(0.0, deadline - time.monotonic()))
        if member.process.is_alive():
            member.process.kill()
            member.process.join()
        member.process.close()
        member.tasks.close()
        member.alive.close()
    segment.close()


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
