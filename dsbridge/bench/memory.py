"""What a process tree uses, read from /proc. A contender leads a session of its own, so its tree is that session."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: str) -> list[str]:
    """Fields of /proc/<pid>/stat from the state (field 3) on; the name before it may hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def session_members(session: int) -> list[int]:
    """The processes of a session, orphans included.

    >>> os.getpid() in session_members(os.getsid(0))
    True
    """
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _session(name) == session]


def _session(pid: str) -> int | None:
    try:
        fields = _stat(pid)
    except OSError:  # it has ended
        return None
    return None if fields[0] == "Z" else int(fields[3])  # a zombie holds nothing and cannot be killed


def cpu_s(session: int) -> float:
    """CPU seconds of a session: what its processes used, and what children used that they have waited for.

    >>> cpu_s(os.getsid(0)) >= 0
    True
    """
    return sum(map(_ticks, session_members(session))) / _TICKS


def _ticks(pid: int) -> int:
    try:
        return sum(int(ticks) for ticks in _stat(str(pid))[11:15])
    except OSError:  # it has ended; its parent counts it
        return 0


def pss_bytes(session: int) -> int:
    """Memory of a session: the proportional set sizes of its processes; shared pages count once among them.

    Pages of files (the libraries) are left out: their share depends on who else has mapped them, and all contenders have.

    >>> pss_bytes(os.getsid(0)) >= 0
    True
    """
    return 1024 * sum(map(_pss_kib, session_members(session)))


def _pss_kib(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    except OSError:
        return 0


@contextlib.contextmanager
def stopped(session: int) -> Iterator[None]:
    """Stop all other processes of a session while a block runs: one that maps pages meanwhile would be counted twice.

    >>> with stopped(os.getsid(0) + 1):
    ...     pass
    """
    members = [pid for pid in session_members(session) if pid != os.getpid()]
    _send(members, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(members, signal.SIGCONT)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class PeakMemory:
    """Samples ``pss_bytes`` of another session in a thread between enter and exit; ``bytes`` is the largest seen.

    The session stands still meanwhile: never sample during a timed epoch.

    >>> import subprocess
    >>> child = subprocess.Popen(["sleep", "9"], start_new_session=True)
    >>> with PeakMemory(child.pid) as peak:
    ...     pass
    >>> child.kill(); _ = child.wait(); peak.bytes > 0
    True
    """

    def __init__(self, session: int, every_s: float = 0.01) -> None:
        self.session, self.every_s, self.bytes = session, every_s, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while True:
            with stopped(self.session):
                self.bytes = max(self.bytes, pss_bytes(self.session))
            if self._stop.wait(self.every_s):
                return

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
