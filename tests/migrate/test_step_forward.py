"""A program is run as the script ran it, and its lines are the script's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dsbridge.migrate.child.names import Variables, fitting, input_names
from dsbridge.migrate.child.slicing import Slice, cut, differences
from dsbridge.migrate.child.tape import Recorder, Tape, hide_custom_functions
from dsbridge.migrate.child.where import Place
from dsbridge.migrate.forward import Program, Size, train_step
from dsbridge.model.convert import draft


def taped(function, *batch: torch.Tensor, **tensors: torch.Tensor) -> tuple[Slice, torch.Tensor]:  # type: ignore[no-untyped-def]
    """The slice of a function of a batch, and its result; ``tensors``: the script's variables."""
    tape, variables = Tape(), Variables()
    variables.tensors.update(tensors)
    recorder = Recorder(tape, lambda: True)
    undo = hide_custom_functions(recorder.aside)
    try:
        with recorder:
            loss = function(*batch)
    finally:
        undo()
    return cut(tape, loss, batch, Place("", 0), variables), loss


def test_a_slice_leaves_out_what_the_loss_does_not_need() -> None:
    weight = nn.Parameter(torch.ones(3))

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        accuracy = (x.sum(1) > 0).float().mean()  # for the log only
        assert accuracy >= 0
        return ((x * weight).sum(1) - y).pow(2).mean()

    found, loss = taped(step, torch.randn(4, 3), torch.randn(4))
    assert [one.what for one in found.program.operations] == ["mul", "sum", "sub", "pow", "mean"]
    assert found.program.paths == [(0,), (1,)]
    again = train_step(found.program, found.modules, found.tensors)
    assert torch.equal(again(*found.inputs), loss)


def test_sizes_stay_sizes() -> None:
    weight = nn.Parameter(torch.randn(12, 2))
    found, _ = taped(lambda x: (x.view(x.size(0), -1) @ weight).sum() / x.shape[0], torch.randn(4, 3, 4))
    step = train_step(found.program, found.modules, found.tensors)
    other = torch.randn(7, 3, 4)
    assert torch.allclose(step(other), (other.view(7, -1) @ weight).sum() / 7)


def test_writing_in_place_is_repeated() -> None:
    weight = nn.Parameter(torch.ones(3))

    def step(x: torch.Tensor) -> torch.Tensor:
        masked = x.clone()
        masked[:, 0] = 0.0
        masked.mul_(2.0)
        return (masked * weight).sum()

    x = torch.randn(4, 3)
    found, loss = taped(step, x)
    assert torch.equal(train_step(found.program, found.modules, found.tensors)(x), loss)


def test_numbers_and_calls_that_change_are_told() -> None:
    weight = nn.Parameter(torch.ones(3))
    steps = [taped(lambda x, n=number: (x * weight * n).sum(), torch.randn(2, 3))[0] for number in (1.0, 2.0)]
    assert [code for code, _, _ in differences(steps)] == ["numbers-change"]
    steps = [taped(lambda x, f=f: f(x * weight), torch.randn(2, 3))[0] for f in (torch.sum, torch.mean)]
    assert [code for code, _, _ in differences(steps)] in (["steps-differ"], ["numbers-change"])


@pytest.mark.parametrize(("make", "codes"), [(lambda: torch.randn(3), ["state-carried"]), (lambda: torch.arange(3.0), [])])
def test_a_tensor_of_the_step_before_is_told(make: Any, codes: list[str]) -> None:
    """One that is made anew, out of the tape's sight, and has the same values is a constant."""
    weight = nn.Parameter(torch.ones(3))
    steps = []
    for _ in range(2):
        state = make()
        tape, variables = Tape(), Variables()
        variables.tensors["state"] = state
        x = torch.randn(2, 3)
        with Recorder(tape, lambda: True):
            loss = ((x + state) * weight).sum()
        steps.append(cut(tape, loss, (x,), Place("", 0), variables))
    assert [code for code, _, _ in differences(steps)] == codes


def test_a_value_that_decides_is_told() -> None:
    tape = Tape()
    weight = nn.Parameter(torch.ones(3))
    with Recorder(tape, lambda: True):
        loss = (torch.ones(3) * weight).sum()
        assert not tape.decided
        assert loss.item() < 5.0
    assert len(tape.decided) == 1


