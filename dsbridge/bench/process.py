"""The parent's end of a contender's process: start it, ask it, and be rid of it and everything it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dsbridge.bench import memory
from dsbridge.errors import DsbridgeError, UsageError

_TAIL_LINES = 6


class ContenderFailedError(DsbridgeError):
    """A contender raised, died or took too long; the message ends in the tail of its stderr.

    >>> str(ContenderFailedError("took more than 60 s"))
    'took more than 60 s'
    """


class ContenderProcess:
    """A subprocess that runs one contender after the other, in a session of its own so that nothing of it can outlive it.

    >>> with ContenderProcess() as process:
    ...     process.ask({"do": "stats"}, limit_s=60)
    {'stats': None}
    """

    def __init__(self) -> None:
        package = Path(__file__).resolve().parent.parent.parent  # so that the child imports this very dsbridge
        path = os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dsbridge.bench.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
            env={"GLOG_v": "3", **os.environ, "PYTHONPATH": path},
            bufsize=0,
        )
        self._rest = b""

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its session."""
        return self._process.pid

    def __repr__(self) -> str:
        return f"ContenderProcess(pid={self.pid})"

    def ask(self, request: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises ``ContenderFailedError`` if there is none within ``limit_s``, if the process dies, or if it answers with an
        error; ``UsageError`` if it says that the user named something that does not exist.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # dead already: said below
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._line(limit_s))
        if "error" in answer:
            raise UsageError(answer["error"]) if answer["usage"] else ContenderFailedError(answer["error"])
        return answer

    def _line(self, limit_s: float) -> bytes:
        assert self._process.stdout is not None
        descriptor, deadline = self._process.stdout.fileno(), time.monotonic() + limit_s
        while b"\n" not in self._rest:
            # Workers it has forked may hold the pipe open, so its death is asked for, not read from the pipe.
            dead = self._process.poll() is not None
            if select.select([descriptor], [], [], 0 if dead else 0.05)[0]:
                chunk = os.read(descriptor, 1 << 16)
                self._rest += chunk
                if chunk:
                    continue
            if dead or self._process.poll() is not None:
                raise ContenderFailedError(f"its process ended with exit code {self._process.returncode}{self._tail()}")
            if time.monotonic() > deadline:
                raise ContenderFailedError(f"took more than {limit_s:g} s{self._tail()}")
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _tail(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        return "; the end of its stderr:\n  " + "\n  ".join(lines) if lines else ""

    def hang_up(self) -> None:
        """Tell it to end, without waiting: it closes its loader, which takes shared memory off the system."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        """End the process and everything in its session, and wait for it."""
        for _ in range(100):  # a process may fork while the list is made
            members = [pid for pid in memory.session_members(self.pid) if pid != self.pid]
            if self._process.poll() is None:
                members.append(self.pid)
            if not members:
                break
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._stderr):
            if file is not None:
                file.close()

    def close(self, grace_s: float = 3.0) -> None:
        """Hang up, wait a little, then kill what is left."""
        try:
            self.hang_up()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        finally:
            self.kill()

    def __enter__(self) -> ContenderProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close() if exc is None else self.kill()
