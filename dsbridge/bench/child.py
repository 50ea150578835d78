"""A contender's process: opens cases and runs epochs as told on stdin, one JSON object a line; answers on stdout.

    {"do": "open", "case": {...}}          -> {"ok": true, "batch_size": .., "workers": ..} | {"cannot": reason}
    {"do": "epoch"}                        -> {"run": {...}}
    {"do": "second", "repeats": 3}         -> {"seconds": ...}
    {"do": "stats"}                        -> {"stats": {...} | null}
    {"do": "close"}                        -> {"ok": true}

An exception is answered by {"error": text, "usage": is it a UsageError}. What libraries print goes to stderr. The end of
stdin ends the process; when that comes in the middle of something, the process takes its whole group with it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any

from dsbridge.bench import memory
from dsbridge.bench.contenders import CannotRunError, Case, Opened, open_case
from dsbridge.bench.epoch import run_epoch, second_epoch_s
from dsbridge.errors import UsageError


class Actor:
    """Does what the lines ask for; holds at most one open contender.

    >>> Actor().do({"do": "stats"})
    {'stats': None}
    """

    def __init__(self) -> None:
        self.opened: Opened | None = None

    def do(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; never raises an Exception."""
        try:
            answer: dict[str, Any] = getattr(self, f"do_{request['do']}")(request)
            return answer
        except CannotRunError as exc:
            return {"cannot": str(exc)}
        except UsageError as exc:
            return {"error": str(exc), "usage": True}
        except Exception as exc:
            self.opened = None
            place = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{os.path.basename(place.filename)}:{place.lineno}"
            return {"error": f"{type(exc).__name__}: {exc} [{where}]", "usage": False}

    def do_open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let go of what was open, then open a case."""
        self.do_close(request)
        self.opened = open_case(Case(**request["case"]))
        return {"ok": True, "batch_size": self.opened.batch_size, "workers": self.opened.workers}

    def do_epoch(self, request: dict[str, Any]) -> dict[str, Any]:
        """One epoch, measured."""
        opened = self._opened()
        run = run_epoch(opened.start, opened.batch_size, opened.limit, lambda: memory.cpu_s(os.getsid(0)))
        return {"run": run.to_dict()}

    def do_second(self, request: dict[str, Any]) -> dict[str, Any]:
        """How soon the second and later epochs begin."""
        opened = self._opened()
        return {"seconds": second_epoch_s(opened.start, opened.limit, request["repeats"])}

    def do_stats(self, request: dict[str, Any]) -> dict[str, Any]:
        """The loader's own counters, where it has some."""
        return {"stats": None if self.opened is None else self.opened.stats()}

    def do_close(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let go of what is open."""
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()
        return {"ok": True}

    def _opened(self) -> Opened:
        if self.opened is None:
            raise RuntimeError("nothing is open")
        return self.opened


def _read(descriptor: int, lines: queue.SimpleQueue[bytes | None], busy: threading.Event) -> None:
    # os.read, not a file object: a forked worker would inherit the lock of one that a thread is reading.
    rest = b""
    while chunk := os.read(descriptor, 1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            busy.set()
            lines.put(line)
    if busy.is_set():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    lines.put(None)


def main() -> None:
    """Serve until stdin ends; ``ContenderProcess`` starts it."""
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.path.insert(0, os.getcwd())
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_read, args=(requests, lines, busy), daemon=True).start()
    actor = Actor()
    while (line := lines.get()) is not None:
        answer = json.dumps(actor.do(json.loads(line)), default=str)
        busy.clear()  # the parent asks for the next thing only when it has this answer
        os.write(answers, answer.encode() + b"\n")
    actor.do({"do": "close"})


if __name__ == "__main__":
    main()
