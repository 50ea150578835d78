"""Conditions that several rules share."""

from __future__ import annotations

import libcst as cst

from dsbridge.migrate.inspect.kinds import OPTIMIZER, made_by
from dsbridge.migrate.inspect.rules.rule import When
from dsbridge.migrate.inspect.use import Use
from dsbridge.migrate.inspect.walk import dotted, text_of

_PARAMETERS = ("weight", "bias", "grad", "param", "parameter", "p")


def forward(use: Use) -> bool:
    """In what runs when a module is called."""
    return use.inside.forward


def outside(use: Use) -> bool:
    """Not in what runs when a module is called."""
    return not use.inside.forward


def data(use: Use) -> bool:
    """In a dataset, a sampler or a collate function."""
    return use.inside.data


def in_optimizer(use: Use) -> bool:
    """In an optimizer of the user's own, of which one row says that it is not seen."""
    return any(made_by(root) == OPTIMIZER for root in use.inside.roots)


def of_parameter(use: Use) -> bool:
    """An attribute of ``p``, ``layer.weight``, ``p.grad`` and the like."""
    named = dotted(use.node.value).rpartition(".")[2] if isinstance(use.node, cst.Attribute) else ""
    return named in _PARAMETERS


def is_call(use: Use) -> bool:
    """Called, not only named."""
    return use.call is not None


def given(use: Use) -> bool:
    """An argument, or an assigned value, that is not None, False or 0 where it is written out."""
    return not (isinstance(use.value, cst.Name) and use.value.value in ("None", "False")) and not is_number(use.value, "0")


def false(use: Use) -> bool:
    """An argument, or an assigned value, that is not True where it is written out: a variable may be False."""
    return not (isinstance(use.value, cst.Name) and use.value.value == "True")


def is_number(node: cst.CSTNode | None, text: str) -> bool:
    """Whether a node is this number, as it is written.

    >>> is_number(cst.parse_expression("0"), "0")
    True
    """
    return isinstance(node, (cst.Integer, cst.Float)) and node.value == text


def with_arguments(use: Use) -> bool:
    """Called with arguments."""
    return use.call is not None and bool(use.call.args)


def without_arguments(use: Use) -> bool:
    """Called without any."""
    return use.call is not None and not use.call.args


def receiver(*kinds: str) -> When:
    """A method of one of these kinds of values."""

    def when(use: Use) -> bool:
        return use.call is not None and isinstance(use.call.func, cst.Attribute) and use.kind(use.call.func.value) in kinds

    return when


def is_text(node: cst.CSTNode | None, *starts: str) -> bool:
    """Whether a node is a string that starts so.

    >>> is_text(cst.parse_expression("'cuda:1'"), "cuda", "cpu")
    True
    """
    return (text_of(node) or "").startswith(starts)
