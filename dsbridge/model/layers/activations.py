"""Activations. MindSpore's defaults differ from torch's in places: what differs is written out."""

from __future__ import annotations

from typing import Any

from torch import nn

from dsbridge.model.construct import Construct, Refused
from dsbridge.model.layers.registry import Make, Seen, layer


def _simple(cell: str) -> Make:
    def make(module: Any, seen: Seen) -> Construct:
        return Construct(cell)

    return make


for _torch, _cell in (
    (nn.ReLU, "nn.ReLU"), (nn.ReLU6, "nn.ReLU6"), (nn.SiLU, "nn.SiLU"), (nn.Hardswish, "nn.HSwish"),
    (nn.Hardsigmoid, "nn.HSigmoid"), (nn.Sigmoid, "nn.Sigmoid"), (nn.Tanh, "Tanh"), (nn.Mish, "Mish"),
    (nn.SELU, "SELU"), (nn.LogSigmoid, "LogSigmoid"), (nn.Softsign, "nn.Softsign"), (nn.Tanhshrink, "Tanhshrink"),
):  # fmt: skip
    layer(_torch)(_simple(_cell))


@layer(nn.GELU)
def gelu(module: nn.GELU, seen: Seen) -> Construct:
    """MindSpore's default is the tanh approximation."""
    return Construct("nn.GELU", {"approximate": module.approximate == "tanh"}, defaults={"approximate": True})


@layer(nn.LeakyReLU)
def leaky_relu(module: nn.LeakyReLU, seen: Seen) -> Construct:
    """MindSpore's default slope is 0.2."""
    return Construct("nn.LeakyReLU", {"alpha": module.negative_slope})


@layer(nn.ELU)
def elu(module: nn.ELU, seen: Seen) -> Construct:
    """alpha other than 1 has no kernel on the CPU."""
    if module.alpha != 1.0:
        raise Refused(f"alpha={module.alpha}: MindSpore's ELU has 1 only")
    return Construct("nn.ELU", {"alpha": module.alpha}, defaults={"alpha": 1.0})


@layer(nn.Softplus)
def softplus(module: nn.Softplus, seen: Seen) -> Construct:
    """As a helper: log(1 + exp(x)), linear beyond the threshold."""
    return Construct("Softplus", {"beta": module.beta, "threshold": module.threshold}, defaults={"beta": 1, "threshold": 20})


@layer(nn.PReLU)
def prelu(module: nn.PReLU, seen: Seen) -> Construct:
    """One slope, or one a channel."""
    return Construct("nn.PReLU", {"channel": module.num_parameters}, defaults={"channel": 1})


@layer(nn.Hardtanh)
def hardtanh(module: nn.Hardtanh, seen: Seen) -> Construct:
    """The same names and defaults."""
    return Construct(
        "nn.Hardtanh", {"min_val": module.min_val, "max_val": module.max_val}, defaults={"min_val": -1.0, "max_val": 1.0}
    )


@layer(nn.Softmax)
def softmax(module: nn.Softmax, seen: Seen) -> Construct:
    """MindSpore's default axis is -1; torch's None depends on the rank, and is deprecated."""
    return Construct("nn.Softmax", {"axis": _axis(module, seen)}, defaults={"axis": -1})


@layer(nn.LogSoftmax)
def log_softmax(module: nn.LogSoftmax, seen: Seen) -> Construct:
    """A helper."""
    return Construct("LogSoftmax", {"axis": _axis(module, seen)})


def _axis(module: Any, seen: Seen) -> int:
    if module.dim is not None:
        return int(module.dim)
    if seen.input is None:
        raise Refused("dim=None depends on the input's rank, and it was never called")
    return 0 if seen.input.ndim in (0, 1, 3) else 1  # torch.nn.functional._get_softmax_dim
