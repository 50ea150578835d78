"""What is left: names that no other rule knows. Tried last."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from dsbridge.migrate.inspect.rules.rule import ATTENTION, Rule
from dsbridge.migrate.inspect.tables import tables
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="imports", page="guide/migrating.md")


def _whole(use: Use) -> bool:
    """``getattr(torch.nn, name)``, ``torchvision.models.__dict__[name]``."""
    return use.name == "torch" or use.name.endswith(".__dict__") or isinstance(tables().live(use.name), ModuleType)


RULES = (
    _rule(
        "MIG112",
        ATTENTION,
        ("torch", "torch.*", "torchvision.*", "timm.*"),
        "is handed on whole: what is taken from it is not seen here",
        "name what you take: torch.nn.ReLU",
        "getattr(torch, name)",
        _whole,
    ),
    _rule(
        "MIG111",
        ATTENTION,
        ("torch.*", "torchvision.*", "lightning.*", "timm.*"),
        "is known to no rule",
        "look it up; dsb.model.convert says what it makes of a model",
        "torch.get_num_threads()",
    ),
)
