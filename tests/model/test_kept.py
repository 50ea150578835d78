"""What a forward keeps between calls is refused by file and line: a recording is one call."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dsbridge.errors import Unsupported
from dsbridge.model.convert import draft

X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Linear(nn.Module):
    """What each of them has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.steps: Any = 0
        self.first = True
        self.seen: list[int] = []
        self.state: Any = None
        self.register_buffer("mean", torch.zeros(4))
        self.mean: Any


class Counts(Linear):
    """A number that the output depends on."""

    def forward(self, x: Any) -> Any:
        self.steps += 1  # here
        return self.linear(x) * self.steps


class OnlyCounts(Linear):
    """A number of nobody's, which a script may read."""

    def forward(self, x: Any) -> Any:
        self.steps += 1  # here
        return self.linear(x)


class Flags(Linear):
    """Something else the first time."""

    def forward(self, x: Any) -> Any:
        y = self.linear(x) if self.first else x
        self.first = False  # here
        return y


class Collects(Linear):
    """A list that grows."""

    def forward(self, x: Any) -> Any:
        self.seen.append(1)  # here
        return self.linear(x) * len(self.seen)


class Remembers(Linear):
    """A tensor of the call before."""

    def forward(self, x: Any) -> Any:
        y = self.linear(x) if self.state is None else self.linear(x) + self.state
        self.state = y.detach()  # here
        return y


class MakesParameter(Linear):
    """At the first call."""

    def forward(self, x: Any) -> Any:
        if not hasattr(self, "weight"):
            self.weight = nn.Parameter(torch.ones(4))
        return self.linear(x) * self.weight


class Adds(Linear):
    """In place."""

    def forward(self, x: Any) -> Any:
        self.mean.add_(1)  # here
        return self.linear(x)


class Averages(Linear):
    """As in moving averages."""

    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)  # here
        return self.linear(x) - self.mean


class AveragesInTraining(Linear):
    """In one mode."""

    def forward(self, x: Any) -> Any:
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)  # here
        return self.linear(x) - self.mean


class Copies(Linear):
    """All of it."""

    def forward(self, x: Any) -> Any:
        self.mean.copy_(x[0].detach())  # here
        return self.linear(x)


class Replaces(Linear):
    """With another tensor."""

    def forward(self, x: Any) -> Any:
        self.mean = self.mean + 1  # here
        return self.linear(x) + self.mean


class Stores(Linear):
    """A part, through a view."""

    def forward(self, x: Any) -> Any:
        self.mean[:2].add_(1)  # here
        return self.linear(x)


class StoresByIndex(Linear):
    """A part."""

    def forward(self, x: Any) -> Any:
        self.mean[0] = 1.0  # here
        return self.linear(x)


class Out(Linear):
    """As the target of a function."""

    def forward(self, x: Any) -> Any:
        torch.add(x[0].detach(), 1, out=self.mean)  # here
        return self.linear(x)


class BehindTheScenes(Linear):
    """Where torch itself does not count."""

    def forward(self, x: Any) -> Any:
        self.mean.data.add_(1)  # here
        return self.linear(x)


class CountsInAList(Linear):
    """Of which the length stays."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = [0]

    def forward(self, x: Any) -> Any:
        self.seen[0] += 1  # here
        return self.linear(x) * self.seen[0]


class CountsInADict(Linear):
    """Two levels down."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, list[int]] = {"calls": [0]}

    def forward(self, x: Any) -> Any:
        self.numbers["calls"][0] += 1  # here
        return self.linear(x) * self.numbers["calls"][0]


class CountsInAnArray(Linear):
    """Of numpy."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = np.zeros(1)

    def forward(self, x: Any) -> Any:
        self.counts[0] += 1  # here
        return self.linear(x) * float(self.counts[0])


class RemembersInADict(Linear):
    """What was given."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, Any] = {}

    def forward(self, x: Any) -> Any:
        if "first" not in self.cache:
            self.cache["first"] = self.linear(x)  # here
        return x + self.cache["first"]


class GrowsInADict(Linear):
    """Made of nothing that is given, but another each time."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[int, Any] = {}

    def forward(self, x: Any) -> Any:
        self.cache[len(self.cache)] = torch.ones(4) * len(self.cache)  # here
        return self.linear(x) + sum(self.cache.values())


class RemembersASize(Linear):
    """Of the first batch."""

    def forward(self, x: Any) -> Any:
        if self.state is None:
            self.state = torch.full((1,), float(x.shape[0]))  # here
        return self.linear(x) / self.state


class DrawsOnce(Linear):
    """And keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, Any] = {}

    def forward(self, x: Any) -> Any:
        if "noise" not in self.cache:
            self.cache["noise"] = torch.rand(4)  # here
        return self.linear(x) + self.cache["noise"]


