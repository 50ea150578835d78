"""``dsb.migrate.capture``: runs an unmodified torch script in a process of its own and records how it trains."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dsbridge.errors import MigrationError
from dsbridge.frameworks.detect import require_torch
from dsbridge.migrate.processes import environment
from dsbridge.migrate.recording import Recording
from dsbridge.migrate.setup import TrainingSetup, from_recording

RUN = Path(__file__).parent / "child" / "run_script.py"
ENDS_S = 3.0  # what is left of a script that is stopped may take so long to end


def capture(
    script: str | os.PathLike[str], args: Sequence[str] = (), steps: int = 24, *, timeout_s: float = 600.0, quiet: bool = True
) -> TrainingSetup:
    """Run ``python script *args`` unmodified until its optimizer has stepped ``steps`` times, and record how it trains.

    It runs in a process of its own, in the current folder; what ``torch.save`` gets stays in memory. If schedules are seen to
    step by epochs only, it goes on to the end of an epoch, for half a minute at most. ``quiet``: its output is kept for errors
    only. What is recorded: batches, losses, rates, weights before and after; live objects travel by value.

    Raises ``MigrationError`` if the script fails before its first step, or takes longer than ``timeout_s``.
    """
    require_torch("capturing a script")
    path = Path(script).resolve()
    if not path.is_file():
        raise MigrationError(f"{script} is no file", hint="give a script, or a package's __main__.py")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    recording, (ended, why) = _run(path, [str(one) for one in args], steps, timeout_s, quiet)
    if not recording.steps:
        raise MigrationError(
            f"{path.name} {'failed: ' + why if why else 'ended'} before an optimizer stepped",
            hint="run it by itself first; its arguments come after --",
        )
    if ended == "failed":
        recording.findings.append(("script-failed", (str(path), 1), f"after {len(recording.steps)} steps it failed: {why}"))
    elif len(recording.steps) < steps:
        text = f"the script ended after {len(recording.steps)} of {steps} steps"
        recording.findings.append(("fewer-steps", (str(path), 1), text))
    return from_recording(recording, path, [str(one) for one in args])


def _run(path: Path, args: list[str], steps: int, timeout_s: float, quiet: bool) -> tuple[Recording, tuple[str, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="dsbridge-capture-") as folder,
        tempfile.TemporaryDirectory(prefix="pymp-") as sockets,
    ):
        result, log = Path(folder) / "recording.pkl", Path(folder) / "log.txt"
        command = [sys.executable, str(RUN), str(steps), str(result), sockets, str(path), *args]
        with log.open("wb") as output:
            child = subprocess.Popen(
                command, env=environment(), start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=output if quiet else sys.stderr.fileno(), stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise MigrationError(
                    f"{path.name} took longer than {timeout_s:.0f} s for {steps} steps", hint="timeout_s=, or fewer steps"
                ) from None
            finally:
                _end(child)
        if not result.exists():
            said = log.read_text(errors="replace").strip().splitlines()[-12:]
            raise MigrationError(f"{path.name} ended with exit code {child.returncode}:\n" + "\n".join(said))
        with result.open("rb") as file:
            found: tuple[Recording, tuple[str, str]] = pickle.load(file)
            return found


def _end(child: subprocess.Popen[bytes]) -> None:
    """The script's whole session ends with it: its workers, too.

    They are asked first, which multiprocessing's resource tracker ignores: it unlinks their semaphores once all have ended.
    """
    deadline = time.monotonic() + ENDS_S
    with contextlib.suppress(ProcessLookupError):  # none is left
        os.killpg(child.pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            child.poll()
            os.killpg(child.pid, 0)
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
