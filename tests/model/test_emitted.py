"""The emitted folder on its own: no torch, no dsbridge, clean source, one training step."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import small_models
import torch

import dsbridge as dsb
from dsbridge.model import layout
from dsbridge.model.convert import draft

TRAIN = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "dsbridge"):
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Blocked())
import mindspore as ms
import numpy as np
from mindspore import nn, ops
import model

ms.set_context(mode=int(sys.argv[2]))
try:
    ops.add(ms.Tensor(np.ones(2, np.float32)), 1).asnumpy()
except SystemError:  # numpy 2: the first operation of a process
    pass
network = getattr(model, sys.argv[1])()
missing, _ = ms.load_param_into_net(network, ms.load_checkpoint("weights.safetensors", format="safetensors"))
assert not missing, missing
network.set_train()
inputs = ms.Tensor(np.load("inputs.npy"))
optimizer = nn.SGD(network.trainable_params(), 0.01)


def loss_of(x):
    return (network(x) ** 2).mean()


step = ms.value_and_grad(loss_of, None, optimizer.parameters)
losses = []
for _ in range(4):
    loss, gradients = step(inputs)
    optimizer(gradients)
    losses.append(float(loss.asnumpy()))
print(losses[0] > losses[-1], "torch" in sys.modules)
"""


@pytest.mark.parametrize("mode", [0, 1])
def test_it_trains_where_there_is_no_torch(mode: int, tmp_path: Path) -> None:
    """With MindSpore's own loader of weights, in graph and PyNative mode."""
    import numpy as np

    torch.manual_seed(0)
    make, inputs = small_models.OWN["tiny"]
    dsb.model.convert(make(), inputs).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "PARITY.md",
        "model.py",
        "name_map.json",
        "verify.py",
        "weights.safetensors",
    ]
    np.save(tmp_path / "inputs.npy", inputs[0].numpy())
    (tmp_path / "train.py").write_text(TRAIN)
    child = subprocess.run(
        [sys.executable, "train.py", "Tiny", str(mode)], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert child.stdout.splitlines()[-1:] == ["True False"], child.stderr[-2000:]


@pytest.mark.parametrize("name", [*small_models.OWN, "resnet18", "mobilenet_v3_small", "swin", "vit", "densenet121"])
def test_the_source_is_clean(name: str, tmp_path: Path) -> None:
    """ruff has nothing to say, lines are short, and it is less than twice what a ResNet is in torch."""
    make, inputs = {**small_models.OWN, **small_models.TORCHVISION}[name]
    source = dsb.model.convert(make(), inputs).source
    file = tmp_path / "model.py"
    file.write_text(source)
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--line-length",
        "120",
        "--select",
        "E,F,W,I,B,UP,PIE",
        str(file),
    ]
    child = subprocess.run(ruff, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 0, child.stdout
    if name == "resnet18":
        from torchvision.models import resnet

        original = [inspect.getsource(one) for one in (resnet.BasicBlock, resnet.ResNet)]
        assert len(source.splitlines()) < 2 * sum(len(text.splitlines()) for text in original)


def test_modules_of_the_standard_library_are_sorted() -> None:
    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4)})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.scaled_dot_product_attention(x, self.parts["a"](x), x)

    source = dsb.model.convert(Both(), (torch.randn(1, 2, 3, 4),)).source
    assert "\nimport math\nfrom collections import OrderedDict\n\nimport mindspore as ms\n" in source, source


@pytest.mark.parametrize(
    "source",
    [
        "x = {a}(b, {c}) + {d}(e) - ({f} + g)",
        "return ({a} + {c}) * {d} ** {f}",
        "x = {a} @ {c} @ ({d} @ f)",
        "return -({a} - {c}) / {d}, {f}",
        "x = ({a} ** {c}) ** {d}(k={f})",
        "x = {a}[{c}:, :-1] * {d}.{f}(0) - (1 if g else {f})",
        "{a}[{c}] = {d}({f}, [{a}, {c}])(g).{d}",
    ],
)
def test_long_lines_mean_what_short_ones_do(source: str) -> None:
    """However they are broken."""
    long = source.format(**{name: name * 40 for name in "acdf"})
    written = "\n".join(layout.statement(ast.parse(long).body[0], "    "))
    assert ast.dump(ast.parse(textwrap.dedent(written))) == ast.dump(ast.parse(long))


def test_states_keep_their_names_and_what_is_laid_out_is_said() -> None:
    """Tuples in tuples are unpacked as the source does; the cell returns them in a row."""
    make, inputs = small_models.OWN["states"]
    made = draft(make(), inputs, {})
    assert "out, (h, c) = self.decoder(" in made.source
    (finding,) = [one for one in made.report if one.code == "outputs-named"]
    assert finding.message == "forward returns tuple, the cell a tuple: (0, 1.0, 1.1)"


@dataclass(frozen=True)
class Scored:
    """What models of many repositories return."""

    scores: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


class Scorer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Scored:
        hidden = self.first(x).tanh()
        return Scored(self.second(hidden), (hidden, x))


class Scoring(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scorer = Scorer()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.scorer(x)
        return out.scores.sum(1) + out.hidden[0].mean(1)


def test_dataclasses_are_returned_as_tuples() -> None:
    """By a module inside of another, and by the model itself; the first look compares the values."""
    inside = dsb.model.convert(Scoring(), torch.randn(2, 4))
    assert inside.report.ok, inside.report
    outside = dsb.model.convert(Scorer(), torch.randn(2, 4))
    (finding,) = [one for one in outside.report if one.code == "outputs-named"]
    assert finding.message == "forward returns Scored, the cell a tuple: (scores, hidden.0, hidden.1)"
    assert outside.report.ok, outside.report


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_written_proof_runs(tmp_path: Path) -> None:
    """verify.py of a written folder proves it again, from anywhere; and says so when the model is another one."""
    make, inputs = small_models.OWN["tied"]
    migrated = dsb.model.convert(make(), inputs)
    migrated.write(tmp_path / "out")
    assert "Not measured" in (tmp_path / "out" / "PARITY.md").read_text()
    env = {**os.environ, "PYTHONPATH": f"{Path(small_models.__file__).parent}:{Path(dsb.__file__).parent.parent}"}
    for factory, code, said in (("Tied", 0, "verify: nothing to report"), ("Tiny", 1, "another one than Tied")):
        shape = "2,7:int64" if factory == "Tied" else "2,3,8,8"
        child = subprocess.run(
            [sys.executable, "out/verify.py", f"small_models:{factory}", shape], cwd=tmp_path, env=env, capture_output=True,
            text=True, timeout=180, check=False,
        )  # fmt: skip
        assert (child.returncode, said in child.stdout + child.stderr) == (code, True), child.stderr[-2000:]


def test_what_is_wrong_is_not_written(tmp_path: Path) -> None:
    """After a failed proof."""
    make, inputs = small_models.OWN["tiny"]
    migrated: Any = dsb.model.convert(make(), inputs)
    migrated.parity = type("Failed", (), {"ok": False})()
    assert not migrated.ok
    with pytest.raises(dsb.errors.VerificationError):
        migrated.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
