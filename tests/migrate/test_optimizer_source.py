"""Emitted optimizers go torch's way: 30 steps with changing rates, PyNative and compiled, every option; wrong ones do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import beside
import pytest
import torch
from beside import SHAPES, Case, Make, Parameters
from torch import optim
from torch.optim import lr_scheduler as lr

from dsbridge.errors import Unsupported
from dsbridge.migrate.optimizer import TARGETS, optimizer_source
from dsbridge.migrate.source import Source

MODES = ["PyNative", "graph"]


def groups(parameters: Parameters, **more: Any) -> list[dict[str, Any]]:
    """Biases in a group of their own, which comes first, in another order."""
    return [{"params": parameters[3:0:-2], **more}, {"params": parameters[2::-2]}]


def frozen(parameters: Parameters) -> Parameters:
    """The first layer is not trained."""
    for parameter in parameters[:2]:
        parameter.requires_grad_(False)
    return parameters


FAST: dict[str, Case] = {
    "SGD, all options": Case(lambda p: optim.SGD(groups(p, lr=0.02, momentum=0.5), 0.1, 0.9, weight_decay=0.1, nesterov=True)),
    "Adam, eps": Case(lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.9), eps=1e-3)),
    "Adam, decay": Case(lambda p: optim.Adam(p, lr=0.01, eps=1e-3, weight_decay=0.1)),
    "AdamW, groups": Case(lambda p: optim.AdamW(groups(p, weight_decay=0.0, betas=(0.5, 0.9)), lr=0.01, weight_decay=0.2)),
    "RMSprop, all options": Case(lambda p: optim.RMSprop(p, 0.01, 0.9, 1e-3, 0.1, momentum=0.9, centered=True, maximize=True)),
    "NAdam, decoupled": Case(
        lambda p: optim.NAdam(groups(p, weight_decay=0.3), lr=0.01, decoupled_weight_decay=True, maximize=True)
    ),
    "Adam, decay, taken over": Case(lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1), begin=9),
    "frozen": Case(lambda p: optim.Adam(frozen(p), lr=0.01)),
}

MUTANTS: dict[str, Case] = {
    "beta": Case(FAST["Adam, decay"].make, mutate=("eps=0.001", "eps=0.001, betas=(0.91, 0.999)")),
    "eps": Case(FAST["Adam, decay"].make, mutate=("eps=0.001", "eps=0.0011")),
    "decay": Case(FAST["Adam, decay"].make, mutate=("weight_decay=0.1", "weight_decay=0.11")),
    "eps uncorrected": Case(FAST["Adam, decay"].make, mutate=('group["eps"] * root', 'group["eps"]')),
    "no maximize": Case(FAST["RMSprop, all options"].make, mutate=("maximize=True", "maximize=False")),
    "decay in both groups": Case(FAST["AdamW, groups"].make, mutate=("ndim < 2], ", 'ndim < 2], "weight_decay": 0.2, ')),
}

ALL: dict[str, Case] = {
    **FAST,
    "SGD": Case(lambda p: optim.SGD(p, lr=0.1)),
    "SGD, integers": Case(lambda p: optim.SGD(p, lr=1, momentum=0, weight_decay=1)),
    "SGD, dampening": Case(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.05)),
    "SGD, maximize": Case(lambda p: optim.SGD(groups(p, maximize=False), lr=0.1, momentum=0.8, maximize=True)),
    "SGD, nesterov without momentum in one group": Case(
        lambda p: optim.SGD(groups(p, momentum=0.4), lr=0.1, momentum=0.8, nesterov=True)
    ),
    "Adam": Case(lambda p: optim.Adam(p)),
    "Adam, foreach": Case(lambda p: optim.Adam(p, lr=0.01, foreach=True)),
    "Adam, fused": Case(lambda p: optim.Adam(p, lr=0.01, fused=True)),
    "Adam, tensors": Case(lambda p: optim.Adam(p, lr=torch.tensor(0.01))),
    "Adam, large betas": Case(lambda p: optim.Adam(p, lr=0.01, betas=(0.99, 0.9999))),
    "Adam, no first beta": Case(lambda p: optim.Adam(p, lr=0.01, betas=(0.0, 0.99))),
    "Adam, decay in one group": Case(lambda p: optim.Adam(groups(p, weight_decay=0.1), lr=0.01)),
    "Adam, decay, maximize": Case(lambda p: optim.Adam(groups(p, maximize=False), lr=0.01, weight_decay=0.1, maximize=True)),
    "Adam, amsgrad": Case(lambda p: optim.Adam(p, lr=0.01, amsgrad=True)),
    "Adam, amsgrad, decay": Case(lambda p: optim.Adam(p, lr=0.01, eps=1e-3, amsgrad=True, weight_decay=0.1)),
    "Adam, decoupled": Case(lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True)),
    "AdamW": Case(lambda p: optim.AdamW(p)),
    "AdamW, amsgrad, maximize": Case(lambda p: optim.AdamW(groups(p, amsgrad=False), lr=0.01, amsgrad=True, maximize=True)),
    "RMSprop": Case(lambda p: optim.RMSprop(p)),
    "RMSprop, groups": Case(lambda p: optim.RMSprop(groups(p, momentum=0.9, alpha=0.8, centered=True), lr=0.01)),
    "RMSprop, no eps": Case(lambda p: optim.RMSprop(p, eps=0.0)),
    "Adagrad": Case(lambda p: optim.Adagrad(p, lr=0.1)),
    "Adagrad, all options": Case(lambda p: optim.Adagrad(groups(p, eps=1e-2), 0.1, 0.01, 0.1, 0.1, 1e-3, maximize=True)),
    "Adadelta": Case(lambda p: optim.Adadelta(p, lr=1.0, eps=1e-3)),
    "Adadelta, all options": Case(lambda p: optim.Adadelta(groups(p, rho=0.7), 1.0, 0.8, 1e-3, 0.05, maximize=True)),
    "NAdam": Case(lambda p: optim.NAdam(p)),
    "NAdam, options": Case(lambda p: optim.NAdam(groups(p, betas=(0.7, 0.9)), 0.01, (0.8, 0.99), 1e-3, 0.05, 0.02)),
    "RAdam": Case(lambda p: optim.RAdam(p)),
    "RAdam, options": Case(lambda p: optim.RAdam(groups(p, betas=(0.7, 0.9)), 0.01, (0.8, 0.99), 1e-3, 0.05)),
    "RAdam, large beta": Case(lambda p: optim.RAdam(p, lr=0.01, betas=(0.9, 0.9999), eps=0.0)),
    "RAdam, maximize, decoupled": Case(
        lambda p: optim.RAdam(p, lr=0.01, weight_decay=0.3, decoupled_weight_decay=True, maximize=True)
    ),
    "Adamax": Case(lambda p: optim.Adamax(p)),
    "Adamax, options": Case(lambda p: optim.Adamax(groups(p, betas=(0.7, 0.9)), 0.01, (0.8, 0.99), 1e-3, 0.05, maximize=True)),
    "Rprop": Case(lambda p: optim.Rprop(p)),
    "Rprop, options": Case(lambda p: optim.Rprop(groups(p, etas=(0.4, 1.1)), 0.01, (0.3, 1.5), (1e-4, 1), maximize=True)),
    "ASGD": Case(lambda p: optim.ASGD(p, lr=0.1)),
    "ASGD, options": Case(lambda p: optim.ASGD(groups(p, lambd=0.1), 0.1, 0.01, 0.5, 5, 0.1, maximize=True)),
    "OneCycleLR, Adam": Case(lambda p: optim.Adam(p, lr=0.01), lambda o: lr.OneCycleLR(o, 0.05, total_steps=32)),
    "OneCycleLR, Adam, decay, amsgrad": Case(
        lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, amsgrad=True),
        lambda o: lr.OneCycleLR(o, 0.05, total_steps=32, three_phase=True),
    ),
    "OneCycleLR, AdamW": Case(
        lambda p: optim.AdamW(groups(p, weight_decay=0.1), lr=0.01), lambda o: lr.OneCycleLR(o, 0.05, total_steps=32)
    ),
    "CyclicLR, SGD": Case(
        lambda p: optim.SGD(groups(p, nesterov=True), 0.1, 0.9, weight_decay=0.1),
        lambda o: lr.CyclicLR(o, 0.01, 0.2, step_size_up=4),
    ),
    "OneCycleLR, AdamW, taken over": Case(
        lambda p: optim.AdamW(p, lr=0.01), lambda o: lr.OneCycleLR(o, 0.05, total_steps=32), begin=11
    ),
    "LambdaLR from zero": Case(
        lambda p: optim.RMSprop(groups(p, lr=0.003), lr=0.01), lambda o: lr.LambdaLR(o, lambda step: min(1.0, step / 10))
    ),
}  # fmt: skip


@pytest.mark.timeout(600)
def test_optimizers_go_torchs_way_and_wrong_ones_do_not(tmp_path: Path) -> None:
    """The ones with code of their own, and mutants of their source, in one process."""
    mutants = {f"mutant: {name}": MUTANTS[name] for name in ("beta", "eps uncorrected", "decay in both groups")}
    wrong = beside.wrong(beside.errors({**FAST, **mutants}, tmp_path, "PyNative"))
    assert set(wrong) == set(mutants), wrong


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", MODES)
def test_all_optimizers_go_torchs_way_in_both_modes(mode: str, tmp_path: Path) -> None:
    assert beside.wrong(beside.errors(ALL, tmp_path, mode)) == {}
    tried = {type(beside.Torch(case, torch.float32).optimizer).__name__ for case in ALL.values()}
    assert tried == set(TARGETS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_all_mutants_are_seen(mode: str, tmp_path: Path) -> None:
    assert set(beside.wrong(beside.errors(MUTANTS, tmp_path, mode))) == set(MUTANTS)


def source_of(make: Make, names: dict[str, tuple[int, ...]] = SHAPES, more: dict[str, int] | None = None) -> Source:
    """The source of an optimizer over parameters of those names; ``more``: of the model, in no group."""
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in names.values()]
    optimizer = make(parameters)
    known = {id(p): (name, p.ndim) for name, p in zip(names, parameters, strict=True)}
    return optimizer_source(optimizer, known | {-n: one for n, one in enumerate((more or {}).items(), 1)})


def test_one_group_with_everything_is_short() -> None:
    made = source_of(lambda p: optim.Adamax(p, lr=3e-4, betas=(0.9, 0.95)))
    assert made.text.endswith("return optim.Adamax(network.trainable_params(), lr=0.0003, betas=(0.9, 0.95))")
    assert made.imports == ("from mindspore.experimental import optim",) and not made.definitions and not made.notes


def test_adam_is_carried() -> None:
    """MindSpore's own loses digits, which a training may carry far: 3e-5 after 24 steps of an LSTM, 2e-6 with this one."""
    for make in (optim.Adam, optim.AdamW):
        made = source_of(lambda p, make=make: make(p, lr=3e-4))
        more = ", weight_decay=0.01, decoupled=True" if make is optim.AdamW else ""
        assert made.text.endswith(f"return Adam(network.trainable_params(), lr=0.0003{more})"), made.text
        assert "class Adam(optim.AdamW):" in made.definitions