GUARDS: dict[str, Any] = {
    "isnan": torch.isnan,
    "not isfinite": lambda loss: not torch.isfinite(loss),
    "all of several": lambda loss: not torch.isfinite(torch.stack([loss, loss])).all(),
    "nan or inf": lambda loss: torch.isnan(loss) | torch.isinf(loss),
}


@pytest.mark.parametrize("name", GUARDS)
def test_whether_a_value_is_finite_decides_nothing(name: str) -> None:
    """``if torch.isnan(loss): raise`` is no part of the training; a loss that is compared, too, is."""
    tape = Tape()
    weight = nn.Parameter(torch.ones(3))
    with Recorder(tape, lambda: True):
        loss = (torch.ones(3) * weight).sum()
        assert not GUARDS[name](loss)
        assert len(tape.guards) == 1 and not tape.decided
        assert not (torch.isnan(loss) | (loss > 9.0))
    assert len(tape.decided) == 1


def test_a_custom_function_is_told() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x * 2

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            return gradient * 2

    weight = nn.Parameter(torch.ones(3))
    found, _ = taped(lambda x: Double.apply(x * weight).sum(), torch.randn(2, 3))
    assert [code for code, _, _ in found.findings] == ["unseen-operation"]


def test_the_source_has_the_scripts_names(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "def step(x, target, weight):\n    scores = x @ weight\n    loss = (scores - target).pow(2).mean()\n    return loss\n"
    )
    names: dict[str, object] = {}
    exec(compile(script.read_text(), str(script), "exec"), names)
    weight = nn.Parameter(torch.randn(3, 2))
    found, _ = taped(lambda x, y: names["step"](x, y, weight), torch.randn(4, 3), torch.randn(4, 2), weight=weight)  # type: ignore[operator]
    program = Program(["x", "target"], found.program.paths, found.program.operations, found.program.loss, str(script), 1)
    step = train_step(program, found.modules, found.tensors)
    source = draft(step, tuple(found.inputs), {}).source
    assert "scores = ops.matmul(x, self.weight)" in source or "scores = x @ self.weight" in source, source
    assert "loss = " in source


@pytest.mark.parametrize(
    ("loop", "names"),
    [
        ("for images, labels in loader:", ["images", "labels"]),
        ("for step, (images, labels) in enumerate(loader):", ["images", "labels"]),
        ("for batch in loader:\n    x, y = batch", ["x", "y"]),
        ("for i, batch in enumerate(loader):\n    x, y = batch", ["x", "y"]),
        ("images, labels = next(iterator)", ["images", "labels"]),
        ("for _, (x, _) in enumerate(loader):", ["x", "x1"]),
        ("for batch in loader:", ["x0", "x1"]),
    ],
)
def test_inputs_are_called_as_the_loop_calls_them(loop: str, names: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(loop + ("\n    pass\n" if loop.endswith(":") else "\n"))
    assert input_names(Place(str(script), 1), [(0,), (1,)]) == names


def test_keys_name_inputs() -> None:
    assert input_names(Place("", 0), [("input-ids",), ("label", 0)]) == ["input_ids", "label"]
    assert fitting("forward", []) == "forward_"


def test_computing_with_sizes_remembers_both_sides() -> None:
    rows = Size(6, ("x", 0))
    assert (rows // 2, (rows // 2).origin) == (3, ("//", rows, 2))
    assert (1 + rows).origin == ("+", 1, rows)
    assert rows * 0.5 == 3.0


def test_a_view_whose_history_torch_refuses_to_tell_ends_no_recording() -> None:
    """nn.Embedding makes one of its padding, without gradients; its base is written to later."""
    base = torch.zeros(4)
    with torch.no_grad():
        view = base[1:3]
    base.mul_(torch.ones(4, requires_grad=True))
    with pytest.raises(RuntimeError, match="view was created in no_grad mode"):
        _ = view.grad_fn
    tape = Tape()
    tape.kept += [view, base]
    tape.clear()
    assert [one() for one in tape.before.values()] == [base] and not tape.kept
