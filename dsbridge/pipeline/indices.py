"""Indices that know their epoch: how a sample's key reaches the workers without a channel of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.loader.keys import Occurrences


class KeyedIndex(int):
    """A dataset index that also says in which epoch it is asked for, and how often it came before."""

    epoch: int
    occurrence: int

    def __new__(cls, index: int, epoch: int, occurrence: int) -> KeyedIndex:
        found = super().__new__(cls, index)
        found.epoch, found.occurrence = epoch, occurrence
        return found

    def __reduce__(self) -> Any:
        return KeyedIndex, (int(self), self.epoch, self.occurrence)


def stamped(indices: Iterable[Any], epoch: int, repeating: bool = True) -> Iterator[Any]:
    """Indices, or lists of them, with the epoch and the occurrence they belong to; ``repeating``: one may come twice.

    >>> [(index.epoch, index.occurrence) for index in stamped([3, 3], 1)]
    [(1, 0), (1, 1)]
    """
    occurrences = Occurrences(repeating)

    def one(index: Any) -> Any:
        if not hasattr(index, "__index__"):
            raise TransformError(f"index {index!r} is no integer, so that it cannot key random numbers")
        return KeyedIndex(int(index), epoch, occurrences.of(index))

    for entry in indices:
        yield [one(index) for index in entry] if isinstance(entry, (list, tuple)) else one(entry)
