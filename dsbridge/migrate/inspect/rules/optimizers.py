"""Optimizers, by the table of dsb.checkpoint."""

from __future__ import annotations

import re
from functools import partial

import libcst as cst

from dsbridge.migrate.inspect.rules.conditions import in_optimizer, with_arguments
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule
from dsbridge.migrate.inspect.tables import optimizers, refused_optimizers
from dsbridge.migrate.inspect.use import Use

_rule = partial(Rule, family="optimizers", page="guide/checkpoints.md")
_ON = ("torch.optim.*",)
_OTHERS = (
    "timm.optim.*", "apex.optimizers.*", "bitsandbytes.optim.*", "torch_optimizer.*", "lion_pytorch.*", "pytorch_optimizer.*",
    "transformers.Adafactor", "transformers.AdamW", "deepspeed.ops.adam.*", "schedulefree.*",
)  # fmt: skip
_AVERAGE = re.compile(r"^EMA|EMA$|Ema(?![a-z])|ema_|ExponentialMovingAverage|MovingAverage|ModelEma|WeightAveraging")


def _class(use: Use) -> str:
    return use.name.removeprefix("torch.optim.")


def _wrong_options(use: Use) -> str:
    """What no MindSpore optimizer does as torch's, among the options that are written out; "" if one does all of it."""
    reasons = []
    for recipe in optimizers()[_class(use)]:
        found = [
            f"{option}={_code(given)}: {why}"
            for option, (value, why) in recipe.only.items()
            if (given := use.argument(option)) is not None and _code(given) not in (repr(value), _short(value), "None")
        ]
        if not found:
            return ""
        reasons += found
    return "; ".join(dict.fromkeys(reasons))


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def _short(value: object) -> str:
    return repr(int(value)) if isinstance(value, float) and value == int(value) else repr(value)


def _known(use: Use) -> bool:
    return _class(use) in optimizers() and not _wrong_options(use)


def _known_otherwise(use: Use) -> str | bool:
    return _class(use) in optimizers() and _wrong_options(use)


def _refused(use: Use) -> str | bool:
    return refused_optimizers().get(_class(use), False)


def _state(use: Use) -> bool:
    """The state of an optimizer, read or written by its parameters."""
    return isinstance(use.node, cst.Attribute) and use.kind(use.node.value) == "optimizer"


def _outside_of_optimizers(use: Use) -> bool:
    return not in_optimizer(use)


def _average(use: Use) -> bool:
    """Weights that are averaged, by the package or by the name."""
    return ".swa_utils." in use.name or bool(_AVERAGE.search(use.name.rpartition(".")[2]))


RULES = (
    _rule(
        "MIG501",
        FINE,
        _ON,
        "goes on with its state, exactly or under a condition that the report names",
        "mindspore.experimental.optim has the same class; dsb.checkpoint.convert_optimizer",
        "torch.optim.AdamW(model.parameters())",
        _known,
    ),
    _rule(
        "MIG502",
        ATTENTION,
        _ON,
        "differs with these options: {detail}",
        "leave the option out, or train on afresh",
        "torch.optim.RAdam(model.parameters(), maximize=True)",
        _known_otherwise,
    ),
    _rule(
        "MIG503",
        UNSUPPORTED,
        _ON,
        "does not go on: {detail}",
        "another optimizer, afresh",
        "torch.optim.LBFGS(model.parameters())",
        _refused,
    ),
    _rule(
        "MIG504",
        ATTENTION,
        _OTHERS,
        "is not torch's: its formula and its state are not known",
        "one of torch.optim's in the table",
        "timm.optim.Lamb(model.parameters())",
    ),
    _rule(
        "MIG505",
        UNSUPPORTED,
        ("class torch.optim.*",),
        "is derived from: what an optimizer of yours does is not seen",
        "write it as a mindspore.nn.Optimizer",
        "class Mine(torch.optim.Optimizer): pass",
    ),
    _rule(
        "MIG506",
        ATTENTION,
        ("<group>[] =",),
        "is changed by hand while training",
        "a scheduler, or write the same into the loop",
        "optimizer.param_groups[0]['lr'] = 0.1",
        _outside_of_optimizers,
    ),
    _rule(
        "MIG507",
        ATTENTION,
        ("two optimizers",),
        "is the second optimizer here: which of them steps when is the loop's to say",
        "value_and_grad for each, over its own parameters",
        "first = torch.optim.SGD(a.parameters())\nsecond = torch.optim.SGD(b.parameters())",
        page="guide/migrating.md",
    ),
    _rule(
        "MIG508",
        ATTENTION,
        (".add_param_group()",),
        "adds parameters while training",
        "build the optimizer with all its groups",
        "optimizer.add_param_group({'params': []})",
    ),
    _rule(
        "MIG509",
        UNSUPPORTED,
        ("<optimizer>.step()",),
        "evaluates the loss several times in a step, which no MindSpore optimizer does",
        "an optimizer that takes gradients",
        "optimizer.step(closure)",
        with_arguments,
    ),
    _rule(
        "MIG510",
        ATTENTION,
        ("torch.optim.swa_utils.*", "class *", "timm.utils.*"),
        "keeps an average of the weights; torch's AveragedModel goes along where it is updated after each step",
        "torch.optim.swa_utils.AveragedModel, updated after each step",
        "torch.optim.swa_utils.AveragedModel(model)",
        _average,
        page="guide/training.md",
    ),
    _rule(
        "MIG511",
        ATTENTION,
        (".state",),
        "of an optimizer is read or written by hand",
        "dsb.checkpoint.convert_optimizer moves the whole state",
        "optimizer.state[p]",
        _state,
    ),
    _rule(
        "MIG512",
        FINE,
        ("torch.optim.Optimizer",),
        "is named as a type",
        "nothing to do",
        "isinstance(x, torch.optim.Optimizer)",
    ),
)
