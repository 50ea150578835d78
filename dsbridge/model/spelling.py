"""Paths below a module as expressions of its cell."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from dsbridge.model import mint


def speller(module: torch.nn.Module, flavour: str = "nn", opened: frozenset[int] = frozenset()) -> Callable[[str], ast.expr]:
    """Spells paths below a module: attributes, and indices where a list holds what is meant."""

    def spell(path: str) -> ast.expr:
        tree: ast.expr = ast.Name("self", ast.Load())
        at: Any = module
        for part in path.split("."):
            if isinstance(at, (torch.nn.ModuleList, torch.nn.Sequential)) and part.isdigit():
                tree = ast.Subscript(tree, ast.Constant(int(part)), ast.Load())
            elif _is_key(at, part):
                tree = ast.Subscript(tree, ast.Constant(part), ast.Load())
            else:
                name = part if id(at) in opened else _renamed(at, part, flavour)
                tree = ast.Attribute(tree, attribute(name), ast.Load())
            at = getattr(at, part, None)
        return tree

    return spell


def holds_lists(module: torch.nn.ModuleDict) -> bool:
    """Whether a ModuleDict becomes a cell with attributes: CellDict takes no lists and no SequentialCells."""
    lists = (torch.nn.ModuleList, torch.nn.Sequential, torch.nn.ModuleDict)
    return all(map(str.isidentifier, module)) and any(isinstance(one, lists) for one in module.values())


def attribute(name: str) -> str:
    """A parameter's name as an attribute: those in a ParameterList are numbers.

    >>> attribute("weight"), attribute("0")
    ('weight', 'p_0')
    """
    return name if name.isidentifier() and not keyword.iskeyword(name) else "p_" + re.sub(r"\W", "_", name)


def _is_key(module: Any, part: str) -> bool:
    if type(module) is torch.nn.ModuleDict:
        return not holds_lists(module)
    return part in module._modules and not part.isidentifier()


def _renamed(module: Any, name: str, flavour: str) -> str:
    """What a layer's parameter is called in its cell."""
    if flavour == "mint" and mint.layer(module) is not None:
        return name
    return _NAMES.get(type(module), {}).get(name, name)


_NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_NAMES: Mapping[type, Mapping[str, str]] = {
    torch.nn.Embedding: {"weight": "embedding_table"},
    torch.nn.LayerNorm: _NORMS,
    torch.nn.BatchNorm1d: _NORMS,
    torch.nn.BatchNorm2d: _NORMS,
    torch.nn.BatchNorm3d: _NORMS,
    torch.nn.GroupNorm: _NORMS,
}
