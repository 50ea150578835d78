"""rng="sample": random numbers that depend on the sample, not on who loads it or when."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dsbridge.frameworks.rng import key_of, seed_all


class Occurrences:
    """How often each index came before in one epoch. ``counting=False`` where none comes twice saves the table.

    >>> occurrences = Occurrences(); [occurrences.of(index) for index in (3, 5, 3)]
    [0, 0, 1]
    """

    def __init__(self, counting: bool = True) -> None:
        self._seen: Counter[Any] | None = Counter() if counting else None

    def of(self, index: Any) -> int:
        """How often this index came before; counts this time."""
        if self._seen is None:
            return 0
        key = int(index) if hasattr(index, "__index__") else repr(index)
        self._seen[key] += 1
        return self._seen[key] - 1


class SampleKeys:
    """Seeds the global generators before each sample, each collate and whatever else may draw in one epoch.

    A sample's key is (seed, epoch, index, how often the index came before in this epoch), a collate's
    (seed, epoch, batch position). ``counting=False`` where no index comes twice saves the table.

    >>> import random
    >>> keys = SampleKeys(seed=1, epoch=0)
    >>> keys.before_sample(5); a = random.random(); keys.before_sample(5); a == random.random()
    False
    """

    def __init__(self, seed: int, epoch: int, counting: bool = True) -> None:
        self.seed, self.epoch = seed, epoch
        self._occurrences = Occurrences(counting)

    def occurrence(self, index: Any) -> int:
        """How often this index was asked for before in this epoch; counts this time."""
        return self._occurrences.of(index)

    def before_sample(self, index: Any) -> None:
        """Seed for the sample with this dataset index."""
        seed_all(key_of(self.seed, self.epoch, "sample", _plain(index), self.occurrence(index)))

    def before_indices(self, position: int) -> None:
        """Seed for what a user-made sampler draws for the batch at this position; -1 for the start of its iteration."""
        seed_all(key_of(self.seed, self.epoch, "indices", position))

    def before_stream(self) -> None:
        """Seed for what a stream draws when it is opened."""
        seed_all(key_of(self.seed, self.epoch, "stream"))

    def before_collate(self, position: int) -> None:
        """Seed for the batch at this position of the epoch."""
        seed_all(key_of(self.seed, self.epoch, "batch", position))


def _plain(index: Any) -> Any:
    return int(index) if hasattr(index, "__index__") else index
