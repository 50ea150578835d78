"""Hooks, and gradients computed within a forward, are refused: a recording does not see what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from dsbridge.errors import Unsupported
from dsbridge.model.convert import draft

X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Net(nn.Module):
    """A layer, and one that is not looked into."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2)

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        return self.attention(y, y, y)[0]


class Hooks(Net):
    """A hook on what it computes."""

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        y.register_hook(lambda gradient: 2 * gradient)  # here
        return y


class Penalty(Net):
    """A gradient as a result."""

    def forward(self, x: Any) -> Any:
        x = x.requires_grad_()
        return torch.autograd.grad(self.linear(x).sum(), x, create_graph=True)[0]  # here


class Backwards(Net):
    """A whole step."""

    def forward(self, x: Any) -> Any:
        y = self.linear(x)
        y.sum().backward(retain_graph=True)  # here
        return y


@pytest.mark.parametrize(("cls", "line"), [(Hooks, 36), (Penalty, 45), (Backwards, 53)])
def test_what_forward_does_to_gradients_is_refused(cls: type[nn.Module], line: int) -> None:
    """With its line."""
    with pytest.raises(Unsupported) as refused:
        draft(cls(), (X,), {})
    assert refused.value.where == f"{__file__}:{line}"


def _double(*args: Any) -> Any:
    return None


LIVE: dict[str, Callable[[Net], Any]] = {
    "linear": lambda net: net.linear.register_forward_hook(_double),
    "linear ": lambda net: net.linear.register_forward_pre_hook(_double),
    "linear  ": lambda net: net.linear.register_full_backward_hook(_double),
    "linear   ": lambda net: net.linear.register_full_backward_pre_hook(_double),
    "attention.out_proj": lambda net: net.attention.out_proj.register_forward_hook(_double),
    "linear.weight": lambda net: net.linear.weight.register_hook(_double),
    "linear.bias": lambda net: net.linear.bias.register_post_accumulate_grad_hook(_double),
    "": lambda net: torch.nn.modules.module.register_module_forward_hook(_double),
}


@pytest.mark.parametrize("path", LIVE)
def test_hooks_on_a_live_model_are_refused(path: str) -> None:
    """On modules and parameters, within layers too, and on all modules of the process."""
    net = Net()
    handle = LIVE[path](net)
    try:
        with pytest.raises(Unsupported, match="what hooks .*Hint: remove them") as refused:
            draft(net, (X,), {})
        assert refused.value.path == path.strip()
    finally:
        handle.remove()


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")  # torch says it once a process
def test_a_lazy_layer_has_to_run_first() -> None:
    """It has no parameters to convert."""
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    with pytest.raises(Unsupported, match="run the model once"):
        draft(model, (X,), {})