def test_groups_are_told_by_a_rule_where_one_is_exact() -> None:
    lines = source_of(lambda p: optim.AdamW(groups(p, weight_decay=0.0), weight_decay=0.2)).lines
    assert '        {"params": [p for p in parameters if p.ndim < 2]},' in lines
    assert '        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.2},' in lines
    lines = source_of(lambda p: optim.SGD([{"params": p[:2], "lr": 0.01}, {"params": p[2:]}], lr=0.1)).lines
    assert '        {"params": [p for p in parameters if p.name.startswith("deep.")], "lr": 0.01},' in lines
    names = {f"layer{n}.{what}": (2,) for n in range(6) for what in ("a", "b", "c", "d")}
    odd = source_of(lambda p: optim.SGD([{"params": p[::3]}, {"params": p[1::3] + p[2::3], "lr": 1.0}], lr=0.1), names)
    assert '        {"params": [p for p in parameters if p.name in names_0], "lr": 0.1},' in odd.lines
    assert '        "layer1.c",' in odd.lines


def test_what_is_in_no_group_or_frozen_is_said() -> None:
    made = source_of(lambda p: optim.SGD(p[:2], lr=0.1))
    assert "    # not trained: head.bias, head.conv.weight" in made.lines
    assert 'p.name.startswith("deep.")' in made.text
    assert [(note.code, note.severity) for note in made.notes] == [("not-trained", "info")]
    rest = {"tail.weight": 2}
    assert "# not trained: tail.weight" in source_of(lambda p: optim.SGD(p, lr=0.1), more=rest).text
    made = source_of(lambda p: optim.SGD([{"params": frozen(p)[:2]}, {"params": p[2:], "lr": 0.3}], lr=0.1))
    assert "return optim.SGD(groups, lr=0.3)" in made.text and '"lr"' not in made.text  # its only group


