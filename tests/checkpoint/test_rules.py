"""Rule files: patterns, the schema, and the round trip through TOML."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbridge.checkpoint.ops import Cast, Concat, Const, Drop, ExpandDims, FoldWeightNorm, Permute, Split, Stack
from dsbridge.checkpoint.rules import Rule, RuleSet, fill
from dsbridge.errors import CheckpointError, MissingDependencyError

tomllib = pytest.importorskip("tomllib")


@pytest.mark.parametrize(
    ("pattern", "name", "bound"),
    [
        ("a.{i}.w", "a.3.w", {"i": "3"}),
        ("a.{i}.w", "a.3.4.w", None),
        ("a.{i*}.w", "a.3.4.w", {"i": "3.4"}),
        ("{p*}.w", "a.w", {"p": "a"}),
        ("{i}.{i}.w", "1.1.w", {"i": "1"}),
        ("{i}.{i}.w", "1.2.w", None),
        ("a+b.w", "a+b.w", {}),
        ("a.w", "axw", None),
    ],
)
def test_patterns(pattern: str, name: str, bound: dict[str, str] | None) -> None:
    assert Rule((pattern,), ("x",)).bind(name) == bound


def test_holes_are_filled_and_counted() -> None:
    assert fill("layers.{i+1}.{j}.{p*}", {"i": "9", "j": "0", "p": "a.b"}) == "layers.10.0.a.b"
    with pytest.raises(CheckpointError, match="{i} is 'x', expected a number"):
        fill("layers.{i-1}", {"i": "x"})


OPERATIONS = (
    Split(0, 3),
    Split(-1, (1, 2)),
    Concat(1),
    Stack(0),
    ExpandDims((2,)),
    Permute((1, 0)),
    Cast("float32", "bfloat16"),
    FoldWeightNorm(),
    Const(0.1, (2,), "float32"),
    Const(float("inf"), (), "float64"),
    Const(b"\x00\xff", (2,), "uint8"),
    Drop(),
)
NAMES = st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    rules=st.lists(
        st.builds(
            Rule,
            st.lists(NAMES, min_size=1, max_size=3).map(tuple),
            st.lists(NAMES, max_size=3).map(tuple),
            st.lists(st.sampled_from(OPERATIONS), max_size=3).map(tuple),
            st.booleans(),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        ),
        max_size=4,
    )
)
def test_round_trip_through_toml(rules: list[Rule]) -> None:
    again = RuleSet.from_dict(tomllib.loads(RuleSet(tuple(rules)).text()))
    assert again.rules == tuple(rules)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    rules = RuleSet((Rule(("b.{i}.qkv",), ("b.{i}.q", "b.{i}.k", "b.{i}.v"), (Split(0, 3),)), Rule((), ("b.{i}.index",))))
    rules.to_toml(path)
    assert RuleSet.of(path).rules == RuleSet.of(str(path)).rules == rules.rules
    assert RuleSet.of("auto").rules == ()
    assert RuleSet.of(rules) is rules
    with pytest.raises(CheckpointError, match="cannot read the rules in .*nothing.toml"):
        RuleSet.of(tmp_path / "nothing.toml")
    path.write_text("version = 1\n[[rule]\n")
    with pytest.raises(CheckpointError, match="cannot read the rules"):
        RuleSet.of(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match="cannot read the rules"):
        RuleSet.of(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rule": []}, "version None, expected 1"),
        ({"version": 1, "rules": []}, "unknown keys rules"),
        ({"version": 1, "rule": {}}, "'rule' is a dict"),
        ({"version": 1, "rule": ["a"]}, "rule 1: a str, expected a table"),
        ({"version": 1, "rule": [{"source": "a", "target": "b"}, {"sorce": "a"}]}, "rule 2: unknown keys sorce"),
        ({"version": 1, "rule": [{}]}, "neither source nor target"),
        ({"version": 1, "rule": [{"source": 3}]}, "expected a name or a list of names"),
        ({"version": 1, "rule": [{"source": "a.{i}", "target": "b.{j}"}]}, "j is not in 'a.{i}'"),
        ({"version": 1, "rule": [{"source": "a.{i+1}", "target": "b"}]}, "cannot count"),
        ({"version": 1, "rule": [{"source": "a.{i", "target": "b"}]}, "braces that are no hole"),
        ({"version": 1, "rule": [{"source": "a", "target": "b", "guessed": "yes"}]}, "guessed is true or false"),
        ({"version": 1, "rule": [{"source": "a", "target": "b", "operations": "split"}]}, "expected a list of tables"),
        ({"version": 1, "rule": [{"source": "a", "operations": [{"name": "flip"}]}]}, "no operation {'name': 'flip'}"),
        ({"version": 1, "rule": [{"source": "a", "operations": ["split"]}]}, "no operation 'split'"),
        ({"version": 1, "rule": [{"source": "a", "operations": [{"name": "split", "axs": 0}]}]}, "does not take"),
        ({"version": 1, "rule": [{"source": "a", "operations": [{"name": "concat", "axis": "0"}]}]}, "expected integers"),
        ({"version": 1, "rule": [{"source": "a", "operations": [{"name": "permute", "axes": 1}]}]}, "expected a list"),
        ({"version": 1, "rule": [{"source": "a", "operations": [{"name": "concat", "axis": [0]}]}]}, "expected one integer"),
        (
            {"version": 1, "rule": [{"source": "a", "operations": [{"name": "cast", "dtype": "f23", "source": "float32"}]}]},
            "unknown dtype 'f23'",
        ),
        (
            {
                "version": 1,
                "rule": [{"target": "a", "operations": [{"name": "const", "value": "xy", "shape": [], "dtype": "bool"}]}],
            },
            "does not take",
        ),
    ],
)
def test_schema(data: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)):
        RuleSet.from_dict(data)


def test_python_310_without_tomli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    RuleSet.of({"a": "b"}).to_toml(path)
    real = importlib.import_module

    def absent(name: str) -> Any:
        if name in ("tomllib", "tomli"):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr("dsbridge.checkpoint.rules.importlib.import_module", absent)
    with pytest.raises(MissingDependencyError, match="pip install tomli"):
        RuleSet.of(path)
