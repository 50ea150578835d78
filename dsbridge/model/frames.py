"""What one module's forward did: its arguments, nodes in order, and what it returned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import prod
from typing import Any

import torch

from dsbridge.errors import Unsupported
from dsbridge.model.nodes import CALL, INPUT, ITEM, STATE, Node, Place, TracedFloat, TracedInt, closure, nodes_in, traced

Value = Any  # a node, a plain value, or containers of both
SMALL = 64  # elements of a constant that is written into the source


@dataclass(eq=False)
class Frame:
    """One call of a module's forward.

    ``path``: the module's. ``arguments``: the names of those that hold tensors, in order. ``outputs``: the tensors that came
    out, in order. ``state``: for parameters, buffers and other tensors of the model, how to find them from here.
    ``gradients``: whether they were wanted when it began.
    """

    path: str
    training: bool
    state: Callable[[torch.Tensor], str | None]
    elsewhere: Callable[[torch.Tensor], bool]
    gradients: bool = field(default_factory=torch.is_grad_enabled)  # when it began
    arguments: dict[str, Node] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of outputs in a mapping: its class, then one for each
    positions: list[int] = field(default_factory=list)  # of outputs, in the tuple that was returned
    _known: dict[int, Node] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)  # an id is a tensor's only while it lives
    _of: dict[int, torch.Tensor] = field(default_factory=dict)  # the tensor of a node

    def bind(self, name: str, value: Any) -> Any:
        """Take an argument in; returns it with numbers that remember that they came in by it."""
        if not any(True for _ in leaves(value)):
            return value
        node = Node(INPUT, name, hint=name)
        self.arguments[name] = node
        return self._take(value, node)

    def _take(self, value: Any, node: Node) -> Any:
        if isinstance(value, torch.Tensor):
            self.define(value, node)
        elif isinstance(value, (TracedInt, TracedFloat)):
            node.value = _bare(value)
            return traced(node.value, node)
        elif isinstance(value, dict):
            return _rebuilt(value, {key: self._take(one, Node(ITEM, key, (node,))) for key, one in value.items()})
        elif isinstance(value, (tuple, list)):
            taken = [self._take(one, Node(ITEM, number, (node,))) for number, one in enumerate(value)]
            node.value = len(taken)
            return _rebuilt(value, taken)
        return value

    def define(self, tensor: torch.Tensor, node: Node) -> None:
        """From now on this tensor is that node."""
        node.shape, node.dtype, node.version = facts(tensor)
        self._known[id(tensor)] = node
        self._kept.append(tensor)
        self._of[id(node)] = tensor

    def origin(self, tensor: torch.Tensor) -> Node | None:
        """The node that a tensor is, if this forward has seen it."""
        return self._known.get(id(tensor))

    def result(self, value: Any, node: Node) -> None:
        """What a node returned: a tensor, or nested containers of tensors, which are its items, and theirs."""
        self.nodes.append(node)
        if isinstance(value, torch.Tensor):
            self.define(value, node)
            return
        for number, one in enumerate(value if isinstance(value, (tuple, list)) else ()):
            if isinstance(one, (torch.Tensor, tuple, list)):
                self.result(one, Node(ITEM, number, (node,), place=node.place))

    def detached(self, tensor: torch.Tensor) -> None:
        """From now on a tensor is what it was, without gradient."""
        node = self._known[id(tensor)]
        after = Node(CALL, "detach", (node,), place=node.place)
        self.nodes.append(after)
        self.define(tensor, after)

    def written(self, before: Node, after: Node, place: Place) -> None:
        """A part of a tensor, ``x[i]``, was written to in place: so was ``x``."""
        if before.op == CALL and before.target == "__getitem__" and id(before.args[0]) in self._of:
            whole = self._of[id(before.args[0])]
            self.result(whole, Node(CALL, "__setitem__", (before.args[0], before.args[1], after), place=place))

    def returned(self, found: list[Any], positions: list[int], node: Node) -> dict[int, Any]:
        """What a called module returned, in order, and where in its tuple; more than one are items of a tuple.

        The result has, by identity, what the numbers among them are from now on.
        """
        self.nodes.append(node)
        now = {}
        for number, one in enumerate(found):
            item = node if len(found) == 1 else Node(ITEM, number, (node,), place=node.place)
            if item is not node:
                item.position = positions[number] if len(positions) == len(found) else -1
                self.nodes.append(item)
            if isinstance(one, torch.Tensor):
                self.define(one, item)
            else:
                now[id(one)] = self._take(one, item)
        if len(found) > 1:
            node.value = len(found)
        return now

    def value(self, value: Any, place: Place, what: str) -> Value:
        """A value of the recording as nodes and plain values. Raises ``Unsupported`` for tensors of unknown origin."""
        if isinstance(value, torch.Tensor):
            return self.lookup(value, place, what)
        if isinstance(value, (TracedInt, TracedFloat)):
            return value.node
        if isinstance(value, torch.nn.Module):
            raise Unsupported(
                self.path, what, str(place), f"it is given a {type(value).__name__} to call", "call it in forward"
            )
        if isinstance(value, dict):
            return {key: self.value(one, place, what) for key, one in value.items()}
        if isinstance(value, slice):
            return slice(*(self.value(one, place, what) for one in (value.start, value.stop, value.step)))
        if isinstance(value, (tuple, list)):
            parts = [self.value(one, place, what) for one in value]
            return _whole(parts) or (parts if isinstance(value, list) else tuple(parts))
        return value

    def values(self, args: tuple[Any, ...], place: Place, what: str) -> tuple[Value, ...]:
        """The same of a call's arguments, one by one."""
        return tuple(self.value(one, place, what) for one in args)

    def lookup(self, tensor: torch.Tensor, place: Place, what: str) -> Node:
        """The node that a tensor is."""
        node = self._known.get(id(tensor))
        if node is not None:
            if node.version != facts(tensor)[2]:
                raise Unsupported(self.path, what, str(place), "it reads a tensor that was written to through a view of it")
            return node
        name = self.state(tensor)
        if name is not None:
            node = Node(STATE, name, place=place)
        elif self.elsewhere(tensor):
            raise Unsupported(
                self.path, what, str(place), "it uses a tensor of another module's forward that was not passed to it"
            )
        else:
            node = self._constant(tensor, place, what)
        self.nodes.append(node)
        self.define(tensor, node)
        return node

    def _constant(self, tensor: torch.Tensor, place: Place, what: str) -> Node:
        shape, dtype, _ = facts(tensor)
        if prod(shape) > SMALL:
            raise Unsupported(
                self.path, what, str(place), f"it uses a constant of shape {list(shape)} that is nobody's attribute",
                "register it as a buffer",
            )  # fmt: skip
        with torch._C.DisableTorchFunction():
            if tensor.requires_grad:
                text = "it uses a tensor that trains and is nobody's attribute"
                raise Unsupported(self.path, what, str(place), text, "make it a parameter in the constructor")
            if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
                raise Unsupported(
                    self.path, what, str(place), "it is transformed (torch.func, vmap)", "write it for whole batches"
                )
            return Node(CALL, "constant", (tensor.detach().tolist(), dtype), place=place)

    def finish(self, value: Any, numbers: bool) -> list[Any]:
        """Note what forward returned; returns its tensors in order, with ``numbers`` also sizes and what is made of them."""
        found = [one for one in leaves(value) if isinstance(one, torch.Tensor) or (numbers and self._made_here(one.node))]
        last = self.nodes[-1].place if self.nodes else Place()
        if not found:
            text = f"its forward returns no tensor but {type(value).__name__}"
            raise Unsupported(self.path, "return", str(last), text, "return tensors: one, a tuple or a dict of them")
        if isinstance(value, (tuple, list)):
            self.positions = [n for n, one in enumerate(value) if any(one is leaf for leaf in found)]
        self.outputs = [self.lookup(one, last, "return") if isinstance(one, torch.Tensor) else one.node for one in found]
        nested = isinstance(value, tuple) and any(isinstance(one, (tuple, list)) for one in value)
        if nested or isinstance(value, dict) or is_dataclass(value):
            self.names = [type(value).__name__, *_names(value)]
        read = {id(node) for node in closure(nodes_in(self.outputs))}
        self.nodes = [node for node in self.nodes if id(node) in read]  # a counter that counts in train mode is nobody's input
        return found

    def _made_here(self, number: Node) -> bool:
        """Whether a number comes from tensors of this forward: not from attributes, and not from another's."""
        origins = [node for node in closure([number]) if node.is_origin]
        own = {id(node) for node in (*self.nodes, *self.arguments.values())}
        return bool(origins) and all(id(node) in own for node in origins)


