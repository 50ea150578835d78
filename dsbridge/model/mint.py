"""The flavour "mint": MindSpore's API with torch's names and defaults, for Ascend; on a CPU nothing of it can be verified.

There is no table: a layer or function that MindSpore's mint has under torch's name, with the arguments that are used, is
written as it is; all else as in the flavour "nn".
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from dsbridge.model.code import Code, call
from dsbridge.model.construct import Construct, equal
from dsbridge.model.functions import registry
from dsbridge.model.layers.registry import same
from dsbridge.model.nodes import Node, plain

_OWN = {  # written as operators, or with an entry that says more than a name does
    *(
        "add",
        "sub",
        "mul",
        "div",
        "pow",
        "neg",
        "matmul",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "remainder",
        "floor_divide",
        "rsub",
    ),
    *("dropout", "batch_norm", "scaled_dot_product_attention", "constant"),
}
_WEIGHTS = {"weight", "pos_weight"}  # of classes in losses, which mint's take as tensors
_ASIDE = {"self", "inplace", "device", "dtype", "args", "kwargs"}


def layer(module: torch.nn.Module) -> Construct | None:
    """The layer of mint with this layer's name and settings; None where it has none.

    >>> str(layer(torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)).code())
    'mint.nn.Conv2d(3, 8, 3, padding=1, bias=False)'
    """
    original = type(module)
    known = getattr(_mint().nn, original.__name__, None)
    if known is None or getattr(torch.nn, original.__name__, None) is not original:
        return None
    args: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, parameter in _parameters(known).items():
        if name in _WEIGHTS and isinstance(getattr(module, name, None), torch.Tensor):
            return None
        if hasattr(module, name):
            args[name] = _setting(module, name)
            if parameter.default is not parameter.empty:
                defaults[name] = parameter.default
        elif parameter.default is parameter.empty:
            return None
    for name, parameter in _parameters(original).items():  # settings that mint has no name for
        if name not in args and hasattr(module, name) and _setting(module, name) != parameter.default:
            return None
    ordered = {name: args[name] for name in sorted(args, key=lambda name: name in defaults)}
    held = [name for tensors in (module._parameters, module._buffers) for name, one in tensors.items() if one is not None]
    return Construct(
        f"mint.nn.{original.__name__}", ordered, len(args) - len(defaults), defaults, {name: name for name in held}
    )


def express(node: Node) -> Code | Node:
    """The call of mint's function of that name, if it takes these arguments; else as in the flavour "nn"."""
    name = node.target
    function = name if name in registry.FUNCTIONS else name.rstrip("_")
    for space in ("mint.nn.functional", "mint"):
        known = _names(space).get(function)
        if known is None or function in _OWN or name.startswith("__"):
            continue
        kwargs = {name: one for name, one in node.kwargs.items() if not _is_default(known, name, one)}
        try:
            known.bind(*node.args, **kwargs)
        except TypeError:
            continue
        return call(f"{space}.{function}", *node.args, **{name: one for name, one in kwargs.items() if name != "inplace"})
    return registry.express(node)


def _is_default(known: inspect.Signature, name: str, value: Any) -> bool:
    """Whether an argument says nothing: losses are handed all of theirs, the old ``size_average=None`` among them."""
    if isinstance(value, Node) and value.shape is not None:
        return False
    return equal(plain(value), known.parameters[name].default if name in known.parameters else None)


@cache
def _names(space: str) -> Mapping[str, inspect.Signature]:
    module = _mint().nn.functional if space.endswith("functional") else _mint()
    return {name: inspect.signature(one) for name, one in vars(module).items() if inspect.isfunction(one)}


def _parameters(cls: Any) -> dict[str, inspect.Parameter]:
    return {name: one for name, one in inspect.signature(cls.__init__).parameters.items() if name not in _ASIDE}


def _setting(module: torch.nn.Module, name: str) -> Any:
    value = getattr(module, name)
    return value is not None if isinstance(value, torch.Tensor) or name == "bias" else same(value)


def _mint() -> Any:
    from mindspore import mint

    return mint
