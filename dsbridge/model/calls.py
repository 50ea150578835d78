"""How a forward was called: arguments by position and by name, as they came."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def positional(signature: inspect.Signature, bound: inspect.BoundArguments, count: int) -> list[Any]:
    """What came by position, as it came: a decorator around forward may look at how it is called."""
    found: list[Any] = []
    for name, parameter in signature.parameters.items():
        if name in bound.arguments and parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            found += bound.arguments[name]
        elif name in bound.arguments and len(found) < count:
            found.append(bound.arguments[name])
    return found[:count]


def named(bound: inspect.BoundArguments, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What came by name."""
    rest: Mapping[str, Any] = next(
        (
            bound.arguments[n]
            for n, p in bound.signature.parameters.items()
            if p.kind is inspect.Parameter.VAR_KEYWORD and n in bound.arguments
        ),
        {},
    )
    return {name: bound.arguments[name] if name in bound.arguments else rest[name] for name in kwargs}


def passed(forward: Callable[..., Any], names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments of these names, of a call of ``forward``: in its order, however they were given.

    >>> passed(lambda ids, mask=None, *rest: None, ["ids", "mask", "rest0"], (1, 2, 3), {})
    [1, 2, 3]
    >>> passed(lambda ids, mask: None, ["ids", "mask"], (), {"mask": 2, "ids": 1})
    [1, 2]
    """
    signature = inspect.signature(forward)
    found: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        each(signature, name, value, found.__setitem__)
    return [found[name] for name in names]


def each(signature: inspect.Signature, name: str, value: Any, take: Callable[[str, Any], Any]) -> Any:
    """``take`` an argument; of ``*args`` and ``**kwargs`` each on its own."""
    kind = signature.parameters[name].kind
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple(take(f"{name}{number}", one) for number, one in enumerate(value))
    if kind is inspect.Parameter.VAR_KEYWORD:
        return {key: take(key, one) for key, one in value.items()}
    return take(name, value)
