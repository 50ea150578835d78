"""Other libraries' transform classes: how each is read, and how it is made to use given parameters.

Nothing is imported: a class is known by its qualified name. A subclass, or an instance with methods of its own, is not
the class that was proven equal, so it is never taken for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Reader = Callable[[Any], Any]
Pin = Callable[[Any, Any], Callable[[Any], Any]]


class Refused(Exception):
    """Raised by a reader: this instance has no proven operation, for this reason; the original object runs instead."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is known of one class.

    ``read``: instance -> operation, or raises ``Refused``. ``pin``: (instance, params) -> a callable that does to an
    image what the instance does when it draws these parameters (None: what it does when its coin falls the other way);
    not needed where nothing is random.
    """

    name: str
    read: Reader
    pin: Pin | None = None


def qualified(value: Any) -> str:
    """The qualified name of a value's class.

    >>> qualified(3)
    'builtins.int'
    """
    return f"{type(value).__module__}.{type(value).__qualname__}"


def changed_methods(instance: Any) -> list[str]:
    """Names of callables that were set on the instance itself and hide its class's.

    >>> class A:
    ...     def forward(self): ...
    >>> a = A(); a.forward = print; changed_methods(a)
    ['forward']
    """
    own = getattr(instance, "__dict__", {})
    return sorted(name for name, value in own.items() if callable(value) and callable(getattr(type(instance), name, None)))


def pinned(instance: Any, **replaced: Any) -> Any:
    """A shallow copy of a transform with attributes (methods, too) replaced; the original is left alone.

    >>> class A:
    ...     p = 0.5
    >>> a = A(); pinned(a, p=1.0).p, a.p
    (1.0, 0.5)
    """
    clone = copy.copy(instance)
    clone.__dict__.update(replaced)  # past nn.Module.__setattr__
    return clone


def pin_coin(instance: Any, params: Any) -> Callable[[Any], Any]:
    """Pin a transform whose only choice is whether to act, by its probability ``p``."""
    return pinned(instance, p=0.0 if params is None else 1.0)  # type: ignore[no-any-return]


def pin_params(instance: Any, v1: Any, v2: dict[str, Any]) -> Callable[[Any], Any]:
    """Pin what torchvision's ``get_params`` (v1) or ``make_params`` (v2) gives; its coin, if it has one, falls for acting."""
    replaced: dict[str, Any] = {"p": 1.0} if hasattr(instance, "p") else {}
    if hasattr(instance, "make_params"):
        replaced["make_params"] = lambda flat_inputs: v2
    else:
        replaced["get_params"] = lambda *args, **kwargs: v1
    return pinned(instance, **replaced)  # type: ignore[no-any-return]
