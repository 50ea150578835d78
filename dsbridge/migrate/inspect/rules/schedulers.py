"""Learning-rate schedules, by the table of dsb.checkpoint."""

from __future__ import annotations

from functools import partial

import libcst as cst

from dsbridge.migrate.inspect.rules.conditions import is_call, with_arguments
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, Rule
from dsbridge.migrate.inspect.tables import schedulers
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="schedulers", page="guide/checkpoints.md")
_ON = ("torch.optim.lr_scheduler.*",)
_CYCLES = ("torch.optim.lr_scheduler.CyclicLR", "torch.optim.lr_scheduler.OneCycleLR")


def _how(use: Use) -> str | None:
    return schedulers().get(use.name.rpartition(".")[2])


def _cycles(use: Use) -> bool:
    """cycle_momentum is True unless it is given."""
    given = use.argument("cycle_momentum")
    return is_call(use) and not (isinstance(given, cst.Name) and given.value == "False")


RULES = (
    _rule(
        "MIG554",
        ATTENTION,
        _CYCLES,
        "cycles the momentum too, MindSpore's stays as it is",
        "cycle_momentum=False in torch, or set MindSpore's momentum by hand",
        "CyclicLR(optimizer, 0.1, 0.2)",
        _cycles,
    ),
    _rule(
        "MIG551",
        FINE,
        _ON,
        "goes on from where it stands",
        "dsb.checkpoint.convert_scheduler(scheduler, steps_per_epoch).attach(optimizer)",
        "StepLR(optimizer, 30)",
        lambda use: _how(use) == "attach",
    ),
    _rule(
        "MIG552",
        ATTENTION,
        _ON,
        "goes on as a list of rates only: MindSpore has none like it",
        "dsb.checkpoint.convert_scheduler(scheduler, steps_per_epoch).per_step(steps)",
        "SequentialLR(optimizer, [], [])",
        lambda use: _how(use) == "rates",
    ),
    _rule(
        "MIG556",
        FINE,
        (*(f"{_ON[0][:-1]}{name}" for name in ("LRScheduler", "_LRScheduler")),),
        "is named as a type",
        "nothing to do",
        "isinstance(x, torch.optim.lr_scheduler.LRScheduler)",
    ),
    _rule(
        "MIG553",
        ATTENTION,
        (*_ON, "timm.scheduler.*", "class torch.optim.lr_scheduler.*"),
        "is no schedule that dsbridge knows",
        "write its rates as a LambdaLR",
        "class Warmup(torch.optim.lr_scheduler.LRScheduler): pass",
    ),
    _rule(
        "MIG555",
        ATTENTION,
        ("transformers.*",),
        "makes a LambdaLR: its function is called with the step's number",
        "dsb.checkpoint.convert_scheduler(scheduler, 1)",
        "transformers.get_linear_schedule_with_warmup(optimizer, 10, 100)",
        lambda use: use.name.startswith("transformers.get_") and "schedule" in use.name,
    ),
    _rule(
        "MIG558",
        ATTENTION,
        ("<scheduler>.step()",),
        "is given a number: a metric (ReduceLROnPlateau), or the epoch, which is deprecated",
        "give MindSpore's ReduceLROnPlateau the same metric",
        "scheduler.step(loss)",
        with_arguments,
    ),
    _rule(
        "MIG557",
        FINE,
        ("<scheduler>.step()",),
        "is called as often in MindSpore; after each batch steps_per_epoch is 1",
        "attached.step()",
        "scheduler.step()",
    ),
)
