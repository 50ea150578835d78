"""Containers: which of their children run, and in what order."""

from __future__ import annotations

from collections.abc import Sequence as Indices
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Sequence:
    """All children, in turn.

    >>> list(Sequence().choose(np.random.default_rng(0), 3))
    [0, 1, 2]
    """

    def choose(self, rng: np.random.Generator, count: int) -> Indices[int]:
        return range(count)


@dataclass(frozen=True, slots=True)
class RandomApply:
    """All children with probability ``p``, else none.

    >>> list(RandomApply(p=1.0).choose(np.random.default_rng(0), 2))
    [0, 1]
    """

    p: float = 0.5

    def choose(self, rng: np.random.Generator, count: int) -> Indices[int]:
        return range(count if rng.random() < self.p else 0)


@dataclass(frozen=True, slots=True)
class RandomChoice:
    """One child; ``p`` are the children's weights (None: equal ones).

    >>> list(RandomChoice(p=(0.0, 1.0)).choose(np.random.default_rng(0), 2))
    [1]
    """

    p: tuple[float, ...] | None = None

    def choose(self, rng: np.random.Generator, count: int) -> Indices[int]:
        if self.p is None:
            return (int(rng.integers(count)),)
        weights = np.asarray(self.p, np.float64)
        return (int(rng.choice(count, p=weights / weights.sum())),)


@dataclass(frozen=True, slots=True)
class RandomOrder:
    """All children in a random order.

    >>> sorted(RandomOrder().choose(np.random.default_rng(0), 3))
    [0, 1, 2]
    """

    def choose(self, rng: np.random.Generator, count: int) -> Indices[int]:
        return rng.permutation(count).tolist()  # type: ignore[no-any-return]
