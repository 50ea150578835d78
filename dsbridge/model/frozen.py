"""Parameters that do not train, of layers: said at the end of the root's ``__init__``, as MindSpore's users do."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator

import torch

Spell = Callable[[str], ast.expr]


def freezing(model: torch.nn.Module, spell: Spell, said: Collection[int], unused: Collection[str]) -> list[ast.stmt]:
    """The statements that freeze in a cell what is frozen in its model: whole children in a loop, single parameters by name.

    ``said``: identities of parameters that are made without gradient anyway; ``unused``: paths that the cell has not.

    >>> model = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)})
    >>> _ = model["head"].weight.requires_grad_(False)
    >>> print(*map(ast.unparse, freezing(model, lambda path: ast.Name(path), (), ())))
    head.weight.requires_grad = False
    """
    whole: list[str] = []
    single: list[str] = []
    for path, alone in _outermost("", model, said, unused, set()):
        (single if alone else whole).append(path)
    made = [ast.parse(f"{ast.unparse(spell(path))}.requires_grad = False").body[0] for path in single]
    cells = [ast.unparse(spell(path)) if path else "self" for path in whole]
    if len(cells) == 1:
        made.append(_loop("parameter", f"{cells[0]}.get_parameters()", "parameter.requires_grad = False"))
    elif cells:
        inner = _loop("parameter", "cell.get_parameters()", "parameter.requires_grad = False")
        made.append(_loop("cell", f"({', '.join(cells)})", ast.unparse(inner)))
    return made


def _outermost(
    path: str, module: torch.nn.Module, said: Collection[int], unused: Collection[str], seen: set[int]
) -> Iterator[tuple[str, bool]]:
    """Paths of modules of which everything is frozen, and of single parameters (True) in others; each parameter once."""
    below = f"{path}." if path else ""
    held = [p for name, p in module.named_parameters() if not any(f"{below}{name}".startswith(f"{one}.") for one in unused)]
    wanted = [p for p in held if not p.requires_grad and id(p) not in said and id(p) not in seen]
    if path in unused or not wanted:
        return
    if len(held) > 1 and not any(p.requires_grad for p in held) and not isinstance(module, torch.nn.ParameterList):
        seen.update(map(id, held))
        yield path, False
        return
    for name, parameter in module.named_parameters(recurse=False):
        if any(parameter is one for one in wanted):
            seen.add(id(parameter))
            yield below + name, True
    for name, child in module.named_children():
        yield from _outermost(below + name, child, said, unused, seen)


def _loop(target: str, over: str, body: str) -> ast.stmt:
    return ast.parse(f"for {target} in {over}:\n" + "\n".join(f"    {line}" for line in body.splitlines())).body[0]
