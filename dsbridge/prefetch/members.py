"""Worker processes as the trainer holds them: started, watched, asked for their stack, ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import weakref
from dataclasses import dataclass
from typing import Any

from dsbridge.prefetch.channels import STOP, TASK, Pipe
from dsbridge.prefetch.interrupts import interrupts_wait
from dsbridge.prefetch.segment import Segment
from dsbridge.prefetch.slots import Slots
from dsbridge.prefetch.worker import NONE, Link, worker_main

_PATIENCE_S = 0.1  # a worker in the middle of a sample has no way to stop early
_ALIVE: weakref.WeakValueDictionary[int, Pipe] = weakref.WeakValueDictionary()


@dataclass(slots=True)
class Member:
    """One worker: its process, its task pipe, and a descriptor that is readable when it is dead."""

    process: Any
    tasks: Pipe
    watch: int

    def reaped(self) -> int | None:
        """Wait for its end, and return its exit code; None where nobody ever learns it (SIGCHLD ignored)."""
        self.process.join()
        # Whoever starts a process reaps the dead ones of all threads (multiprocessing does), and says so a moment later.
        deadline = time.monotonic() + _PATIENCE_S
        while self.process.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.001)
        code: int | None = self.process.exitcode
        return code

    def forget(self) -> None:
        """Close what belongs to it; it is dead."""
        if self.watch != self.process.sentinel:
            os.close(self.watch)
        if self.reaped() is not None:
            self.process.close()
        self.tasks.close()


@dataclass(slots=True)
class Lines:
    """What all workers of a pool share beside the tasks: results, slots, and two pipes for emergencies."""

    results: Pipe
    alive: Pipe  # the end of file tells workers that the trainer is gone
    stack: Pipe  # where faulthandler writes


class Crew:
    """The workers of one pool, replaced one by one when they die."""

    def __init__(self, program: Any, context: Any, segment: Segment, slots: Slots, shared: Pipe | None) -> None:
        self._program, self._context, self._segment, self._slots = program, context, segment, slots
        self.shared = shared
        self.lines = Lines(Pipe(), Pipe(), Pipe())
        _ALIVE[id(self.lines.alive)] = self.lines.alive
        self.members: list[Member] = []

    def start(self, worker: int, journal: bytes, *, alone: bool = False) -> Member:
        """Start worker ``worker``, in the place of its predecessor if there was one."""
        fork = self._context.get_start_method() == "fork"
        pipes = [ref() for ref in _ALIVE.valuerefs()] if fork else []
        others = tuple(pipe for pipe in pipes if pipe is not None and pipe is not self.lines.alive and pipe.is_open)
        tasks, lines = Pipe(), self.lines
        link = Link(
            worker,
            self._segment,
            tasks,
            self.shared,
            self._slots.tokens,
            lines.results,
            lines.alive,
            lines.stack,
            journal,
            alone,
            others,
            os.getpid(),
        )
        process = self._context.Process(target=worker_main, args=(self._program, link), daemon=True)
        with interrupts_wait():
            process.start()
            member = Member(process, tasks, _watch(process))
            if worker < len(self.members):
                self.members[worker] = member
            else:
                self.members.append(member)
        return member

    def stack_of(self, worker: int) -> str:
        """Where a worker's Python code stands, as faulthandler prints it; says so if it cannot answer."""
        stack = self.lines.stack
        stack.drain(1 << 16)
        os.kill(self.members[worker].process.pid, signal.SIGUSR2)
        ready, _, _ = select.select([stack.reader], [], [], 1.0)
        if not ready:
            return "(no stack: the process does not react, it may be stopped)"
        time.sleep(0.05)  # it writes line by line
        return (stack.read(1 << 16) or b"").decode(errors="replace")

    def end(self) -> None:
        """Ask, then kill."""
        for member in self.members:
            self._slots.tokens.give(NONE)
            with contextlib.suppress(OSError):
                member.tasks.write(TASK.pack(0, STOP, 0, 0))
        deadline = time.monotonic() + _PATIENCE_S
        for member in self.members:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
            member.forget()
        for pipe in (self.lines.results, self.lines.alive, self.lines.stack, self.shared):
            if pipe is not None:
                pipe.close()


def _watch(process: Any) -> int:
    # A sentinel is a pipe, whose other end a process that somebody forks at the same moment keeps open.
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(process.pid)
    return int(process.sentinel)


def exit_text(code: int | None) -> str:
    """How a process ended, in words.

    >>> exit_text(-9), exit_text(3)
    ('SIGKILL', 'exit code 3')
    """
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
