"""Every rule fires on its example, and not on code that comes near to it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from snippets import PRELUDE, SILENT

from dsbridge.migrate.inspect import inspect
from dsbridge.migrate.inspect import tables as tables_of
from dsbridge.migrate.inspect.opened import opened
from dsbridge.migrate.inspect.rules.registry import MODULES, index, rules
from dsbridge.migrate.inspect.rules.rule import FAMILIES, Rule
from dsbridge.model.construct import Construct, Refused
from dsbridge.model.functions.registry import FUNCTIONS
from dsbridge.model.layers.registry import LAYERS

ROOT = Path(__file__).parents[2]
CODE = [rule for rule in rules() if rule.family != "files"]
FIRST = PRELUDE.count("\n") + 1


@pytest.fixture(autouse=True)
def tables_with_some_losses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A loss in the table of layers, one that calls a function in the table, one that is refused, whatever there is today."""
    tables_of.tables()

    def refuse() -> None:
        raise Refused("a loss that is refused")

    monkeypatch.setitem(LAYERS, torch.nn.CrossEntropyLoss, lambda module, seen: Construct("nn.CrossEntropyLoss"))
    for opened_one in (torch.nn.CTCLoss, torch.nn.KLDivLoss):
        monkeypatch.delitem(LAYERS, opened_one, raising=False)
    monkeypatch.setitem(FUNCTIONS, "cross_entropy", lambda output, target: None)
    monkeypatch.setitem(FUNCTIONS, "kl_div", lambda output, target: None)
    monkeypatch.setitem(FUNCTIONS, "ctc_loss", refuse)
    for cached in (tables_of.tables, opened):
        cached.cache_clear()
    yield
    for cached in (tables_of.tables, opened):
        cached.cache_clear()


def fired(code: str, folder: Path) -> list[str]:
    """The rules that fire on lines of the code, which stands behind the prelude."""
    path = folder / "code.py"
    path.write_text(f"{PRELUDE}{code}\n")
    report = inspect(path)
    assert not [row for row in report.rows if row.family == "files"], str(report)
    return [row.rule for row in report.rows if row.line >= FIRST]


@pytest.mark.parametrize("rule", CODE, ids=lambda rule: rule.id)
def test_a_rule_fires_on_its_example(rule: Rule, tmp_path: Path) -> None:
    """The example stands on the page of rules, too."""
    assert rule.id in fired(rule.example, tmp_path)


@pytest.mark.parametrize("rule", CODE, ids=lambda rule: rule.id)
def test_a_rule_keeps_quiet_on_what_comes_near(rule: Rule, tmp_path: Path) -> None:
    """One snippet a rule."""
    assert rule.id not in fired(SILENT[rule.id], tmp_path)


def test_every_rule_has_a_snippet_on_which_it_is_quiet() -> None:
    """And no snippet is for a rule that is gone."""
    assert {rule.id for rule in CODE} == set(SILENT)


def test_ids_are_in_order_and_belong_to_their_family() -> None:
    """Three digits, none twice; a family has numbers of its own."""
    ids = [rule.id for rule in rules()]
    assert ids == sorted(set(ids))
    fifties: dict[int, set[str]] = {}
    for rule in rules():
        fifties.setdefault(int(rule.id[3:]) // 50, set()).add(rule.family)
    assert all(len(families) == 1 for families in fifties.values()), fifties
    assert {rule.family for rule in rules()} == set(FAMILIES)
    assert len(MODULES) == len(set(MODULES))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_a_rule_says_all_that_it_has_to(rule: Rule) -> None:
    """Message, replacement, a page that is there; no key twice."""
    assert rule.message and rule.replacement and rule.example
    assert (ROOT / rule.link).is_file()
    assert len(set(rule.on)) == len(rule.on)
    assert "{" not in rule.message.replace("{detail}", "")


def test_every_key_has_a_rule_without_condition_last_or_none_at_all() -> None:
    """A rule that no use can reach would be dead: of one key, only the last may be without a condition."""
    for key, several in index().items():
        assert all(rule.when is not None for rule in several[:-1]), (key, [rule.id for rule in several])


def test_methods_that_read_values_are_those_that_the_recorder_refuses() -> None:
    """Rule MIG352 by name."""
    from dsbridge.model.asking import READING

    rule = next(rule for rule in rules() if rule.id == "MIG352")
    named = {key.strip(".()").rpartition(".")[2] for key in rule.on}
    assert named == {name for name in READING if not name.startswith("__")}


def named(pattern: str) -> list[str]:
    """Names of a package in what rules advise."""
    return sorted({found for rule in rules() for found in re.findall(pattern, f"{rule.message} {rule.replacement}")})


@pytest.mark.parametrize("name", named(r"\bmindspore(?:\.\w+)+"))
def test_what_rules_advise_exists_in_mindspore(name: str) -> None:
    """Functions, classes, modules."""
    assert exists(importlib.import_module("mindspore"), name)


@pytest.mark.parametrize("name", [name for name in named(r"\bdsb(?:\.\w+)+") if not name.startswith("dsb.migrate.")])
def test_what_rules_advise_exists_in_dsbridge(name: str) -> None:
    """What dsb.migrate has is tested where it is."""
    assert exists(importlib.import_module("dsbridge"), name)


def exists(found: object, name: str) -> bool:
    """Whether a dotted name leads somewhere; modules that nobody has imported yet included."""
    module = found.__name__  # type: ignore[attr-defined]
    for part in name.split(".")[1:]:
        module = f"{module}.{part}"
        if not hasattr(found, part):
            try:
                found = importlib.import_module(module)
            except ImportError:
                return False
        else:
            found = getattr(found, part)
    return True
