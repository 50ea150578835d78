"""Contenders to test the runner with; imported in contenders' processes, where tests/bench is on the path."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from dsbridge.bench.contenders import CannotRunError, Case, Opened


def fast(case: Case) -> Opened:
    """Gives its batches at once; imports no framework."""
    return Opened(lambda: [[number] for number in range(case.batches or 1)], batch_size=4, workers=0)


def slow(case: Case) -> Opened:
    """A batch every 50 ms."""

    def epoch():
        for number in range(case.batches or 1):
            time.sleep(0.05)
            yield [number]

    return Opened(epoch, batch_size=4)


def crash(case: Case) -> Opened:
    """Its process dies in the first epoch, after saying something."""

    def epoch():
        sys.stderr.write("about to die\n")
        sys.stderr.flush()
        os._exit(7)

    return Opened(epoch)


def hang(case: Case) -> Opened:
    """Never gives a batch, and starts a process that would stay for an hour."""

    def epoch():
        subprocess.Popen(["sleep", "3600"])
        time.sleep(3600)
        yield None

    return Opened(epoch)


def raises(case: Case) -> Opened:
    """Raises in the third batch."""

    def epoch():
        yield from ([1], [2])
        raise KeyError("image")

    return Opened(epoch)


def cannot(case: Case) -> Opened:
    """Cannot run anything."""
    raise CannotRunError("no wheels for this moon")


def noisy(case: Case) -> Opened:
    """Prints to stdout, which must not end up between the answers."""
    print('{"run": "nonsense"}')
    return fast(case)
