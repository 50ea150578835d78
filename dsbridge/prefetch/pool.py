"""The trainer's side of the workers: who does what, who died, which slots are whose."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dsbridge.errors import WorkerDiedError, WorkerTimeoutError
from dsbridge.prefetch.channels import BEGIN, RESULT, STOP, TASK, WORK, Pipe, Result
from dsbridge.prefetch.segment import Segment
from dsbridge.prefetch.slots import Slots
from dsbridge.prefetch.worker import NONE, SEQ, SLOT, STARTED, TAKING, Link, worker_main

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
    timeouts: int = 0


@dataclass(slots=True)
class Member:
    """One worker: its process, its task pipe, the pipe whose end of file tells it that the trainer is gone."""

    process: Any
    tasks: Pipe
    alive: Pipe
    stack: Pipe


@dataclass(slots=True)
class PoolStats:
    """What a pool went through."""

    restarts: int = 0


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
    batch_timeout_s: float | None = None
    describe: Callable[[Any], Any] = field(default=lambda payload: payload)


class WorkerPool:
    """Workers that run a ``Program`` (or what unpickles as one). Used from one thread at a time; ``close`` from any.

    ``submit`` hands out tasks, ``wait`` returns the result of one of them. A worker that dies is
    replaced, its tasks are done again, and nobody notices but ``stats``. ``spare`` holds segments of the same shape
    that closed pools have left, whose pages need not be faulted in again; this one's is added to it at the end.
    """

    def __init__(self, program: Any, settings: Settings, spare: list[Segment] | None = None) -> None:
        self.settings, self._program = settings, program
        workers = settings.workers
        self.stats = PoolStats()
        spare = [] if spare is None else spare
        self.segment = spare.pop() if spare else Segment(workers, settings.in_flight + 2 * workers + 2)
        self.segment.reset()
        # one slot each to write, one to read, one between: few enough to stay in the cache
        self.slots = Slots(self.segment, workers + 2, settings.max_bytes)
        self._results = Pipe()
        self._shared = Pipe() if settings.shared_tasks else None
        self._under_way: dict[int, Task] = {}
        self._done: dict[int, Result] = {}
        self._next = 0
        self._early_deaths = 0
        self._behind = [-1] * workers  # the last task each worker has done
        self._epoch: tuple[int, bytes] | None = None  # the first number of the epoch, and what began it
        self._poller = select.poll()
        self._poller.register(self._results.reader, select.POLLIN)
        self._members: list[Member] = []
        _POOLS.add(self)
        self._finalizer = weakref.finalize(self, _shut_down, self._members, self.slots, self.segment, spare, os.getpid())
        for worker in range(workers):
            self._members.append(self._start(worker))

    # ---- processes

    def _start(self, worker: int) -> Member:
        tasks, alive, stack = self._shared or Pipe(), Pipe(), Pipe()
        fork = self.settings.context.get_start_method() == "fork"
        others = self._trainers_ends() if fork else ()
        pipes = (tasks, self.slots.tokens, self._results, alive, stack)
        link = Link(worker, self.segment, *pipes, others, self._behind[worker])
        process = self.settings.context.Process(target=worker_main, args=(self._program, link), daemon=True)
        process.start()
        self._poller.register(process.sentinel, select.POLLIN)
        return Member(process, tasks, alive, stack)

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
        control = self.segment.control[worker]
        code, number, slot = member.process.exitcode, int(control[SEQ]), int(control[SLOT])
        task = self._under_way.get(number)
        if slot == TAKING:
            self.slots.add()  # a token may be lost with it; one slot too many does no harm
        elif slot >= 0 and number != self._behind[worker]:  # else its result has the slot
            self.slots.tokens.give(slot)
        control[SEQ] = control[SLOT] = NONE
        self._judge(worker, member.process.pid, code, task)
        logger.warning("worker %d (pid %d) died (%s) and is replaced", worker, member.process.pid, _exit_text(code))
        self.stats.restarts += 1
        if self._shared is None:
            member.tasks.close()
        member.alive.close()
        member.stack.close()
        replacement = self._start(worker)
        self._members[worker] = replacement
        if self._epoch is not None and self._behind[worker] < self._epoch[0]:
            self._send(replacement.tasks, self._next, BEGIN, self._epoch[1])
            self._next += 1
        for lost in sorted(self._lost(worker), key=lambda t: t.number):
            self._send(replacement.tasks, lost.number, WORK, lost.payload)

    def _until_stuck(self, limit_s: float) -> float:
        """Seconds until the first worker will have spent ``limit_s`` on its task; kills those that have."""
        left = limit_s
        for worker, member in enumerate(self._members):
            number, slot, started = (int(self.segment.control[worker, word]) for word in (SEQ, SLOT, STARTED))
            task = self._under_way.get(number)
            if task is None or slot == TAKING or number in self._done:
                continue
            worker_left = limit_s - (time.monotonic_ns() - started) / 1e9
            if worker_left > 0:
                left = min(left, worker_left)
                continue
            stack, pid = _stack_of(member), member.process.pid
            member.process.kill()
            task.timeouts += 1
            if task.timeouts > 1 or self.settings.on_worker_death == "raise":
                self.close()
                raise WorkerTimeoutError(pid, self.settings.describe(task.describe), stack)
            logger.warning(
                "worker %d was stuck for %.1f s and is killed; its batch is tried again:\n%s", worker, limit_s, stack
            )
        return left

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
        claimed = set(self.segment.control[:, SEQ].tolist())
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
        self.segment.write_task(number, payload)
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
            self.slots.keep_moving(self._done.values())
            limits = [] if deadline is None else [deadline - time.monotonic()]
            if self.settings.batch_timeout_s is not None:
                limits.append(self._until_stuck(self.settings.batch_timeout_s))
            self._poll(max(0.0, min(limits)) * 1000 if limits else -1)

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
                self.slots.release(result)  # a task that was done twice
            else:
                self._early_deaths = 0
                self._done[result.number] = result

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


def _shut_down(members: list[Member], slots: Slots, segment: Segment, spare: list[Segment], owner: int) -> None:
    """Ask, then kill: a worker in the middle of a sample has no way to stop early."""
    if os.getpid() != owner:
        return
    for member in members:
        slots.tokens.give(NONE)
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
        member.stack.close()
    slots.close()
    spare.append(segment)


def _stack_of(member: Member) -> str:
    """Where a worker's Python code stands, as faulthandler prints it; says so if it cannot answer."""
    os.kill(member.process.pid, signal.SIGUSR2)
    ready, _, _ = select.select([member.stack.reader], [], [], 1.0)
    if not ready:
        return "(no stack: the process does not react, it may be stopped)"
    time.sleep(0.05)  # it writes line by line
    return member.stack.read(1 << 16).decode(errors="replace")


def _exit_text(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
