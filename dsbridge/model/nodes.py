"""What a recording consists of: nodes, each a value that a forward computes, and the numbers that remember theirs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dsbridge.model.asking import RANDOM

INPUT, CALL, MODULE, STATE, ITEM, SIZE, NUMBER, ARITHMETIC = (
    "input", "call", "module", "state", "item", "size", "number", "arithmetic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's code something happened; ``step`` tells executions of one statement from each other."""

    file: str = ""
    line: int = 0
    statement: int = 0  # its first line
    step: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else "an unknown place"


@dataclass(eq=False, slots=True)
class Node:
    """One value. ``target``: the function's name, the module's path, the argument's name, the state's path, the index.

    ``args`` and ``kwargs`` hold nodes, plain values and containers of both. ``value`` is what a number was; ``shape`` and
    ``dtype`` (torch's) what a tensor was. ``hint``: what the source calls it;
    ``position``: of what a module returned, the place in its tuple, which holds more than tensors (-1: its index).

    >>> Node(INPUT, "x", shape=(2, 3)).ndim
    2
    """

    op: str
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    place: Place = Place()
    hint: str = ""
    value: Any = None
    shape: tuple[int, ...] | None = None
    dtype: Any = None
    version: int = 0
    position: int = -1

    @property
    def ndim(self) -> int:
        """The rank of a tensor."""
        assert self.shape is not None, f"{self.target} is no tensor"
        return len(self.shape)

    @property
    def is_origin(self) -> bool:
        """Whether it belongs to one forward; numbers are written out wherever they are read."""
        return self.op in (INPUT, MODULE) or (self.op == CALL and self.target != "numel")

    def inputs(self) -> Iterator[Node]:
        """The nodes it is computed from, with repetitions."""
        yield from nodes_in(self.args)
        yield from nodes_in(self.kwargs)


def nodes_in(value: Any) -> Iterator[Node]:
    """All nodes in nested containers, slices included.

    >>> len(list(nodes_in([Node(INPUT, "x"), {"y": (Node(INPUT, "y"), 1)}])))
    2
    """
    if isinstance(value, Node):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from nodes_in(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from nodes_in(one)
    elif isinstance(value, slice):
        yield from nodes_in((value.start, value.stop, value.step))


def closure(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes, and all that they are computed from, each once."""
    seen: set[int] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += node.inputs()


def fixed(node: Node) -> bool:
    """Whether a value hangs on sizes and settings only: on no input, no state, nothing random.

    >>> fixed(Node(CALL, "ones", (Node(SIZE, 0, (Node(INPUT, "x"),)),))), fixed(Node(CALL, "rand", (3,)))
    (True, False)
    """
    if node.op in (CALL, ITEM, ARITHMETIC):
        return node.target not in RANDOM and all(map(fixed, node.inputs()))
    return node.op in (SIZE, NUMBER)


def plain(value: Any) -> Any:
    """The value itself, without memory of where it came from: for conditions, and where a number must be written out.

    >>> plain(Node(NUMBER, ("", "heads"), value=4)), plain([TracedInt(3, None), 2])
    (4, [3, 2])
    """
    if isinstance(value, Node):
        return value.value
    if isinstance(value, TracedInt):
        return int(value)
    if isinstance(value, TracedFloat):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, slice):
        return slice(plain(value.start), plain(value.stop), plain(value.step))
    if type(value) in (tuple, list):
        return type(value)(map(plain, value))
    if isinstance(value, tuple) and not hasattr(value, "_fields"):  # torch.Size
        return tuple(map(plain, value))
    return value


class TracedInt(int):
    """A whole number that a recording can tell the origin of: a size, an attribute, or computed from these.

    >>> width = TracedInt(6, Node(SIZE, 2)); half = width // 2
    >>> half, half.node.target, width > 5
    (3, '//', True)
    """

    node: Any

    def __new__(cls, value: int, node: Any) -> TracedInt:
        """``node``: of what it came from."""
        made = super().__new__(cls, value)
        made.node = node
        return made

    def __reduce__(self) -> Any:
        return int, (int(self),)

    def __deepcopy__(self, memo: Any) -> int:
        return int(self)


class TracedFloat(float):
    """The same for floating-point numbers.

    >>> (TracedInt(4, None) ** -0.5).node.target
    '**'
    """

    node: Any

    def __new__(cls, value: float, node: Any) -> TracedFloat:
        """``node``: of what it came from."""
        made = super().__new__(cls, value)
        made.node = node
        return made

    def __reduce__(self) -> Any:
        return float, (float(self),)

    def __deepcopy__(self, memo: Any) -> float:
        return float(self)


def traced(value: Any, node: Node) -> Any:
    """A number with its node; other values (and bools, which cannot remember) as they are."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return TracedInt(value, node)
    return TracedFloat(value, node) if isinstance(value, float) else value


def _method(symbol: str, compute: Callable[..., Any], reflected: bool) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        if type(other) not in (int, float, TracedInt, TracedFloat):
            return NotImplemented
        operands = (other, self) if reflected else (self, other)
        value = compute(*map(plain, operands))
        args = tuple(getattr(one, "node", one) for one in operands)
        return traced(value, Node(ARITHMETIC, symbol, args, value=value))

    return method


def _negative(self: Any) -> Any:
    value = -plain(self)
    return traced(value, Node(ARITHMETIC, "neg", (self.node,), value=value))


for _cls in (TracedInt, TracedFloat):
    for _name, _symbol, _compute in (
        ("add", "+", operator.add), ("sub", "-", operator.sub), ("mul", "*", operator.mul), ("mod", "%", operator.mod),
        ("floordiv", "//", operator.floordiv), ("truediv", "/", operator.truediv), ("pow", "**", operator.pow),
    ):  # fmt: skip
        setattr(_cls, f"__{_name}__", _method(_symbol, _compute, False))
        setattr(_cls, f"__r{_name}__", _method(_symbol, _compute, True))
    _cls.__neg__ = _negative  # type: ignore[method-assign]
