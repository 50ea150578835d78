"""Structure and map_leaves: any nesting taken apart and put together again."""

from __future__ import annotations

import dataclasses
import pickle
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbridge.schema.structure import LEAF, Structure, StructureMismatch, map_leaves

Pair = namedtuple("Pair", ["first", "second"])
settings.register_profile("schema", max_examples=60, deadline=None, database=None, derandomize=True)
settings.load_profile("schema")


@dataclasses.dataclass
class Item:
    """A dataclass in a sample."""

    image: Any
    meta: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    """One that cannot be written to, and checks what it is made of."""

    value: Any
    kind: str = dataclasses.field(init=False, default="set")

    def __post_init__(self) -> None:
        assert self.value is not None


LEAVES = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(max_size=3), st.binary(max_size=3))
VECTORS = st.lists(st.integers(), min_size=1, max_size=3)
KEYS = st.one_of(st.text(max_size=4), st.integers(0, 9))


def _containers(inner: Any) -> Any:
    return st.one_of(
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict),
        st.dictionaries(KEYS, inner, max_size=3).map(UserDict),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, min_size=1, max_size=3),
        st.builds(Pair, inner, inner),
        st.builds(Item, inner, inner),
        st.builds(Frozen, inner),
    )


SAMPLES = st.recursive(st.one_of(LEAVES, VECTORS), _containers, max_leaves=12)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b and repr(a) == repr(b)


@given(SAMPLES)
def test_round_trip(sample: Any) -> None:
    """A sample taken apart and put together is the same, with the same types and order of keys."""
    structure = Structure.of(sample)
    leaves = structure.flatten(sample)
    assert len(leaves) == len(structure.paths) == len(set(structure.paths))
    assert _same(structure.unflatten(leaves), sample)


@given(SAMPLES)
def test_structure_is_a_value(sample: Any) -> None:
    """A structure equals that of an equal sample, is hashable and survives pickling."""
    structure = Structure.of(sample)
    assert structure == Structure.of(sample) == pickle.loads(pickle.dumps(structure))
    assert hash(structure) == hash(Structure.of(sample))


@given(SAMPLES)
def test_paths_lead_to_the_leaves(sample: Any) -> None:
    """Following a path from the outside in ends at its leaf."""
    structure = Structure.of(sample)
    for path, leaf in zip(structure.paths, structure.flatten(sample), strict=True):
        node = sample
        for step in path:
            node = getattr(node, step) if isinstance(step, str) and hasattr(node, step) else node[step]
        assert node is leaf


@given(SAMPLES)
def test_wrong_number_of_leaves(sample: Any) -> None:
    """Too few or too many leaves are an error."""
    structure = Structure.of(sample)
    leaves = structure.flatten(sample)
    for wrong in ([*leaves, 1], leaves[1:]):
        if len(wrong) != len(leaves):
            with pytest.raises(ValueError, match="leaves"):
                structure.unflatten(wrong)


@pytest.mark.parametrize(
    ("first", "other", "path"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ()),
        ({"a": 1, "b": 2}, {"a": 1}, ()),
        ({"a": 1}, {"b": 1}, ()),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, ("a",)),
        ((1, 2), (1, 2, 3), ()),
        ((1, 2), [1, 2], ()),
        ((1, (2, 3)), (1, 2), (1,)),
        ((1, 2), (1, (2, 3)), (1,)),
        ((1, 2), (1, {"a": 2}), (1,)),
        (Pair(1, 2), (1, 2), ()),
        (Item(1, 2), {"image": 1, "meta": 2}, ()),
        (OrderedDict(a=1), {"a": 1}, ()),
    ],
)
def test_mismatch(first: Any, other: Any, path: Any) -> None:
    """A sample that is nested differently is an error that says where."""
    with pytest.raises(StructureMismatch) as caught:
        Structure.of(first).flatten(other)
    assert caught.value.path == path
    assert caught.value.expected != caught.value.got


def test_keys_in_any_order() -> None:
    """The order of a dict's keys is that of the first sample."""
    structure = Structure.of({"a": 1, "b": {"c": 2, "d": 3}})
    assert structure.flatten({"b": {"d": 6, "c": 5}, "a": 4}) == [4, 5, 6]


@pytest.mark.parametrize("leaf", [3, None, "text", b"b", np.ones(2), [1, 2], [[1.5], [2]], Item])
def test_leaves(leaf: Any) -> None:
    """Values, vectors spelled as lists inside a sample, and classes are leaves."""
    structure = Structure.of((leaf,))
    assert structure.children == (LEAF,)
    assert structure.flatten((leaf,))[0] is leaf


def test_a_list_at_the_top_is_a_container() -> None:
    """A sample that is a list has as many columns as values."""
    assert Structure.of([1, 2]).paths == ((0,), (1,))
    assert str(Structure.of({"a": [1, 2], "b": (3,)})) == "dict(a: *, b: tuple(0: *))"


@given(SAMPLES)
def test_map_leaves_without_change(sample: Any) -> None:
    """If no leaf changes, the very same object comes back."""
    assert map_leaves(lambda leaf, path: leaf, sample) is sample


@given(SAMPLES)
def test_map_leaves_keeps_types(sample: Any) -> None:
    """Changed and changed back, a tree is the same with the same types; the original was never touched."""
    before = repr(sample)
    boxed = map_leaves(lambda leaf, path: [_Boxed(leaf)], sample)
    assert repr(sample) == before
    assert _same(map_leaves(lambda leaf, path: leaf.leaf if isinstance(leaf, _Boxed) else leaf, _unlisted(boxed)), sample)


class _Boxed:
    """Stands for a leaf of another kind."""

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf


def _unlisted(tree: Any) -> Any:
    """Take each box out of its list of one."""
    if isinstance(tree, list) and len(tree) == 1 and isinstance(tree[0], _Boxed):
        return tree[0]
    if isinstance(tree, (dict, UserDict)):
        return type(tree)({key: _unlisted(value) for key, value in tree.items()})
    if isinstance(tree, tuple):
        return type(tree)(*map(_unlisted, tree)) if hasattr(tree, "_fields") else tuple(map(_unlisted, tree))
    if isinstance(tree, list):
        return [_unlisted(value) for value in tree]
    clone = object.__new__(type(tree))
    for field in dataclasses.fields(tree):
        object.__setattr__(clone, field.name, _unlisted(getattr(tree, field.name)))
    return clone


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (defaultdict(list, a=1), defaultdict(list, a=2)),
        (deque([1, 2]), deque([2, 4])),
        (MappingProxyType({"a": 1}), MappingProxyType({"a": 2})),
        (range(2), [0, 2]),
        (Pair(1, (2, [3])), Pair(2, (4, [6]))),
        (Item(1, {"a": 2}), Item(2, {"a": 4})),
        ([], []),
        ("ab", "abab"),
    ],
)
def test_map_leaves_by_torchs_rules(tree: Any, expected: Any) -> None:
    """Containers are rebuilt as torch rebuilds them: their own type where it allows it, text is a leaf."""
    got = map_leaves(lambda leaf, path: leaf * 2, tree)
    assert got == expected
    assert type(got) is type(expected)


def test_map_leaves_gives_paths() -> None:
    """The function is told where each leaf is."""
    seen = []
    map_leaves(lambda leaf, path: seen.append((path, leaf)), {"a": (1, Pair(2, 3)), "b": Item(4, [5])})
    assert seen == [(("a", 0), 1), (("a", 1, "first"), 2), (("a", 1, "second"), 3), (("b", "image"), 4), (("b", "meta", 0), 5)]
