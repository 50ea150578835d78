"""What a run of a script left behind: events, steps, and live objects as they were before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Where = tuple[str, int]  # file and line
FOLLOWED = ("lr", "momentum", "betas", "weight_decay")  # options of groups that change on the way


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the script did: "epoch", "batch", "end" (of a loader), "backward", "clip_norm", "clip_value", "step",
    "zero", "schedule", "average", "option".

    >>> Event("zero", ("train.py", 3)).kind
    'zero'
    """

    kind: str
    where: Where
    value: Any = None


@dataclass(slots=True)
class Micro:
    """One forward and backward: its inputs (torch tensors), its loss, and torch's generator: when the batch came, and when the
    first module was called."""

    inputs: list[Any]
    loss: float
    states: tuple[Any, Any]


@dataclass(slots=True)
class Step:
    """One step of the optimizer. ``options``: each group's, as they were; ``clips``: (kind, limit, options); ``at_s``: when."""

    micros: list[Micro]
    options: list[dict[str, Any]]
    clips: list[tuple[str, float, dict[str, Any]]]
    at_s: float

    @property
    def loss(self) -> float:
        """The sum of its micro-batches' losses."""
        return sum(micro.loss for micro in self.micros)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame of the user's stands, and what its variables hold: plain ``values`` by the text that reads them, names of
    ``modules``, places of ``functions``. ``first``: where its code begins.

    >>> Frame("/a/train.py", 7, "main", 3).name
    'main'
    """

    file: str
    line: int
    name: str
    first: int
    values: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    functions: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def code(self) -> tuple[str, str, int]:
        """Which code it runs."""
        return self.file, self.name, self.first


@dataclass(frozen=True, slots=True)
class ByHand:
    """The script sets an option of a group itself. ``at``: events before it; ``frames``: innermost first."""

    at: int
    group: int
    key: str
    value: Any
    frames: list[Frame]


@dataclass(slots=True)
class Epoch:
    """A loader was iterated and gave a batch, before this step; ``generators``: their states when it began."""

    loader: int
    step: int
    generators: dict[str, Any]


@dataclass(slots=True)
class Recording:
    """A run. ``start``: the pickled program, modules, optimizer and schedulers before the first step, or why they cannot be
    pickled; ``end``: weights and the optimizer's state after the last; ``loader``: the pickled loader, or why there is none.

    >>> len(Recording().steps)
    0
    """

    events: list[Event] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    findings: list[tuple[str, Where, str]] = field(default_factory=list)
    decided: list[Where] = field(default_factory=list)
    start: bytes | str = b""
    end: Any = None
    loader: bytes | str = "no loader was iterated"
    training_loader: int = 0
    optimizer: int = 0
    made_at: dict[int, Where] = field(default_factory=dict)  # where each optimizer was made
    averages: list[tuple[int, str, Where]] = field(default_factory=list)  # which, of what in the step, where they were made
    wanted_epochs: int = 0
    modules: list[tuple[str, str]] = field(default_factory=list)  # the user's own that were imported: name, folder
    by_hand: list[ByHand] = field(default_factory=list)  # options of groups that the script sets
    step_frames: list[Frame] = field(default_factory=list)  # of the first step, without values
    rates: Any = None  # a ``HandRates``, where what is set by hand is understood
    carried: bool = False  # gradients were not zero when a step began
    threads: int = 0  # torch's, in the script: sums are others in the last bit with another number; 0: as they are


def whole_data(recording: Recording, paths: Sequence[Any]) -> list[Any] | None:
    """The inputs of a script that takes the same tensors in each step, and none out of a loader; None for others.

    ``paths``: where in a batch each input lies, None where it is of no batch. Fewer than three steps say nothing.

    >>> step = Step([Micro([torch.ones(2)], 0.5, (None, None))], [], [], 0.0)
    >>> whole_data(Recording(steps=[step] * 3), [None]), whole_data(Recording(steps=[step] * 3), [(0,)])
    ([tensor([1., 1.])], None)
    """
    micros = [micro.inputs for step in recording.steps for micro in step.micros]
    if len(micros) < 3 or not paths or any(path is not None for path in paths):
        return None
    return list(micros[0]) if all(same_tensors(one, micros[0]) for one in micros) else None


def same_tensors(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    """Whether they are the same, one by one: dtypes, shapes and values.

    >>> same_tensors([torch.tensor([torch.nan])], [torch.tensor([torch.nan])]), same_tensors([torch.ones(1)], [])
    (True, False)
    """
    return len(some) == len(others) and all(map(_same, some, others))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a is b:
        return True
    return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy(), equal_nan=a.dtype.is_floating_point)


def options_of(optimizer: Any) -> list[dict[str, Any]]:
    """The options of each group as they are now, without parameters; a rate that is a tensor as a number.

    >>> options_of(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1))[0]["lr"]
    0.1
    """
    return [{key: _plain(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