def test_flags_of_torchs_kernels_are_left_out_and_said() -> None:
    made = source_of(lambda p: optim.AdamW(p, fused=True))
    assert [note.code for note in made.notes] == ["options-ignored"] and "fused" in made.notes[0].message


def test_keys_of_the_users_own_in_a_group_are_no_options() -> None:
    made = source_of(lambda p: optim.AdamW([{"params": p, "layer": 3, "lr_scale": 0.5, "name": "all"}]))
    assert not any("0.5" in line or "layer" in line for line in made.lines)


def test_parameters_that_never_had_a_gradient_are_said() -> None:
    def trained(parameters: Parameters) -> optim.Optimizer:
        optimizer = optim.AdamW(parameters)
        parameters[0].grad = torch.ones(SHAPES["deep.weight"])
        optimizer.step()
        return optimizer

    (note,) = source_of(trained).notes
    assert note.code == "no-state" and note.severity == "warning" and "deep.bias, head.conv.weight, head.bias" in note.message


class Lion(optim.Optimizer):
    """A user's own."""

    def __init__(self, params: Parameters) -> None:
        super().__init__(params, {"lr": 0.1})


class Warm(optim.SGD):
    """A user's own, of torch's."""


def cycling(parameters: Parameters) -> optim.Optimizer:
    optimizer = optim.RMSprop(parameters, momentum=0.9)
    lr.OneCycleLR(optimizer, 0.1, total_steps=5)
    return optimizer