REFUSED = [
    *(Counts, OnlyCounts, Flags, Collects, Remembers, Adds, Averages, AveragesInTraining, Copies, Replaces),
    *(Stores, StoresByIndex, Out, BehindTheScenes, CountsInAList, CountsInADict, CountsInAnArray, RemembersInADict),
    *(GrowsInADict, RemembersASize, DrawsOnce),
]


@pytest.mark.parametrize("cls", REFUSED)
def test_what_outlives_a_call_is_refused(cls: type[nn.Module]) -> None:
    """With the line that does it, and what to do."""
    lines, first = inspect.getsourcelines(cls)
    line = first + next(number for number, text in enumerate(lines) if text.endswith("# here\n"))
    with pytest.raises(Unsupported) as refused:
        draft(cls(), (X,), {})
    assert refused.value.where == f"{__file__}:{line}", str(refused.value)
    assert "pass it in and return it" in str(refused.value)


def test_a_parameter_that_the_first_call_makes_is_refused() -> None:
    """Where it is used: nobody had it when the model was given."""
    with pytest.raises(Unsupported, match=r"trains and is nobody's.*test_kept\.py:\d+.*in the constructor"):
        draft(MakesParameter(), (X,), {})


def test_a_parameter_of_a_layer_is_not_clamped_in_silence() -> None:
    """It belongs to a layer that is not looked into."""

    class Clamped(Linear):
        def forward(self, x: Any) -> Any:
            self.linear.weight.data.clamp_(-0.1, 0.1)
            return self.linear(x)

    with pytest.raises(Unsupported, match=r"forward changes self\.weight"):
        draft(Clamped(), (X,), {})


class Shows(Linear):
    """Attributes for others to look at, written anew in each call before they are read."""

    def forward(self, x: Any) -> Any:
        self.steps = x.shape[1]
        self.state = torch.softmax(self.linear(x), 1)
        return self.state * x * self.steps


class Statistics(Linear):
    """Of a norm without a module: its helper moves them, too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.ones(4))
        self.variance: Any

    def forward(self, x: Any) -> Any:
        return F.batch_norm(self.linear(x), self.mean, self.variance, training=self.training)


class NormAndActivation(nn.BatchNorm1d):
    """A norm that is written out, as timm's: it counts its calls."""

    def __init__(self) -> None:
        super().__init__(4)

    def forward(self, x: Any) -> Any:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return F.relu(F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training))


class Cached(Linear):
    """In eval mode parameters do not change (levit)."""

    def __init__(self) -> None:
        super().__init__()
        self.biases = nn.Parameter(torch.arange(4.0))
        self.register_buffer("order", torch.tensor([3, 2, 1, 0]))
        self.order: Any
        self.cache: dict[str, Any] = {}

    def forward(self, x: Any) -> Any:
        if self.training:
            return self.linear(x) + self.biases[self.order]
        if str(x.device) not in self.cache:
            self.cache[str(x.device)] = self.biases[self.order]
        return self.linear(x) + self.cache[str(x.device)]


class CachedBySize(Linear):
    """Made anew for another size (convit)."""

    def forward(self, x: Any) -> Any:
        if self.state is None or self.state.shape[0] != x.shape[0]:
            self.state = torch.arange(x.shape[0]).reshape(-1, 1)
        return self.linear(x) + self.state


class CachedInABuffer(CachedBySize):
    """So that it moves with the model."""

    def __init__(self) -> None:
        super().__init__()
        del self.state
        self.register_buffer("state", torch.zeros(1, 1), persistent=False)


def test_the_number_of_calls_is_nothing_to_compute_with() -> None:
    """A buffer of that name is not in the cell."""

    class Warm(NormAndActivation):
        def forward(self, x: Any) -> Any:
            assert self.num_batches_tracked is not None
            return super().forward(x) / (1 + self.num_batches_tracked)

    with pytest.raises(Unsupported, match="num_batches_tracked: forward computes with the number of its calls"):
        draft(nn.Sequential(nn.Linear(4, 4), Warm()), (X,), {})


@pytest.mark.parametrize("cls", [Shows, Statistics, NormAndActivation, Cached, CachedBySize, CachedInABuffer])
def test_what_does_no_harm_is_converted(cls: type[nn.Module]) -> None:
    """As before."""
    assert "def construct" in draft(cls(), (X,), {}).source
