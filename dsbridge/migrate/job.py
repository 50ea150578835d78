"""What a process that runs a written training is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Start:
    """Where a step begins that is taken apart: weights by path, batches, the optimizer's state as ``load_optimizer`` takes it.

    ``later``: names of the state that is asked for after it.

    >>> Start({}, [], {}).optimizer
    {}
    """

    weights: dict[str, Any]
    micros: list[list[Any]]
    optimizer: dict[str, Any]
    later: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Job:
    """A training on recorded batches.

    ``epochs``: the micro-batches of each, as arrays; ``ended``: whether the last one ended; ``per_step``: micro-batches of
    each step; ``starts``: steps to take apart; ``halfway``: after which step to save and go on from what was saved (0: none);
    ``between``: whether to watch that nothing changes from one step to the next.

    >>> Job(False, [[1, 2], [3]], False, [1, 1, 1]).after(2)
    [[], [3]]
    """

    graph: bool
    epochs: list[list[Any]]
    ended: bool
    per_step: list[int]
    starts: dict[int, Start] = field(default_factory=dict)
    halfway: int = 0
    between: bool = False

    def after(self, steps: int) -> list[list[Any]]:
        """What is left of the epochs after so many steps; an epoch that has only its end left is empty."""
        skip = sum(self.per_step[:steps])
        left = []
        for epoch in self.epochs:
            if skip <= len(epoch):
                left.append(epoch[skip:])
            skip = max(skip - len(epoch), 0) if skip > len(epoch) else 0
        return left
