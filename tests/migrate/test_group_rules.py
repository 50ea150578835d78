"""A rule for a group is exact, whatever the names, or there is none."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from dsbridge.migrate.rules import MOST, rule

NAMES = [
    f"{block}.{layer}.{what}" for block in ("a", "b.0", "b.1", "ab") for layer in ("fc", "norm") for what in ("w", "w2", "b")
]
NAMES += ["w", "fc.w", "a", "b"]
AXES = {name: 1 if name.endswith("b") or "norm" in name else 2 for name in NAMES}


def holds(condition: str, name: str, ndim: int) -> bool:
    return bool(eval(condition, {"p": SimpleNamespace(name=name, ndim=ndim)}))


@pytest.mark.parametrize("seed", range(200))
def test_a_rule_is_true_for_all_members_and_for_no_other(seed: int) -> None:
    rng = random.Random(seed)
    names = rng.sample(NAMES, rng.randint(2, len(NAMES)))
    kinds = [lambda name: rng.random() < 0.5, lambda name: AXES[name] < 2, lambda name: name.startswith("b.")]
    kinds += [lambda name: AXES[name] >= 2 and name.startswith("a"), lambda name: AXES[name] < 2 or name.endswith("fc.w")]
    chosen = rng.choice(kinds)
    members = {name: AXES[name] for name in names if chosen(name)} or {names[0]: AXES[names[0]]}
    others = {name: AXES[name] for name in names if name not in members}
    found = rule(members, others)
    if found is not None:
        assert all(holds(found, *one) for one in members.items()), found
        assert not any(holds(found, *one) for one in others.items()), found
        assert found.count('"') <= 2 * MOST


@pytest.mark.parametrize(
    ("members", "others", "wanted"),
    [
        ({"a.w": 2}, {}, "True"),
        ({"a.w": 2, "b.w": 4}, {"a.b": 1}, "p.ndim >= 2"),
        ({"a.b": 1, "token": 3}, {"a.w": 2, "b.w": 2}, 'not p.name.endswith(".w")'),
        ({"a.b": 1, "a.c": 1, "a.d": 1, "a.pos": 3}, {"a.w": 2, "b.w": 2, "b.v": 2}, 'p.ndim < 2 or p.name.endswith(".pos")'),
        ({"a.w": 2, "b.w": 2}, {"a.b": 1, "token": 3}, 'p.name.endswith(".w")'),
        ({"head.w": 2}, {"head.b": 1, "a.w": 2, "b.w": 2}, 'p.name.endswith("head.w")'),
        ({"a.w": 2, "a.v": 2}, {"a.b": 1, "b.w": 2, "b.v": 2}, 'p.ndim >= 2 and p.name.startswith("a.")'),
        ({"w": 2}, {"w2": 2, "a.w": 2}, 'not p.name.endswith(("w2", ".w"))'),
        ({"a": 2, "c": 2}, {"ab": 2, "b": 2, "ca": 2, "d": 2, "e": 2, "fa": 2, "gc": 2}, None),
    ],
)
def test_the_shortest_rule_is_taken(members: dict[str, int], others: dict[str, int], wanted: str | None) -> None:
    assert rule(members, others) == wanted
