"""Losses, by the tables of layers and functions."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect.opened import opened
from dsbridge.migrate.inspect.rules.conditions import outside
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.tables import tables
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="losses", page="guide/migrating.md")


def _class_known(use: Use) -> bool:
    return use.name in tables().losses and use.name in tables().layers


def _class_opened(use: Use) -> bool:
    return use.name in tables().losses and not opened(use.name)


def _class_unknown(use: Use) -> str | bool:
    return use.name in tables().losses and opened(use.name)


def _function_known(use: Use) -> bool:
    return use.name in tables().loss_functions and tables().function(use.name) == ""


def _function_unknown(use: Use) -> str | bool:
    return use.name in tables().loss_functions and outside(use) and (tables().function(use.name) or False)


def _refused_in_forward(use: Use) -> str | bool:
    return use.name in tables().loss_functions and not outside(use) and (tables().function(use.name) or False)


RULES = (
    _rule(
        "MIG401",
        FINE,
        ("torch.nn.*",),
        "is in the table",
        "dsb.migrate.TrainingSetup(loss=...)",
        "nn.CrossEntropyLoss()",
        _class_known,
    ),
    _rule(
        "MIG408",
        FINE,
        ("torch.nn.*",),
        "is written as the function that it calls, which is in the table",
        "dsb.migrate.TrainingSetup(loss=...)",
        "nn.KLDivLoss()",
        _class_opened,
    ),
    _rule(
        "MIG402",
        ATTENTION,
        ("torch.nn.*",),
        "is not in the table; {detail}",
        "write it in mindspore.ops, and compare values and gradients",
        "nn.CTCLoss()",
        _class_unknown,
    ),
    _rule(
        "MIG403",
        FINE,
        ("torch.nn.functional.*",),
        "is in the table",
        "dsb.migrate.TrainingSetup(loss=...)",
        "F.cross_entropy(output, target)",
        _function_known,
    ),
    _rule(
        "MIG405",
        UNSUPPORTED,
        ("torch.nn.functional.*",),
        "inside of a model is refused: {detail}",
        "return the outputs, and compute the loss in the training step",
        "class Net(nn.Module):\n    def forward(self, x, y):\n        return F.ctc_loss(x, y, y, y)",
        _refused_in_forward,
        page="guide/models.md",
    ),
    _rule(
        "MIG404",
        ATTENTION,
        ("torch.nn.functional.*",),
        "is not converted: {detail}",
        "write it in mindspore.ops, and compare values and gradients",
        "F.ctc_loss(output, target, a, b)",
        _function_unknown,
    ),
    _rule(
        "MIG406",
        FINE,
        ("class torch.nn.modules.loss.*",),
        "is derived from: a loss of yours is a module like any other",
        "dsb.model.convert(loss, (output, target))",
        "class Mine(nn.modules.loss._Loss): pass",
        page="guide/models.md",
    ),
    _rule(
        "MIG407",
        ATTENTION,
        tuple(
            f"torch.nn.{owner}({word})"
            for word in ("size_average", "reduce")
            for owner in (
                *(
                    "CrossEntropyLoss",
                    "MSELoss",
                    "L1Loss",
                    "SmoothL1Loss",
                    "NLLLoss",
                    "BCELoss",
                    "BCEWithLogitsLoss",
                    "KLDivLoss",
                ),
                *("functional.cross_entropy", "functional.mse_loss", "functional.l1_loss", "functional.nll_loss"),
                *("functional.binary_cross_entropy", "functional.binary_cross_entropy_with_logits", "functional.kl_div"),
            )
        ),
        "is deprecated in torch, and decides the reduction",
        'say reduction="mean", "sum" or "none"',
        "nn.MSELoss(size_average=False)",
    ),
)
