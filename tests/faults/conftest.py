"""The fixture of the fault tests: a script in its own process, and nothing may be left when it ends."""

from __future__ import annotations

import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

# what the library says on stderr that a user can act on; everything else there is noise
ACTIONABLE = re.compile(
    r"worker \d+ \(pid \d+\) died \((SIG[A-Z]+|exit code \d+)\) and is replaced"
    r"|\d+ batches are still held and use \d+ MB; further ones are copied out"
)
MARK = "DSB_FAULT_TEST"


def _marked(mark: str) -> list[psutil.Process]:
    """Processes that were started by a script: they inherit its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def check_nothing_left(mark: str, files: set[str], seconds: float = 3) -> None:
    """Fail if a process of the script or a new file in /dev/shm is still there after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        left = _marked(mark)
        new = set(os.listdir("/dev/shm")) - files
        if not left and not new:
            return
        if time.monotonic() > deadline:
            for process in left:
                process.kill()
            pytest.fail(f"left behind after {seconds} s: processes {left}, files {sorted(new)}")
        time.sleep(0.05)


@pytest.fixture
def scene(run_python: Any) -> Any:
    """Run a script that ends in ``print("fine")``: ``scene(code, *args)``; its exit code, output and leftovers are checked.

    ``code`` sees everything in scenes.py. ``exit_code`` and ``stderr`` (a pattern for lines that are expected beside those
    a user can act on) say what is different. Returns the finished process.
    """

    def run(
        code: str, *args: str, timeout_s: float = 120, exit_code: int = 0, stderr: str = "", says: str = "fine"
    ) -> subprocess.CompletedProcess[str]:
        mark, files = uuid.uuid4().hex, set(os.listdir("/dev/shm"))
        env = {"PYTHONPATH": str(Path(__file__).parent), MARK: mark}
        try:
            done = run_python(code, *args, timeout_s=timeout_s, env=env)
        except subprocess.TimeoutExpired as exc:
            for process in _marked(mark):
                process.kill()
            pytest.fail(f"still running after {timeout_s} s; stdout: {exc.stdout!r}; stderr: {exc.stderr!r}")
        try:
            check_nothing_left(mark, files)
        except pytest.fail.Exception as exc:
            pytest.fail(f"{exc}; {done}")
        assert done.returncode == exit_code, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1:] == ([says] if says else []), done.stdout + done.stderr
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        noise = [line for line in lines if not ACTIONABLE.fullmatch(line) and not (stderr and re.search(stderr, line))]
        assert not noise, "\n".join(noise)
        return done

    return run