REFUSED: list[tuple[Make, str]] = [
    (Lion, r"Lion: it is a class of its own, not torch's \(migrate/test_optimizer_source.py:\d+\)"),
    (lambda p: Warm(p, lr=0.1), r"Warm: it is a class of its own"),
    (lambda p: optim.LBFGS(p), "LBFGS: MindSpore has no equal"),
    (lambda p: optim.SparseAdam(p), "SparseAdam: MindSpore has no equal"),
    (lambda p: optim.Adafactor(p), "Adafactor: MindSpore has no equal"),
    (lambda p: optim.SGD(p, lr=0.1, differentiable=True), "SGD.differentiable=True.: MindSpore has no such option"),
    (lambda p: optim.NAdam(groups(p, maximize=True)), r"NAdam\(maximize\): it differs between groups"),
    (
        lambda p: optim.RAdam(groups(p, decoupled_weight_decay=True), weight_decay=0.1),
        r"RAdam\(decoupled_weight_decay\): it differs between groups",
    ),
    (cycling, "cycle_momentum: the schedule moves the momentum of RMSprop"),
    (lambda p: optim.SGD([*p, torch.nn.Parameter(torch.ones(1))], lr=0.1), "1 of the 5 parameters of a group are not in the"),
    (lambda p: optim.SGD(frozen(frozen(p)[::-1]), lr=0.1), "none of its parameters is trained"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:20] for _, message in REFUSED])
def test_what_is_not_proven_is_refused(make: Make, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        source_of(make)
