"""Which torch optimizer continues as which MindSpore one, how its state moves, and when that is not the same.

Data only. Measured (torch 2.13, MindSpore 2.10, CPU) unless a note says that it was read: 10 torch steps, convert, 10 more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsbridge.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Slot:
    """State of one parameter: torch's ``key`` becomes an entry of MindSpore's ``attribute`` (a tuple or list, one a parameter).

    ``scalar``: one number, never transposed. ``by_lr``: MindSpore's is torch's times the learning rate. ``flag``: (with,
    without) are the values written where torch has the key or has not, instead of its value. ``empty``: what stands for no
    state; None is the learning rate. ``option``: torch has the key only where this option of the group is not 0 or False.

    >>> Slot("exp_avg", "moment1").empty
    0.0
    """

    key: str
    attribute: str
    scalar: bool = False
    by_lr: bool = False
    flag: tuple[float, float] | None = None
    empty: float | None = 0.0
    option: str = ""


@dataclass(frozen=True, slots=True)
class Counter:
    """State that MindSpore keeps once for all parameters, made of torch's step count ``t``.

    ``rule``: "t", "t-1", or the name of the beta whose power it is ("beta1", "beta2": beta ** t).

    >>> Counter("beta1_power", "beta1").value(2, (0.5, 0.9))
    0.25
    """

    attribute: str
    rule: str = "t"

    def value(self, step: int, betas: tuple[float, float]) -> float:
        """What it is after ``step`` steps."""
        if self.rule in ("beta1", "beta2"):
            return float(betas[self.rule == "beta2"]) ** step
        return step - 1 if self.rule == "t-1" else step


@dataclass(frozen=True, slots=True)
class Caveat:
    """Both sides use ``option`` differently; it shows above ``limit``.

    >>> Caveat("eps", 1e-7, "differs").option
    'eps'
    """

    option: str
    limit: float
    message: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One pair: torch class ``torch``, MindSpore class ``target`` ("nn.Adam", "experimental.Adam", "mint.Adam").

    ``same``: torch option -> the MindSpore attributes (nn) or group keys (others) that hold it and must agree.
    ``only``: torch options and the one value with which both formulas agree, and why. ``own``: the same for MindSpore's.

    >>> recipe("SGD", "nn.SGD").verdict
    'exact'
    >>> recipe("Adam", "nn.Adam").verdict
    'approximate'
    """

    torch: str
    target: str
    slots: tuple[Slot, ...]
    counters: tuple[Counter, ...] = ()
    same: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    own: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    caveats: tuple[Caveat, ...] = ()
    note: str = ""

    @property
    def one_step(self) -> bool:
        """Whether the formula uses MindSpore's one step count, which torch has once a parameter."""
        return self.torch == "ASGD" or any(counter.attribute != "global_step" for counter in self.counters)

    @property
    def verdict(self) -> str:
        """ "exact" (to rounding), or "approximate" where a caveat or a note says under which condition."""
        return "approximate" if self.caveats or self.note else "exact"


_EPS_UNCORRECTED = Caveat("eps", 1e-7, "MindSpore adds eps before the bias correction, torch after it (eps=1e-3: 1.6e-3 apart)")
_EPS_IN_ROOT = Caveat("eps", 1e-7, "MindSpore has eps inside of the square root, torch outside (eps=1e-3: 2e-3 apart)")
_EPS_ABSENT = Caveat("eps", 1e-7, "nn.Adagrad has no eps")
_EPS_IN_NORM = Caveat("eps", 1e-7, "nn.AdaMax adds eps to the norm, torch collects it in the norm")
_READ = "read from MindSpore's source, not run: mint.optim does nothing on a CPU"

_MOMENTS = (Slot("exp_avg", "moment1"), Slot("exp_avg_sq", "moment2"))
_AVERAGES = (Slot("exp_avg", "exp_avg"), Slot("exp_avg_sq", "exp_avg_sq"))
_MAXIMUM = Slot("max_exp_avg_sq", "max_exp_avg_sq", option="amsgrad")
_STEP = (Counter("global_step"),)
_STATE_STEP = (Counter("state_step"),)
_STEP_T = (Counter("step_t"),)
_BUFFER = (
    Slot("momentum_buffer", "accum", option="momentum"),
    Slot("momentum_buffer", "stat", flag=(0.0, 1.0), option="momentum"),
)
_RPROP = (Slot("prev", "prev"), Slot("step_size", "step_size", empty=None))
_DELTA = (Slot("square_avg", "accum"), Slot("acc_delta", "accum_update"))
_ASGD = (Slot("ax", "ax"), Slot("mu", "mu", scalar=True, empty=1.0), Slot("eta", "eta", scalar=True, empty=None))
_ASGD_OPTIONS = {"lambd": ("lambd",), "alpha": ("alpha",), "t0": ("t0",)}

