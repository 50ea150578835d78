"""Reading a user's transform: any object becomes a tree of nodes, each known or opaque, never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.frameworks.names import name_of
from dsbridge.transforms.catalog import find
from dsbridge.transforms.foreign import Foreign, Refused, changed_methods, qualified
from dsbridge.transforms.ops.containers import Sequence
from dsbridge.transforms.torchvision.containers import CONTAINERS
from dsbridge.transforms.torchvision.refused import REFUSED


@dataclass(frozen=True, slots=True)
class Node:
    """One place in the user's pipeline.

    ``label``: what it is called in messages. ``original``: the user's object. ``op``: the operation read from it, None if
    opaque, for which ``reason`` says why. ``foreign``: how it was read. ``children``: of a container.
    """

    label: str
    original: Any
    op: Any = None
    reason: str = ""
    foreign: Foreign | None = None
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and everything below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()


def read(transform: Any) -> tuple[Node, ...]:
    """The nodes of a transform: containers that run everything in turn are flattened, others stay nodes with children.

    Raises ``TransformError`` for what cannot be called.

    >>> from dsbridge.transforms.ops.flip import RandomVerticalFlip
    >>> [node.label for node in read([RandomVerticalFlip(), str])]
    ['RandomVerticalFlip', 'str']
    """
    if isinstance(transform, (list, tuple)):
        return tuple(node for item in transform for node in read(item))
    node = _node(transform)
    return node.children if isinstance(node.op, Sequence) else (node,)


def _node(value: Any) -> Node:
    name, label = qualified(value), name_of(value)
    if is_operation(value):
        return Node(type(value).__name__, value, value)
    changed = changed_methods(value)
    if name in CONTAINERS and not changed:
        chooses, contents = CONTAINERS[name](value)
        if isinstance(chooses, Sequence):
            return Node(label, value, chooses, children=read(list(contents)))
        return Node(label, value, chooses, children=tuple(_node(item) for item in contents))
    if not callable(value):
        raise TransformError(
            f"{label} is no transform: it cannot be called. Hint: pass an instance, a function, or a list of these"
        )
    if isinstance(value, type) and (find(f"{value.__module__}.{value.__qualname__}") or _is_module(value)):
        raise TransformError(f"{label} is a class. Hint: pass an instance of it, {value.__name__}(...)")
    if changed and (name in CONTAINERS or find(name)):
        return Node(label, value, reason=f"its method {changed[0]} was replaced on the instance")
    foreign = find(name)
    if foreign is None:
        return Node(label, value, reason=_why_unknown(value, name))
    try:
        return Node(label, value, foreign.read(value), foreign=foreign)
    except Refused as exc:
        return Node(label, value, reason=str(exc))


def is_operation(value: Any) -> bool:
    """Whether a value is an operation of our own kind (not a class of them)."""
    return not isinstance(value, type) and (hasattr(value, "EXACT") or hasattr(value, "batch"))


def _is_module(cls: type) -> bool:
    return any(f"{base.__module__}.{base.__qualname__}" == "torch.nn.modules.module.Module" for base in cls.__mro__)


def _why_unknown(value: Any, name: str) -> str:
    if name in REFUSED:
        return REFUSED[name]
    for base in type(value).__mro__[1:]:
        base_name = f"{base.__module__}.{base.__qualname__}"
        if find(base_name) or base_name in CONTAINERS or base_name in REFUSED:
            return f"a subclass of {base.__name__}, which may do anything"
    return "a user's own code"
