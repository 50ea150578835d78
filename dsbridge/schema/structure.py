"""The nesting of a sample, taken apart into leaves and put together again.

Containers are dicts and other mappings, namedtuples, dataclass instances, tuples, and lists that hold
anything but plain scalars. Everything else is a leaf; so is a nested list of numbers or strings,
which is a vector that happens to be spelled as a list.

optree's ``flatten_up_to`` was measured and rejected: docs/decisions/001-structure.md.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Path = tuple[Any, ...]

_SCALARS = (int, float, bool, str, bytes)


class StructureMismatch(ValueError):
    """A sample is nested differently; ``path`` says where, ``expected`` and ``got`` how."""

    def __init__(self, path: Path, expected: str, got: str) -> None:
        self.path, self.expected, self.got = path, expected, got
        super().__init__(f"at {path}: expected {expected}, got {got}")


@dataclasses.dataclass(frozen=True, slots=True)
class Structure:
    """How one sample is nested: ``kind`` of container, its ``type``, ``keys`` and ``children``.

    A leaf has kind "leaf" and no children. Immutable, hashable if the keys are, picklable.

    >>> s = Structure.of({"image": 1, "meta": {"id": 2, "box": (3, 4)}})
    >>> s.paths
    (('image',), ('meta', 'id'), ('meta', 'box', 0), ('meta', 'box', 1))
    >>> leaves = s.flatten({"image": 5, "meta": {"id": 6, "box": (7, 8)}})
    >>> leaves
    [5, 6, 7, 8]
    >>> s.unflatten(leaves)
    {'image': 5, 'meta': {'id': 6, 'box': (7, 8)}}
    """

    kind: str
    type: type
    keys: tuple[Any, ...] = ()
    children: tuple[Structure, ...] = ()

    @classmethod
    def of(cls, sample: Any) -> Structure:
        """The structure of a sample. A list at the top is a container, as torch and MindSpore read it."""
        kind = container_kind(sample)
        if kind == "leaf" and isinstance(sample, list) and sample:
            kind = "list"
        return cls._build(sample, kind)

    @classmethod
    def _build(cls, node: Any, kind: str) -> Structure:
        if kind == "leaf":
            return LEAF
        keys, values = _OPEN[kind](node)
        children = tuple(cls._build(v, container_kind(v)) for v in values)
        return cls(kind, type(node), keys, children)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The path of each leaf: dict keys, field names and positions, from the outside in."""
        return tuple(self._walk(()))

    def _walk(self, prefix: Path) -> Iterator[Path]:
        if self.kind == "leaf":
            yield prefix
        for key, child in zip(self.keys, self.children, strict=True):
            yield from child._walk((*prefix, key))

    def flatten(self, sample: Any) -> list[Any]:
        """The leaves of a sample, in the order of ``paths``.

        Raises ``StructureMismatch`` if the sample is nested differently. Dicts may have their keys in any order.
        """
        leaves: list[Any] = []
        self._collect(sample, leaves, ())
        return leaves

    def _collect(self, node: Any, leaves: list[Any], path: Path) -> None:
        if self.kind == "leaf":
            leaves.append(node)
            return
        if type(node) is not self.type:
            raise StructureMismatch(path, self.type.__name__, type(node).__name__)
        values = _MATCH[self.kind](node, self.keys, path)
        for key, child, value in zip(self.keys, self.children, values, strict=True):
            if child.kind != "leaf":
                child._collect(value, leaves, (*path, key))
            elif isinstance(value, (dict, tuple)):  # cheap: other containers are caught by their dtype
                raise StructureMismatch((*path, key), "one value", type(value).__name__)
            else:
                leaves.append(value)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The nested sample that has these leaves; raises ValueError if there are too few or too many."""
        expected = len(self.paths)
        if len(leaves) != expected:
            raise ValueError(f"structure has {expected} leaves, got {len(leaves)}")
        return self._rebuild(iter(leaves))

    def _rebuild(self, leaves: Iterator[Any]) -> Any:
        if self.kind == "leaf":
            return next(leaves)
        values = [child._rebuild(leaves) for child in self.children]
        return _CLOSE[self.kind](self.type, self.keys, values)

    def __str__(self) -> str:
        if self.kind == "leaf":
            return "*"
        inner = ", ".join(f"{key}: {child}" for key, child in zip(self.keys, self.children, strict=True))
        return f"{self.type.__name__}({inner})"


LEAF = Structure("leaf", object)


def container_kind(node: Any) -> str:
    """Which container a value is, or "leaf".

    >>> [container_kind(v) for v in ({}, (1,), [1, 2], [(1,), 2], "x")]
    ['dict', 'tuple', 'leaf', 'list', 'leaf']
    """
    if isinstance(node, dict):
        return "dict"
    if isinstance(node, tuple):
        return "namedtuple" if hasattr(node, "_fields") else "tuple"
    if isinstance(node, list):
        return "leaf" if is_vector(node) else "list"
    if isinstance(node, Mapping):
        return "mapping"
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        return "dataclass"
    return "leaf"


def is_vector(node: list[Any]) -> bool:
    """Whether a list is a vector or matrix of plain scalars, spelled as a (nested) list.

    >>> is_vector([1, 2.5]), is_vector([[1, 2], [3, 4]]), is_vector([(1, 2)])
    (True, True, False)
    """
    return all(type(v) in _SCALARS or (type(v) is list and is_vector(v)) for v in node)


def _open_mapping(node: Mapping[Any, Any]) -> tuple[tuple[Any, ...], list[Any]]:
    return tuple(node), [node[key] for key in node]


def _open_sequence(node: Sequence[Any]) -> tuple[tuple[Any, ...], Sequence[Any]]:
    return tuple(range(len(node))), node


def _open_namedtuple(node: Any) -> tuple[tuple[Any, ...], Sequence[Any]]:
    return tuple(node._fields), node


def _open_dataclass(node: Any) -> tuple[tuple[Any, ...], list[Any]]:
    names = tuple(f.name for f in dataclasses.fields(node))
    return names, [getattr(node, name) for name in names]


def _match_mapping(node: Mapping[Any, Any], keys: tuple[Any, ...], path: Path) -> list[Any]:
    if len(node) == len(keys):
        try:
            return [node[key] for key in keys]
        except KeyError:
            pass
    raise StructureMismatch(path, f"keys {list(keys)}", describe_keys(node, keys))


def describe_keys(node: Mapping[Any, Any], keys: Sequence[Any]) -> str:
    """The keys a mapping has, and which are missing or extra.

    >>> describe_keys({"a": 1, "c": 2}, ["a", "b"])
    "keys ['a', 'c'], missing ['b'], extra ['c']"
    """
    missing = [key for key in keys if key not in node]
    extra = [key for key in node if key not in keys]
    notes = [f"{word} {found}" for word, found in (("missing", missing), ("extra", extra)) if found]
    return ", ".join([f"keys {list(node)}", *notes])


def _match_sequence(node: Sequence[Any], keys: tuple[Any, ...], path: Path) -> Sequence[Any]:
    if len(node) != len(keys):
        raise StructureMismatch(path, f"{len(keys)} values", f"{len(node)} values")
    return node


def _match_dataclass(node: Any, keys: tuple[Any, ...], path: Path) -> list[Any]:
    return [getattr(node, key) for key in keys]


def _close_mapping(cls: type, keys: tuple[Any, ...], values: list[Any]) -> Any:
    plain = dict(zip(keys, values, strict=True))
    if cls is dict:
        return plain
    try:
        return cls(plain)
    except TypeError:  # defaultdict and friends: no constructor that takes a mapping
        return plain


def _close_dataclass(cls: type, keys: tuple[Any, ...], values: list[Any]) -> Any:
    node: Any = object.__new__(cls)  # not cls(...): __post_init__ may expect what only the user's code had
    for key, value in zip(keys, values, strict=True):
        object.__setattr__(node, key, value)
    return node


_OPEN: dict[str, Callable[[Any], tuple[tuple[Any, ...], Sequence[Any]]]] = {
    "dict": _open_mapping,
    "mapping": _open_mapping,
    "tuple": _open_sequence,
    "list": _open_sequence,
    "namedtuple": _open_namedtuple,
    "dataclass": _open_dataclass,
}
_MATCH: dict[str, Callable[[Any, tuple[Any, ...], Path], Sequence[Any]]] = {
    "dict": _match_mapping,
    "mapping": _match_mapping,
    "tuple": _match_sequence,
    "list": _match_sequence,
    "namedtuple": _match_sequence,
    "dataclass": _match_dataclass,
}
_CLOSE: dict[str, Callable[[type, tuple[Any, ...], list[Any]], Any]] = {
    "dict": _close_mapping,
    "mapping": _close_mapping,
    "tuple": lambda cls, keys, values: cls(values),
    "list": lambda cls, keys, values: cls(values),
    "namedtuple": lambda cls, keys, values: cls(*values),
    "dataclass": _close_dataclass,
}


def map_leaves(fn: Callable[[Any, Path], Any], tree: Any, path: Path = ()) -> Any:
    """Apply ``fn(leaf, path)`` to every leaf of a batch and rebuild the nesting with the same types.

    Unlike ``Structure`` this makes no promise about later trees: it follows torch's rules for walking a
    batch (mappings, namedtuples, sequences; a str is a leaf), and dataclass instances besides. A container
    none of whose leaves changed is returned as it is, whatever its type.

    >>> map_leaves(lambda leaf, path: leaf * 2, {"a": 1, "b": [2, (3,)]})
    {'a': 2, 'b': [4, (6,)]}
    """
    kind = _walked_as(type(tree))  # type: ignore[arg-type]
    if kind == "leaf":
        return fn(tree, path)
    keys: Sequence[Any]
    old: Sequence[Any]
    if kind == "sequence":
        keys, old = getattr(tree, "_fields", range(len(tree))), tree
    else:
        keys, old = _OPEN[kind](tree)
    new = [map_leaves(fn, value, (*path, key)) for key, value in zip(keys, old, strict=True)]
    if all(map(operator.is_, new, old)):
        return tree
    if kind == "mapping":
        return rebuild_mapping(tree, dict(zip(keys, new, strict=True)))
    if kind == "dataclass":
        return rebuild_dataclass(tree, dict(zip(keys, new, strict=True)))
    if isinstance(tree, tuple):
        return type(tree)(*new) if hasattr(tree, "_fields") else tuple(new)
    return rebuild_sequence(tree, new)


@functools.cache
def _walked_as(cls: type) -> str:
    if issubclass(cls, (str, bytes, bytearray)):
        return "leaf"
    if issubclass(cls, Mapping):
        return "mapping"
    if issubclass(cls, Sequence):
        return "sequence"
    return "dataclass" if dataclasses.is_dataclass(cls) else "leaf"


def rebuild_mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the same type and extra attributes as ``like``, else a dict (torch's rule).

    >>> from collections import OrderedDict
    >>> type(rebuild_mapping(OrderedDict(a=1), {"a": 2})).__name__
    'OrderedDict'
    """
    if type(like) is dict:
        return values
    try:
        if hasattr(like, "update") and hasattr(like, "__setitem__"):
            clone = copy.copy(like)
            clone.update(values)
            return clone
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def rebuild_sequence(like: Sequence[Any], values: list[Any]) -> Any:
    """A sequence of the same type and extra attributes as ``like``, else a list (torch's rule).

    >>> rebuild_sequence(range(2), [5, 6])
    [5, 6]
    """
    if type(like) is list:
        return values
    try:
        if hasattr(like, "__setitem__"):
            clone = copy.copy(like)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(like)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def rebuild_dataclass(like: Any, values: dict[str, Any]) -> Any:
    """A copy of a dataclass instance with other field values; ``__init__`` is not run again.

    >>> @dataclasses.dataclass
    ... class Pair:
    ...     a: int
    ...     b: int
    >>> rebuild_dataclass(Pair(1, 2), {"a": 3, "b": 4})
    Pair(a=3, b=4)
    """
    clone = copy.copy(like)
    for key, value in values.items():
        object.__setattr__(clone, key, value)
    return clone
