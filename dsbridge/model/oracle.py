"""The torch side of a proof: weights that show what is mixed up, outputs and gradients in float64, and float32's own error."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from dsbridge.model.asking import short_name
from dsbridge.model.copies import copied
from dsbridge.model.frames import leaves

Arrays = dict[str, np.ndarray[Any, Any]]
_DROPOUTS = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "feature_dropout",
    "stochastic_depth",
}  # fmt: skip


@dataclass(slots=True)
class Side:
    """What one run gave: outputs in order, gradients by parameter, buffers afterwards; ``random``: whether it drew numbers.

    ``along``: what each output was multiplied with; gradients are of the sum of all. Empty without a backward run.
    """

    outputs: list[np.ndarray[Any, Any]]
    gradients: Arrays
    buffers: dict[str, torch.Tensor]
    random: bool
    along: list[np.ndarray[Any, Any]]


class NoDropout(TorchFunctionMode):
    """Dropout does nothing, wherever it is called, and every random number is a half; so it is in ``child/run_cell.py``.

    With ``wide``, what asks for float32 gets float64.
    """

    def __init__(self, wide: bool = False) -> None:
        super().__init__()
        self._wide = wide

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = short_name(func)
        if self._wide:
            if name == "float":
                return args[0].double()
            args = tuple(torch.float64 if one is torch.float32 else one for one in args)
            kwargs = {key: torch.float64 if one is torch.float32 else one for key, one in kwargs.items()}
        if name.rstrip("_") in _DROPOUTS:
            return args[0]
        if name == "scaled_dot_product_attention":
            kwargs["dropout_p"] = 0.0
            args = args[:4]
        if name in ("rand", "randn", "rand_like", "randn_like"):
            return func(*args, **kwargs).fill_(0.5)
        if name == "bernoulli":
            return (args[0] > 0.5).to(args[0].dtype)
        if name == "bernoulli_":
            p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
            return args[0].copy_(torch.as_tensor(p) > 0.5)
        if name == "multi_head_attention_forward":
            kwargs["training"] = False
        return func(*args, **kwargs)


def perturbed(model: torch.nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], seed: int = 0) -> torch.nn.Module:
    """A copy whose every parameter and statistic is its own: zero heads, unit norms and fresh statistics prove nothing.

    Statistics of norms are calibrated on the inputs first, so that deep networks keep answering to them.
    """
    own = copied(model)
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in own.parameters():
            if parameter.dtype.is_floating_point:
                noise = torch.randn(parameter.shape, generator=made, dtype=torch.float32).to(parameter.dtype)
                size = float(parameter.std()) if parameter.numel() > 1 else 0.0
                parameter.add_(noise * (0.1 * size if size > 1e-3 else 0.1))
        _calibrate(own, inputs, kwargs)
        for name, buffer in own.named_buffers():
            if buffer.dtype.is_floating_point and name.endswith("running_var"):
                buffer.mul_(1 + 0.2 * torch.rand(buffer.shape, generator=made))
    return own


def shaken(model: torch.nn.Module, size: float, seed: int) -> torch.nn.Module:
    """A copy in float64 whose parameters are off by ``size`` (relative, RMS): as rounding would have them."""
    own = copied(model).double()
    shake(own, size, seed)
    return own


def shake(model: torch.nn.Module, size: float, seed: int) -> None:
    """The same in place, of a model in float64."""
    made = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dtype.is_floating_point:
                noise = torch.rand(parameter.shape, generator=made, dtype=torch.float32)
                parameter.mul_(noise.double().sub_(0.5).mul_(2 * size * 3**0.5).add_(1))


def _calibrate(model: torch.nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.momentum is not None]
    if not norms:
        return
    before = {norm: norm.momentum for norm in norms}
    training = model.training
    for norm in norms:
        norm.momentum = 1.0
    with NoDropout(), torch.random.fork_rng(devices=[]):
        model.train()(*copy.deepcopy(tuple(inputs)), **copy.deepcopy(dict(kwargs)))
    model.train(training)
    for norm, momentum in before.items():
        norm.momentum = momentum


def run(
    model: torch.nn.Module, inputs: Sequence[Any], kwargs: Mapping[str, Any], *, training: bool, dtype: torch.dtype,
    backward: bool = False, dropout: bool = False, seed: int = 0,
) -> Side:  # fmt: skip
    """Run a copy in a dtype; ``backward``: also backwards, through the sum of all outputs times ``Side.along``.

    These are random, and the same for outputs of the same shapes.
    """
    own = copied(model).to(dtype).train(training)
    own.zero_grad()
    args, named = copy.deepcopy((tuple(inputs), dict(kwargs)))
    args, named = _cast(args, dtype), _cast(named, dtype)
    mode = torch.overrides.BaseTorchFunctionMode() if dropout else NoDropout(wide=dtype is torch.float64)
    if not dropout:
        no_depth(own)
    with default_dtype(dtype), mode, torch.random.fork_rng(devices=[]), torch.set_grad_enabled(backward):
        generator = torch.manual_seed(seed).get_state()
        outputs = [leaf for leaf in leaves(own(*args, **named)) if isinstance(leaf, torch.Tensor)]
        along = _directions(outputs) if backward else []
        if along:
            parts = [
                (output * torch.from_numpy(direction).to(dtype)).sum()
                for output, direction in zip(outputs, along, strict=True)
                if output.requires_grad
            ]
            if parts:
                torch.stack(parts).sum().backward()
        random = not torch.equal(torch.get_rng_state(), generator)
    gradients = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).double().numpy()
        for name, p in own.named_parameters()
        if p.requires_grad and backward
    }
    named = dict(own.named_buffers(remove_duplicate=False))
    double = {id(buffer): buffer.detach().double() for buffer in named.values()}  # tied ones stay tied
    buffers = {name: double[id(buffer)] for name, buffer in named.items()}
    doubles = [output.detach().double().numpy() for output in outputs]
    return Side(doubles, gradients, buffers, random, along)


def _directions(outputs: Sequence[torch.Tensor]) -> list[np.ndarray[Any, Any]]:
    made = np.random.default_rng(0)
    return [made.standard_normal(output.shape).astype(np.float32) for output in outputs]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """The dtype of what a forward makes without saying which."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def no_depth(model: torch.nn.Module) -> None:
    """What drops without calling torch's dropout: stochastic depth, and recurrent layers between theirs."""
    for module in model.modules():
        if type(module).__name__ in ("StochasticDepth", "DropPath"):
            setattr(module, "p" if hasattr(module, "p") else "drop_prob", 0.0)
        elif isinstance(module, torch.nn.RNNBase):
            module.dropout = 0.0


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype.is_floating_point else value
    if isinstance(value, dict):
        return {key: _cast(one, dtype) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_cast(one, dtype) for one in value)
    return value
