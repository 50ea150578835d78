"""An exception between two processes: class, arguments, attributes, the place it came from, its traceback as text."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from dsbridge.errors import SampleError
from dsbridge.sources.locate import locate


class WorkerTraceback(Exception):
    """The cause of an exception that was raised in a worker: its traceback there, as text.

    >>> print(WorkerTraceback("Traceback ..."))
    Traceback ...
    """


def encode_error(exc: BaseException, worker: int) -> bytes:
    """An exception as bytes. What cannot be rebuilt with the same text becomes a ``SampleError``."""
    text = f"in worker {worker}:\n" + "".join(traceback.format_exception(exc))
    cls = type(exc)
    place = getattr(exc, "dsb_index", None), getattr(exc, "dsb_position", None)
    state = {key: value for key, value in exc.__dict__.items() if key not in ("dsb_index", "dsb_position")}
    if "_dsb_original" in cls.__dict__:
        cls = cls._dsb_original  # type: ignore[attr-defined]
    said = cls.__str__(exc)
    for called in (False, True):
        for attributes in (state, {}):
            data = _sendable((called, cls, _arguments(exc), attributes, place, text), said)
            if data:
                return data
    plain = SampleError(f"{type(exc).__qualname__} in a worker: {exc}")
    return pickle.dumps((False, SampleError, plain.args, plain.__dict__, place, text))


def _arguments(exc: BaseException) -> tuple[Any, ...]:
    if isinstance(exc, OSError) and exc.errno is not None:  # keeps its file's name, and what locate adds, elsewhere
        return exc.errno, exc.strerror, *(() if exc.filename is None else (exc.filename,))
    return exc.args


def _sendable(value: Any, said: str) -> bytes:
    try:
        data = pickle.dumps(value)
        rebuilt = _rebuilt(*pickle.loads(data)[:4])
        return data if type(rebuilt).__str__(rebuilt) == said else b""
    except Exception:  # whatever a user's class does
        return b""


def _rebuilt(called: bool, cls: Any, args: Any, state: dict[str, Any]) -> BaseException:
    """``called``: by its constructor, for classes of C that keep their data elsewhere; never for those of users, whose
    constructors may want other arguments than they pass on."""
    exc: BaseException = cls(*args) if called else cls.__new__(cls, *args)
    if not isinstance(exc, OSError):
        exc.args = args
    exc.__dict__.update(state)
    return exc


def decode_error(data: bytes) -> BaseException:
    """The exception again, with its place in attributes and message and the worker's traceback as its cause."""
    called, cls, args, state, place, text = pickle.loads(data)
    exc = _rebuilt(called, cls, args, state)
    nowhere = place[0] is None or "[dataset index" in str(exc)  # worker_init_fn has no sample
    located = exc if nowhere else locate(exc, *place)
    located.dsb_index, located.dsb_position = place  # type: ignore[attr-defined]
    located.__cause__ = WorkerTraceback(text)
    return located
