"""All rules, and the index by which a use finds its own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import cache

from dsbridge.migrate.inspect.rules.rule import Rule
from dsbridge.migrate.inspect.use import Use

MODULES = (
    "files",
    "imports",
    "data",
    "transforms",
    "losses",
    "models",
    "functions",
    "control_flow",
    "optimizers",
    "schedulers",
    "training",
    "precision",
    "distributed",
    "devices",
    "checkpoints",
    "compilation",
    "others",
)
"""In the order in which rules of one key are tried."""


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, by its id.

    >>> rules()[0].id
    'MIG001'
    """
    return tuple(sorted(_in_order(), key=lambda rule: rule.id))


@cache
def index() -> Mapping[str, tuple[Rule, ...]]:
    """The rules for each key, in the order in which they are tried.

    >>> [rule.id for rule in index()["torch.save"]]
    ['MIG802', 'MIG801']
    """
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in _in_order():
        for key in rule.on:
            found[key] = (*found.get(key, ()), rule)
    return found


_PACKAGE = re.compile(r"(?:import \* |import |class )?([A-Za-z]\w*)(?:[.(]|$)")
_PYTHONS = ("os", "random", "numpy", "importlib")  # on their own they say nothing of torch


@cache
def packages() -> frozenset[str]:
    """The packages that rules are about: a file that mentions none of them has no row.

    >>> {"torch", "timm", "albumentations"} <= packages(), "numpy" in packages()
    (True, False)
    """
    named = {
        found[1] for key in index() if " " not in key or key.startswith(("import ", "class ")) if (found := _PACKAGE.match(key))
    }
    return frozenset(named - {*_PYTHONS, "annotation", "condition", "cell", "notebook", "ignore"})


def find(use: Use) -> tuple[Rule, str] | None:
    """The rule about a use, and its detail; None where no rule is."""
    for key in use.keys:
        for rule in index().get(key, ()):
            verdict = rule.verdict(use)
            if verdict:
                return rule, verdict if isinstance(verdict, str) else use.detail
    return None


def _in_order() -> list[Rule]:
    return [rule for name in MODULES for rule in importlib.import_module(f"dsbridge.migrate.inspect.rules.{name}").RULES]
