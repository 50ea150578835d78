"""Iterable datasets as sources: rows in the dataset's own order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from dsbridge.errors import SampleError, SchemaError
from dsbridge.frameworks.rng import RngState
from dsbridge.report import Report
from dsbridge.sources.locate import located
from dsbridge.sources.rows import Described, Row, RowMaker

_END = object()


class Restartable:
    """Iterate something once per epoch; one element may be looked at beforehand, unobservably.

    The element taken by ``peek`` is the first one the next iteration delivers, from the same iterator.
    The global generators are put back after the peek; when the element is delivered and nobody has
    touched them in between, they are moved to where drawing it would have left them.

    >>> data = Restartable([1, 2, 3])
    >>> data.peek(), list(data), list(data)
    (1, [1, 2, 3], [1, 2, 3])
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.one_shot = hasattr(dataset, "__next__") and iter(dataset) is dataset
        self._lock = threading.Lock()
        self._peeked: tuple[Iterator[Any], Any, RngState, RngState] | None = None
        self._begun = False

    def __getstate__(self) -> dict[str, Any]:
        if self._peeked is not None and self.one_shot:
            raise SchemaError("a one-shot iterator cannot be sent to another process", hint="wrap the dataset it came from")
        return {"dataset": self.dataset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["dataset"])  # type: ignore[misc]

    def _fresh(self) -> Iterator[Any]:
        if callable(self.dataset) and not hasattr(self.dataset, "__iter__"):
            return iter(self.dataset())
        return iter(self.dataset)

    def peek(self) -> Any:
        """The first element, or ``StopIteration`` raised as ``LookupError`` if there is none."""
        before = RngState.capture()
        try:
            with located(0):
                iterator = self._fresh()
                first = _next(iterator)
            self._peeked = (iterator, first, before, RngState.capture())
        finally:
            before.restore()
        if first is _END:
            raise LookupError("the iterable is empty")
        return first

    def __iter__(self) -> Iterator[Any]:
        # A generator function: nothing happens at iter(), which MindSpore calls early and for nothing.
        with self._lock:
            peeked, self._peeked = self._peeked, None
            if self.one_shot and self._begun and peeked is None:
                raise SampleError(
                    "a one-shot iterator was used up by the first epoch",
                    got=type(self.dataset).__name__,
                    hint="wrap an object whose __iter__ starts anew, or the generator function itself",
                )
            self._begun = True
        position = 0
        if peeked is None:
            with located(0):
                iterator = self._fresh()
        else:
            iterator, first, before, after = peeked
            if before.is_current():
                after.restore()
            if first is _END:
                return
            yield first
            position = 1
        while True:
            with located(position):
                element = _next(iterator)
            if element is _END:
                return
            yield element
            position += 1


def _next(iterator: Iterator[Any]) -> Any:
    return next(iterator, _END)


class IterableSource(Described):
    """An iterable dataset as rows of owned numpy arrays; see :func:`dsbridge.wrap`.

    Iterating it starts the dataset anew; a one-shot iterator raises ``SampleError`` the second time.

    >>> source = IterableSource(lambda: ({"x": i} for i in range(2)))
    >>> list(source)
    [(array(0),), (array(1),)]
    """

    def __init__(self, dataset: Any, column_names: Any = None, dtypes: Any = "keep", report: Report | None = None) -> None:
        self.dataset = dataset
        self.report = Report("source") if report is None else report
        self._samples = Restartable(dataset)
        self.first_row: Row | None = None
        try:
            first = self._samples.peek()
        except LookupError as exc:
            if hasattr(exc, "dsb_index"):
                raise
            self._describe_empty(column_names)
            return
        self._maker = RowMaker(first, 0, column_names, dtypes, self.report)
        self.first_row = self._maker(first, 0)

    def __iter__(self) -> Iterator[Row]:
        position = -1
        for position, sample in enumerate(self._samples):
            if self._maker is None:
                raise SampleError("an iterable that was empty when it was wrapped now has samples", index=position)
            yield self._maker(sample, position)
        self._check_length(position + 1)

    def _check_length(self, delivered: int) -> None:
        pass


class SizedIterableSource(IterableSource):
    """An iterable dataset that has a ``__len__``, which is held to be true.

    >>> len(SizedIterableSource(range(3)))
    3
    """

    def __len__(self) -> int:
        return len(self.dataset)

    def _check_length(self, delivered: int) -> None:
        if delivered != len(self):
            raise SchemaError(
                f"{type(self.dataset).__name__}.__len__ says {len(self)} samples, but it delivered {delivered}",
                hint="correct __len__ or remove it",
            )
