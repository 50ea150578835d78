"""torch's functions and the methods of tensors, by the table of functions."""

from __future__ import annotations

from functools import partial

import libcst as cst

from dsbridge.migrate.inspect import kinds
from dsbridge.migrate.inspect.rules.conditions import data, forward
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.tables import NO_ENTRY, tables
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="models", page="reference/models.md")
_ON = ("torch.nn.functional.*", "torch.linalg.*", "torch.special.*", "torch.fft.*", "torch.Tensor.*", "torch.*")
_PYTHONS = frozenset(name for kind in (str, dict, list, set, int, float) for name in dir(kind))
_FORWARD = "class Net(nn.Module):\n    def forward(self, x):\n        return "


def _in_data(use: Use) -> bool:
    return data(use) and tables().function(use.name) is not None


def _known(use: Use) -> bool:
    return tables().function(use.name) == ""


def _refused(use: Use) -> str | bool:
    """Refused by its entry, whatever it is given."""
    why = tables().function(use.name)
    return forward(use) and why not in (None, "", NO_ENTRY) and str(why)


def _unknown(use: Use) -> str | bool:
    return tables().function(use.name) or False


def _method(use: Use) -> str | None:
    """Why a method in forward is not converted; None for one that is no tensor's, or may be a string's or a dict's."""
    if use.call is None or not isinstance(use.call.func, cst.Attribute):
        return None
    name, kind = use.call.func.attr.value, use.kind(use.call.func.value)
    if kind not in ("", kinds.TENSOR) or (name in _PYTHONS and kind != kinds.TENSOR):
        return None
    return tables().method(name)


def _method_known(use: Use) -> bool:
    return _method(use) == ""


def _method_unknown(use: Use) -> str | bool:
    return _method(use) or False


RULES = (
    _rule(
        "MIG308",
        FINE,
        _ON,
        "belongs to the data, which stays torch's",
        "nothing to do",
        "class Images(torch.utils.data.Dataset):\n    def __getitem__(self, index):\n        return torch.nonzero(self.x)",
        _in_data,
        page="guide/wrap.md",
    ),
    _rule("MIG305", FINE, _ON, "is in the table", "dsb.model.convert(model, inputs)", "torch.relu(x)", _known),
    _rule(
        "MIG307",
        UNSUPPORTED,
        _ON,
        "inside of a model is refused: {detail}",
        "take it out of forward, and pass its result in",
        f"{_FORWARD}x * torch.randint(2, (3,))",
        _refused,
    ),
    _rule(
        "MIG306",
        ATTENTION,
        _ON,
        "is not converted: {detail}",
        "in a model: dsb.model.register(name, function=...); elsewhere it is for you to write in mindspore.ops",
        "torch.nonzero(x)",
        _unknown,
    ),
    _rule(
        "MIG309",
        FINE,
        (".*()",),
        "is a tensor's method in the table",
        "dsb.model.convert(model, inputs)",
        f"{_FORWARD}x.flatten(1)",
        _method_known,
    ),
    _rule(
        "MIG310",
        ATTENTION,
        (".*()",),
        "in a model is not converted: {detail}",
        "dsb.model.register(name, function=...)",
        f"{_FORWARD}x.logdet()",
        _method_unknown,
    ),
)