def swapped(value: Any, now: Mapping[int, Any]) -> Any:
    """Nested containers in which some leaves are others now, by identity; what has none of them is itself."""
    if id(value) in now:
        return now[id(value)]
    if not any(id(leaf) in now for leaf in leaves(value)):
        return value
    if isinstance(value, (tuple, list)):
        return _rebuilt(value, [swapped(one, now) for one in value])
    return _rebuilt(value, {key: swapped(one, now) for key, one in _items(value)})


def _whole(parts: list[Value]) -> Node | None:
    """The argument of which these are all items, in order: it is passed on as it came."""
    first = parts[0] if parts else None
    if not isinstance(first, Node) or first.op != ITEM or first.args[0].op != INPUT or first.args[0].value != len(parts):
        return None
    source: Node = first.args[0]
    whole = all(isinstance(p, Node) and p.op == ITEM and p.args[0] is source and p.target == n for n, p in enumerate(parts))
    return source if whole else None


def facts(tensor: torch.Tensor) -> tuple[tuple[int, ...], torch.dtype, int]:
    """Shape, dtype and how often it was written to, without being recorded.

    >>> facts(torch.zeros(2, 3))
    ((2, 3), torch.float32, 0)
    """
    with torch._C.DisableTorchFunction():
        return tuple(map(int, tensor.shape)), tensor.dtype, tensor._version


