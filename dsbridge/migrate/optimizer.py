"""A torch optimizer as ``make_optimizer(network)``: the class of MindSpore that goes the same way, its options and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsbridge.errors import Unsupported
from dsbridge.frameworks import torch_tensors
from dsbridge.migrate.groups import cycled, own_class, trained_groups
from dsbridge.migrate.rules import rule
from dsbridge.migrate.source import Source, call, carried, imports_of, literal
from dsbridge.report import Finding

Names = Mapping[int, tuple[str, int]]
"""id(torch parameter) -> (name of the cell's parameter, its ndim)."""

_IGNORED = ("foreach", "fused", "capturable")
_DECOUPLED = "decoupled_weight_decay"


@dataclass(frozen=True, slots=True)
class Target:
    """What a torch class becomes. ``options``: those that MindSpore has in a group, with its defaults.

    ``strict``: what may be 0 in a group, but not as an argument of the class.

    >>> TARGETS["Adam"].name
    'AdamW'
    """

    name: str
    options: Mapping[str, Any]
    strict: tuple[str, ...] = ("lr", "eps")


_WIDTH = 100
_BETAS = {"betas": (0.9, 0.999), "eps": 1e-8}
_UP = {"maximize": False}
_ADAM = {**_BETAS, "weight_decay": 0.0, "amsgrad": False, **_UP}

TARGETS: Mapping[str, Target] = {
    "SGD": Target("SGD", {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, **_UP}, ()),
    # its own Adam adds eps before the bias correction, and knows no amsgrad; the correction of its AdamW has few digits
    "Adam": Target("AdamW", _ADAM, ()),
    "AdamW": Target("AdamW", _ADAM, ()),
    "RMSprop": Target("RMSprop", {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False, **_UP}),
    "Adagrad": Target("Adagrad", {"lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10, **_UP}),
    "Adadelta": Target("Adadelta", {"rho": 0.9, "eps": 1e-6, "weight_decay": 0.0, **_UP}),
    "NAdam": Target("NAdam", {**_BETAS, "weight_decay": 0.0, "momentum_decay": 0.004}),
    # its own loses digits: 6e-5 of the way off with beta2=0.999, 2.6e-2 with 0.9999
    "RAdam": Target("RAdam", {**_BETAS, "weight_decay": 0.0}),
    "Adamax": Target("Adamax", {**_BETAS, "weight_decay": 0.0, **_UP}),
    "Rprop": Target("Rprop", {"etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0), **_UP}, ("lr",)),
    "ASGD": Target("ASGD", {"lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0.0, **_UP}, ("lr",)),
}
"""By torch class; the class of ``mindspore.experimental.optim`` that it becomes, or that the carried class is made of."""


def optimizer_source(optimizer: Any, names: Names) -> Source:
    """The source of a torch optimizer, over the parameters in ``names``: all that are trained.

    ``lines`` define ``make_optimizer(network)``: the class of ``mindspore.experimental.optim`` that goes the same way, or one
    that the file carries, with torch's options and groups; gradients go in the order of its ``parameters``. It has torch's
    options as they are now, not its state. Raises ``Unsupported`` for other classes and options.

    >>> import torch
    >>> weight, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    >>> groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias]}]
    >>> made = optimizer_source(torch.optim.SGD(groups, lr=0.5), {id(weight): ("fc.weight", 2), id(bias): ("fc.bias", 1)})
    >>> print(*made.lines, sep="\\n")
    def make_optimizer(network):
        \"\"\"torch.optim.SGD.\"\"\"
        parameters = network.trainable_params()
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2]},
        ]
        return optim.SGD(groups, lr=0.5)
    """
    kind = own_class(optimizer, "torch.optim", "the optimizer", "use one of torch.optim")
    target = TARGETS.get(kind)
    if target is None:
        raise Unsupported("the optimizer", kind, "", "MindSpore has no equal", f"known are {', '.join(TARGETS)}")
    kept = [optimizer.param_groups[number] for number in trained_groups(optimizer)]
    members = [_members(group, names) for group in kept]
    if not kept:
        raise Unsupported("the optimizer", kind, "", "none of its parameters is trained")
    function, extra = _class(optimizer, kind, target, kept)
    options = [_options(group, optimizer, kind, target, extra) for group in kept]
    shared = {name: value for name, value in options[0].items() if all(one.get(name) == value for one in options)}
    shared = {name: value for name, value in shared.items() if value or name not in target.strict}
    if "momentum" not in shared:  # MindSpore wants one for all beside nesterov for all
        shared.pop("nesterov", None)
    given = [f"{name}={literal(value)}" for name, value in {**shared, **extra}.items()]
    differing = [{name: value for name, value in one.items() if name not in shared} for one in options]
    left = sorted({name for name, _ in names.values()}.difference(*members))
    lines = ["def make_optimizer(network):", f'    """torch.optim.{kind}."""']
    if left:
        lines.append(f"    # not trained: {_listed(left)}")
    if not left and len(kept) == 1 and not differing[0]:
        lines += call("return ", function, ["network.trainable_params()", *given])
    else:
        lines += ["    parameters = network.trainable_params()", *_groups(members, differing, names)]
        if "lr" not in shared:  # each group has its own, but the class wants one above 0
            given.insert(0, f"lr={literal(max(one['lr'] for one in options) or 1e-3)}")
        lines += call("return ", function, ["groups", *given])
    definitions = "" if function.startswith("optim.") else carried([function])
    notes = _notes(optimizer, kept, names, left)
    return Source(imports_of(definitions, "\n".join(lines)), definitions, tuple(lines), notes)


def _class(optimizer: Any, kind: str, target: Target, groups: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """The class to call, of MindSpore or carried by the file, and arguments that only the carried ones have."""
    moving = bool(cycled(optimizer))
    decaying = [group for group in groups if group.get("weight_decay")]
    decoupled = _alike(decaying, _DECOUPLED, kind == "AdamW", kind)
    if kind == "SGD" and moving:
        return "SGD", {}
    if target.name == "AdamW":
        return "Adam", {"decoupled": True} if decoupled else {}
    if kind in ("NAdam", "RAdam"):
        extra = {"decoupled": decoupled, "maximize": _alike(groups, "maximize", False, kind)}
        given = {name: True for name, value in extra.items() if value}
        return (kind if given or kind == "RAdam" else f"optim.{kind}"), given
    return f"optim.{target.name}", {}


def _alike(groups: Sequence[Any], option: str, default: bool, kind: str) -> bool:
    """A flag that the class has once. Raises ``Unsupported`` where groups differ."""
    values = {bool(group.get(option, default)) for group in groups} or {False}
    if len(values) > 1:
        raise Unsupported("the optimizer", f"{kind}({option})", "", "it differs between groups", "give all groups the same")
    return values.pop()


def _options(group: Any, optimizer: Any, kind: str, target: Target, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a group that are not MindSpore's defaults, and its rate. Raises ``Unsupported`` for what it has not."""
    found: dict[str, Any] = {"lr": float(group["lr"])}
    for name, start in optimizer.defaults.items():
        value = _number(start if name == "initial_accumulator_value" else group[name])  # as torch has it: of no group
        if name in target.options:
            default = target.options[name]
            value = type(default)(value)  # an int is no float to MindSpore
            value = tuple(map(float, value)) if isinstance(value, tuple) else value
            if value != default:
                found[name] = value
        elif name not in ("lr", _DECOUPLED, "maximize", *_IGNORED) and value:
            raise Unsupported("the optimizer", f"{kind}({name}={value!r})", "", "MindSpore has no such option")
    return found


def _number(value: Any) -> Any:
    """Tensors become numbers, also in a pair of betas."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_number, value))
    return value.item() if torch_tensors.is_tensor(value) else value


def _members(group: Any, names: Names) -> dict[str, int]:
    trained = [parameter for parameter in group["params"] if parameter.requires_grad]
    lost = sum(id(parameter) not in names for parameter in trained)
    if lost:
        reason = f"{lost} of the {len(trained)} parameters of a group are not in the model"
        raise Unsupported("the optimizer", "params", "", reason, "train what the forward uses, or freeze it")
    return dict(names[id(parameter)] for parameter in trained)


def _groups(members: Sequence[Mapping[str, int]], options: Sequence[Mapping[str, Any]], names: Names) -> list[str]:
    """The list of groups: each a readable rule where one says exactly which parameters are in it, else their names."""
    lines = ["    groups = ["]
    before: list[str] = []
    for number, (inside, more) in enumerate(zip(members, options, strict=True)):
        others = {name: ndim for name, ndim in names.values() if name not in inside}
        condition = rule(inside, others)
        if condition is None:
            condition = f"p.name in names_{number}"
            before += [f"    names_{number} = {{", *(f"        {literal(name)}," for name in inside), "    }"]
        chosen = "parameters" if condition == "True" else f"[p for p in parameters if {condition}]"
        entry = [f'"params": {chosen}', *(f"{literal(name)}: {literal(value)}" for name, value in more.items())]
        whole = f"        {{{', '.join(entry)}}},"
        lines += [whole] if len(whole) <= _WIDTH else ["        {", *(f"            {one}," for one in entry), "        },"]
    return [*before, *lines, "    ]"]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _notes(optimizer: Any, groups: Sequence[Any], names: Names, left: Sequence[str]) -> tuple[Finding, ...]:
    found = []
    ignored = sorted({name for group in groups for name in _IGNORED if group.get(name)})
    if ignored:
        text = f"{', '.join(ignored)}: how torch computes the step, not what"
        found.append(Finding("options-ignored", "info", "optimizer", text))
    if left:
        text = f"{len(left)} parameters are frozen or in no group, and stay as they are: {_listed(left)}"
        found.append(Finding("not-trained", "info", "optimizer", text))
    stateful = [group for group in groups if group.get("momentum", 1) or type(optimizer).__name__ != "SGD"]
    trained = [parameter for group in stateful for parameter in group["params"] if parameter.requires_grad]
    idle = [names[id(parameter)][0] for parameter in trained if not optimizer.state.get(parameter)]
    if idle and len(idle) < len(trained):
        text = f"never had a gradient in torch, and will have one here: {_listed(idle)}"
        found.append(Finding("no-state", "warning", "optimizer", text, "freeze what is not used"))
    return tuple(found)
