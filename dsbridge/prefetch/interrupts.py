"""Ctrl-C in moments in which Python would lose it.

A KeyboardInterrupt that is raised in a weakref's callback, or in one of Python's own hooks for forks, is printed and
forgotten; one that is raised while a worker starts leaves a process that nobody has noted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_LATER_S = 0.02


@contextlib.contextmanager
def interrupts_wait(*, in_callback: bool = False) -> Iterator[None]:
    """Run a block without KeyboardInterrupt; one that came is raised behind it (``in_callback``: shortly afterwards).

    Does nothing on other threads than the main one, or where the handler is not Python's.

    >>> with interrupts_wait():
    ...     pass
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            interrupt_later() if in_callback else signal.raise_signal(signal.SIGINT)


def interrupt_later() -> None:
    """Interrupt the main thread again, when the callback that it is in will be over."""
    timer = threading.Timer(_LATER_S, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