_ASCENDING = {"maximize": (False, "it has no maximize; negate the loss")}
_COUPLED = {"decoupled_weight_decay": (False, "it adds the weight decay to the gradient, as torch does by default")}
_NO_AMSGRAD = {"amsgrad": (False, "its amsgrad=True is ignored (measured); use experimental.AdamW or nn.Adam")}
_NO_DECAY = {"weight_decay": (0, "it takes the decay from the weights, torch's Adam adds it to the gradients")}
_PLAIN = {name: (False, f"torch has no {name}") for name in ("use_nesterov", "use_lazy", "use_offload")}  # of nn.Adam


def _keys(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


_ADAM = _keys("betas", "eps", "amsgrad", "maximize")

TABLE: tuple[Recipe, ...] = (
    Recipe("SGD", "nn.SGD", _BUFFER, _STEP, _keys("momentum", "dampening", "nesterov"), _ASCENDING),
    Recipe("SGD", "experimental.SGD", _BUFFER, (), _keys("momentum", "dampening", "nesterov", "maximize")),
    Recipe(
        "SGD",
        "nn.Momentum",
        (Slot("momentum_buffer", "moments", option="momentum"),),
        _STEP,
        _keys("momentum"),
        {
            "nesterov": (False, "nn.Momentum's nesterov is another formula (measured 0.16 apart); use nn.SGD"),
            "dampening": (0.0, "nn.Momentum has no dampening; use nn.SGD"),
            **_ASCENDING,
        },
        {"use_nesterov": (False, "its nesterov is another formula than torch's; use nn.SGD")},
    ),
    Recipe(
        "Adam",
        "nn.Adam",
        (*_MOMENTS, Slot("max_exp_avg_sq", "vhat", option="amsgrad")),
        (*_STEP, Counter("beta1_power", "beta1"), Counter("beta2_power", "beta2")),
        {"betas": ("beta1", "beta2"), "eps": ("eps",), "amsgrad": ("use_amsgrad",)},
        {**_ASCENDING, **_COUPLED},
        _PLAIN,
        (_EPS_UNCORRECTED,),
    ),
    Recipe("Adam", "experimental.Adam", _AVERAGES, _STATE_STEP, _ADAM, {**_NO_AMSGRAD, **_COUPLED}, {}, (_EPS_UNCORRECTED,)),
    Recipe("Adam", "experimental.AdamW", (*_AVERAGES, _MAXIMUM), _STATE_STEP, _ADAM, _NO_DECAY),
    Recipe("AdamW", "experimental.AdamW", (*_AVERAGES, _MAXIMUM), _STATE_STEP, _ADAM),
    Recipe("Adam", "mint.Adam", (*_AVERAGES, _MAXIMUM), _STATE_STEP, _ADAM, _COUPLED, note=_READ),
    Recipe("AdamW", "mint.AdamW", (*_AVERAGES, _MAXIMUM), (Counter("state_step", "t-1"),), _ADAM, note=_READ),
    Recipe(
        "RMSprop",
        "nn.RMSProp",
        (
            Slot("square_avg", "ms"),
            Slot("grad_avg", "mg", option="centered"),
            Slot("momentum_buffer", "moment", by_lr=True, option="momentum"),
        ),
        _STEP,
        {"alpha": ("decay",), "eps": ("epsilon",), "momentum": ("momentum",), "centered": ("centered",)},
        _ASCENDING,
        {},
        (_EPS_IN_ROOT,),
    ),
    Recipe(
        "RMSprop",
        "experimental.RMSprop",
        (
            Slot("square_avg", "mean_square"),
            Slot("grad_avg", "mean_grad", option="centered"),
            Slot("momentum_buffer", "moment", option="momentum"),
        ),
        (),
        _keys("alpha", "eps", "momentum", "centered", "maximize"),
    ),
    Recipe(
        "Adagrad",
        "nn.Adagrad",
        (Slot("sum", "accum"),),
        _STEP,
        {},
        {"lr_decay": (0.0, "nn.Adagrad has no lr_decay; use experimental.Adagrad"), **_ASCENDING},
        {},
        (_EPS_ABSENT,),
    ),
    Recipe("Adagrad", "experimental.Adagrad", (Slot("sum", "accum"),), _STEP_T, _keys("lr_decay", "eps", "maximize")),
    Recipe("Adadelta", "nn.Adadelta", _DELTA, _STEP, {"rho": ("rho",), "eps": ("epsilon",)}, _ASCENDING),
    Recipe("Adadelta", "experimental.Adadelta", _DELTA, (), _keys("rho", "eps", "maximize")),
    Recipe(
        "Adamax",
        "nn.AdaMax",
        (Slot("exp_avg", "moment1"), Slot("exp_inf", "moment2")),
        (*_STEP, Counter("beta1_power", "beta1")),
        {"betas": ("beta1", "beta2"), "eps": ("eps",)},
        _ASCENDING,
        {},
        (_EPS_IN_NORM,),
    ),
    Recipe(
        "Adamax",
        "experimental.Adamax",
        (Slot("exp_avg", "exp_avg"), Slot("exp_inf", "exp_inf")),
        _STEP_T,
        _keys("betas", "eps", "maximize"),
    ),
    Recipe(
        "NAdam",
        "experimental.NAdam",
        (*_AVERAGES, Slot("mu_product", "mu_product", scalar=True, empty=1.0)),
        _STEP_T,
        _keys("betas", "eps", "momentum_decay"),
        {**_COUPLED, **_ASCENDING},
    ),
    Recipe("RAdam", "experimental.RAdam", _AVERAGES, _STEP_T, _keys("betas", "eps"), {**_COUPLED, **_ASCENDING}),
    Recipe(
        "Rprop",
        "nn.Rprop",
        _RPROP,
        _STEP,
        {"etas": ("etaminus", "etaplus"), "step_sizes": ("step_size_min", "step_size_max")},
        _ASCENDING,
    ),
    Recipe("Rprop", "experimental.Rprop", _RPROP, _STEP_T, _keys("etas", "step_sizes", "maximize")),
    Recipe("ASGD", "nn.ASGD", _ASGD, _STEP, _ASGD_OPTIONS, _ASCENDING),
    Recipe("ASGD", "experimental.ASGD", _ASGD, _STEP_T, {**_ASGD_OPTIONS, "maximize": ("maximize",)}),
)

REFUSED: Mapping[tuple[str, str], str] = {
    ("*", "nn.AdamWeightDecay"): "it has no bias correction (measured 0.50 apart); use experimental.AdamW",
    ("*", "nn.AdamOffload"): "it was not measured; use nn.Adam",
    ("*", "nn.Lamb"): "torch has no Lamb, and MindSpore's does not run on a CPU",
    (
        "*",
        "mint.SGD",
    ): "it keeps its learning rate where nothing can change it, and does nothing on a CPU; use experimental.SGD",
    ("Adafactor", "*"): "MindSpore's AdaFactor factors and clips differently; train on without its state",
    ("LBFGS", "*"): "its history of closures has no counterpart in MindSpore",
    ("SparseAdam", "*"): "MindSpore's lazy Adam updates other rows; use Adam with dense gradients",
    ("Muon", "*"): "MindSpore has no Muon",
}
"""(torch class, target) -> why not; "*" stands for any."""

_SIGNATURES: tuple[tuple[str, frozenset[str]], ...] = (
    ("Muon", frozenset({"ns_steps"})),
    ("LBFGS", frozenset({"history_size"})),
    ("Adafactor", frozenset({"beta2_decay"})),
    ("NAdam", frozenset({"momentum_decay"})),
    ("Rprop", frozenset({"etas"})),
    ("ASGD", frozenset({"lambd", "t0"})),
    ("Adagrad", frozenset({"lr_decay"})),
    ("Adadelta", frozenset({"rho"})),
    ("RMSprop", frozenset({"alpha", "centered"})),
    ("SGD", frozenset({"dampening", "nesterov"})),
)


def infer_class(group: Mapping[str, Any], state: Iterable[str]) -> str:
    """The torch class that wrote this param group; ``state``: the keys of its per-parameter state.

    Raises ``CheckpointError`` where several did: torch before 2.7 wrote Adam and AdamW alike.

    >>> infer_class({"lr": 0.1, "dampening": 0, "nesterov": False}, [])
    'SGD'
    >>> infer_class({"betas": (0.9, 0.999), "amsgrad": False, "decoupled_weight_decay": True}, ["exp_avg"])
    'AdamW'
    """
    for name, keys in _SIGNATURES:
        if keys <= set(group):
            return name
    if "amsgrad" in group and "decoupled_weight_decay" in group:
        return "AdamW" if group["decoupled_weight_decay"] else "Adam"
    if "exp_inf" in state:
        return "Adamax"
    if "betas" in group and "amsgrad" not in group and "decoupled_weight_decay" in group:
        return "RAdam"
    could = "Adam or AdamW" if "amsgrad" in group else "one of many"
    raise CheckpointError(
        f"the optimizer state does not say which class wrote it: it could be {could} (its options: {', '.join(sorted(group))})",
        hint="pass torch_class='AdamW', or the live optimizer",
    )


def recipe(torch_class: str, target: str) -> Recipe:
    """The row for a pair of classes. Raises ``CheckpointError`` with the reason, and what would work, where there is none.

    >>> recipe("AdamW", "nn.AdamWeightDecay")
    Traceback (most recent call last):
    ...
    dsbridge.errors.CheckpointError: torch AdamW cannot go on as nn.AdamWeightDecay: it has no bias correction ...
    """
    for row in TABLE:
        if (row.torch, row.target) == (torch_class, target):
            return row
    keys = ((torch_class, target), (torch_class, "*"), ("*", target))
    reason = next((REFUSED[key] for key in keys if key in REFUSED), "the update formulas differ")
    able = [row.target for row in TABLE if row.torch == torch_class]
    raise CheckpointError(
        f"torch {torch_class} cannot go on as {target}: {reason}",
        hint=f"torch {torch_class} goes on as {', '.join(able)}" if able else "start the optimizer afresh",
    )
