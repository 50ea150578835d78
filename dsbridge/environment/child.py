"""Questions put to a fresh Python process: what may crash, hang or poison an import must not do so here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MARK = "dsbridge-answer:"  # MindSpore prints to stdout when it likes
_TAIL = 300  # characters of what a dead child wrote


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child answered; ``error`` is empty if it did, otherwise how it ended and the last of what it wrote."""

    data: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    stderr: str = ""


def ask(code: str, *, timeout_s: float = 120.0, env: Mapping[str, str | None] | None = None) -> Answer:
    """Run ``code``, which calls ``answer(**data)``; never raises for what happens there.

    The child's environment is this process's with ``env`` on top, in which None takes a variable away. A child that takes
    longer is killed, with its children.

    >>> ask("answer(two=1 + 1)").data
    {'two': 2}
    >>> ask("import os; os.abort()").error
    'ended by SIGABRT'
    """
    prelude = f"import json\ndef answer(**data): print({_MARK!r} + json.dumps(data), flush=True)\n"
    child = subprocess.Popen(
        [sys.executable, "-c", prelude + code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None},
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _kill(child)
        return Answer(error=f"no answer within {timeout_s:.0f} s")
    except BaseException:  # Ctrl-C: its session is not ours
        _kill(child)
        raise
    data: dict[str, Any] = {}
    for line in out.splitlines():
        if line.startswith(_MARK):
            data |= json.loads(line[len(_MARK) :])
    if child.returncode == 0 and data:
        return Answer(data, stderr=err)
    if child.returncode < 0:
        ended = f"ended by {signal.Signals(-child.returncode).name}"
    else:
        ended = f"ended with exit code {child.returncode}"
    last = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "")
    return Answer(data, f"{ended}: {last[-_TAIL:]}" if last else ended, err)


def _kill(child: subprocess.Popen[str]) -> None:
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
