"""Modules that are written in odd ways are refused by name and line, or converted; none is an error of ours."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn

from dsbridge.errors import Unsupported
from dsbridge.model.convert import draft

X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Net(nn.Module):
    """What each of them has."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)


class MakesParameter(Net):
    """In each call."""

    def forward(self, x: Any) -> Any:
        return self.linear(x) * nn.Parameter(torch.ones(4))


class Maps(Net):
    """Over the batch."""

    def forward(self, x: Any) -> Any:
        return torch.vmap(self.linear)(x)


class Scripted(Net):
    """A child."""

    def __init__(self) -> None:
        super().__init__()
        self.child = torch.jit.trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), X)

    def forward(self, x: Any) -> Any:
        return self.child(self.linear(x))


class Output:
    """What a model may return, but no dataclass."""

    def __init__(self, logits: Any) -> None:
        self.logits = logits


class ReturnsAnObject(Net):
    """That holds tensors."""

    def forward(self, x: Any) -> Any:
        return Output(self.linear(x))


class ThrowsDice(Net):
    """As structured dropout of a layer does."""

    def forward(self, x: Any) -> Any:
        return self.linear(x) if random.random() < 0.5 else x * 1


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (MakesParameter, "trains and is nobody's"),
        (Maps, "vmap"),
        (ThrowsDice, "Python's or numpy's random.*test_odd_modules.py:"),
        (Scripted, "its forward is compiled"),
        (ReturnsAnObject, r"no tensor but Output .*test_odd_modules\.py:\d+"),
    ],
)
def test_what_cannot_be_followed_is_refused(cls: type[nn.Module], said: str) -> None:
    """With a hint."""
    with pytest.raises(Unsupported, match=f"(?s){said}.*Hint"):
        draft(cls(), (X,), {})


def test_a_tensor_given_twice_stands_for_two_arguments() -> None:
    """The example of an attention may be (x, x, x): the cell reads all three."""

    class Sum(Net):
        def forward(self, x: Any, y: Any) -> Any:
            return self.linear(x) + y

    assert "return self.linear(x) + y" in draft(Sum(), (X, X), {}).source