def leaves(value: Any) -> Iterator[Any]:
    """Tensors and traced numbers in nested containers, in order."""
    if isinstance(value, (torch.Tensor, TracedInt, TracedFloat)):
        yield value
    else:
        for _, one in _items(value):
            yield from leaves(one)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """What a container holds, with its keys, places, or a dataclass's fields."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((held.name, getattr(value, held.name)) for held in fields(value))


def equal(one: Any, other: Any) -> bool:
    """Whether two results hold the same tensors, in the same order; nan equals nan.

    >>> equal((torch.ones(2), [torch.zeros(1)]), (torch.ones(2), [torch.ones(1)])), equal([torch.ones(2)] * 2, torch.ones(2))
    (False, False)
    """
    ours, theirs = ([leaf for leaf in leaves(value) if isinstance(leaf, torch.Tensor)] for value in (one, other))
    pairs = zip(ours, theirs, strict=False)
    return len(ours) == len(theirs) and all(torch.allclose(a, b, 0, 0, equal_nan=True) for a, b in pairs)


def _names(value: Any, path: str = "") -> Iterator[str]:
    """The path of each tensor in nested containers, in the order of ``leaves``."""
    if isinstance(value, torch.Tensor):
        yield path
    else:
        for key, one in _items(value):
            yield from _names(one, f"{path}.{key}" if path else str(key))


def _bare(value: Any) -> int | float:
    return int(value) if isinstance(value, int) else float(value)


def _rebuilt(before: Any, now: Any) -> Any:
    """A container of the same class, where its class allows."""
    if is_dataclass(before) and not isinstance(before, dict):
        made = copy.copy(before)
        for name, value in now.items():
            object.__setattr__(made, name, value)  # it may be frozen
        return made
    if isinstance(before, dict):
        return now if type(before) is dict else _copied(before, now)
    if isinstance(before, tuple) and hasattr(before, "_fields"):
        return type(before)(*now)
    return type(before)(now) if type(before) in (tuple, list, torch.Size) else before


def _copied(before: dict[Any, Any], now: dict[Any, Any]) -> Any:
    before.update(now)
    return before
