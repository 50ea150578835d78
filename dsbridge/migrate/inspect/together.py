"""What only several places together are: two optimizers, several backward passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.resolve import Names
from dsbridge.migrate.inspect.scopes import VALUE, Binding
from dsbridge.migrate.inspect.use import Inside, Use


def together(uses: Sequence[Use], names: Names) -> Iterator[Use]:
    """Uses with the keys "two optimizers" and "several backward", at the second of each.

    >>> from pathlib import Path
    >>> from dsbridge.migrate.inspect.repository import Repository
    >>> module = cst.parse_module("import torch.optim as o\\na = o.SGD(p)\\nb = o.Adam(q)")
    >>> [one.name for one in together((), Names(module, Path("a.py"), Repository(Path("/no/such/folder"))))]
    ['b']
    """
    for scope in names.scopes.values():
        for bound in (scope.bindings, scope.attributes):
            yield from _optimizers(bound, names)
    yield from _backward(uses, names)


def _optimizers(bound: Mapping[str, Sequence[Binding]], names: Names) -> Iterator[Use]:
    """The second name that an optimizer is made for; one name in two arms of an ``if`` is one optimizer."""
    made = [(name, one) for name, several in bound.items() for one in several if _is_made(one, names)]
    first = next((name for name, _ in made), None)
    second = next(((name, one) for name, one in made if name != first), None)
    if second is not None:
        name, one = second
        assert isinstance(one.node, cst.Call)
        yield Use(("two optimizers",), name, one.node.func, Inside(one.scope), names)


def _is_made(one: Binding, names: Names) -> bool:
    if one.what != VALUE or not isinstance(one.node, cst.Call):
        return False
    origin = names.origin(one.node.func, one.scope)
    return isinstance(origin, str) and kinds.made_by(origin) == kinds.OPTIMIZER


def _backward(uses: Sequence[Use], names: Names) -> Iterator[Use]:
    earlier: dict[int, list[Use]] = {}
    for use in uses:
        if ".backward()" in use.keys:
            before = earlier.setdefault(id(use.inside.scope), [])
            if len(before) == 1 and not use.inside.excludes(before[0].inside):
                yield Use(("several backward",), use.name, use.node, use.inside, names)
            before.append(use)
