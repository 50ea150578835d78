"""Say in an exception which sample it came from, without changing what it is."""

from __future__ import annotations

import contextlib
from typing import Any

from dsbridge.errors import SampleError


def locate(exc: BaseException, index: Any, position: int | None = None) -> BaseException:
    """Set ``exc.dsb_index`` and ``exc.dsb_position`` and put both into its message; returns ``exc``.

    Type, traceback, attributes and cause stay. The innermost place wins: an exception that has one keeps it.
    How the message is extended depends on where the exception keeps it: its one argument, ``strerror`` of an
    OSError, or (for classes that build their text themselves) a subclass of the same name.

    >>> str(locate(ValueError("bad pixel"), 7, 0))
    'bad pixel [dataset index 7, position 0]'
    """
    if hasattr(exc, "dsb_index"):
        return exc
    place = f"[dataset index {index!r}" + ("]" if position is None else f", position {position}]")
    if not (isinstance(exc, SampleError) and exc.index is not None):  # its message names the sample already
        _extend(exc, place)
        if isinstance(exc, SampleError):
            exc.index = index
    with contextlib.suppress(AttributeError):  # a class with __slots__
        exc.dsb_index, exc.dsb_position = index, position  # type: ignore[attr-defined]
    return exc


def _extend(exc: BaseException, place: str) -> None:
    if len(exc.args) <= 1:
        before = exc.args
        text = str(exc)
        exc.args = (_Text(f"{text} {place}".strip()),)
        if place in str(exc):
            return
        exc.args = before
    if isinstance(exc, OSError) and isinstance(exc.strerror, str):
        exc.strerror = f"{exc.strerror} {place}"
        return
    cls = type(exc)
    try:
        exc.__class__ = type(
            cls.__name__,
            (cls,),
            {
                "__slots__": (),
                "_dsb_original": cls,
                "__str__": lambda self: f"{cls.__str__(self)} {place}",
                "__reduce__": lambda self: cls.__reduce__(self),
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
            },
        )
    except TypeError:  # a C class: its layout is fixed
        if hasattr(exc, "add_note"):
            exc.add_note(place)


class _Text(str):
    """Text whose repr is itself: KeyError shows the repr of its argument."""

    def __repr__(self) -> str:
        return str(self)


class located:  # noqa: N801 - reads as a verb: with located(index):
    """Locate whatever the block raises; a StopIteration becomes a ``SampleError``.

    torch ends the epoch silently when ``__getitem__`` raises StopIteration; here it is an error.

    >>> with located(3):
    ...     raise StopIteration
    Traceback (most recent call last):
    ...
    dsbridge.errors.SampleError: sample 3: StopIteration raised while loading a sample. Hint: ...
    """

    __slots__ = ("index", "position")

    def __init__(self, index: Any, position: int | None = None) -> None:
        self.index, self.position = index, position

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: Any) -> None:
        if isinstance(exc, StopIteration):
            error = SampleError(
                "StopIteration raised while loading a sample",
                index=self.index,
                hint="it would end the epoch early; raise IndexError, or use an IterableDataset",
            )
            raise locate(error, self.index, self.position) from exc
        if isinstance(exc, Exception):
            locate(exc, self.index, self.position)
