"""``dsbridge verify``: bits, then outputs; exit codes; and what a user sees."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dsbridge as dsb
from dsbridge.cli import verify as command
from dsbridge.errors import UsageError
from dsbridge.frameworks.mindspore_tensors import tensor_type

NETS = """
import numpy, torch
from mindspore import Tensor, nn

def model():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.GELU())

def network():
    return nn.SequentialCell(nn.Dense(4, 3), nn.BatchNorm1d(3), nn.GELU(False))

def busy():
    Tensor(numpy.ones(1, "f4")) + 1  # on numpy 2 the first operation of a process fails
    return network()

def other():
    return nn.SequentialCell(nn.Dense(4, 3), nn.BatchNorm1d(3), nn.GELU())

def inputs():
    return numpy.linspace(-2, 2, 20, dtype=numpy.float32).reshape(5, 4)
"""
LIVE = ("--model", "verify_nets:model", "--network", "verify_nets:network")


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    (tmp_path / "verify_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    tensor_type()  # what numpy 2 says here goes through sys.stderr, which pytest replaces
    import verify_nets

    torch.manual_seed(0)
    model = verify_nets.model()
    for tensor in (*model[1].parameters(), *model[1].buffers()):
        if tensor.ndim:
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    torch.save(model.state_dict(), "a.pth")
    dsb.checkpoint.convert("a.pth", "b.ckpt", model=model, network=verify_nets.network(), progress=False)
    yield Path("a.pth"), Path("b.ckpt")
    sys.modules.pop("verify_nets", None)


def test_bits_audit_and_outputs(pair, capsys) -> None:
    for more in (("--inputs", "verify_nets:inputs"), ("--input-shape", "5,4")):
        assert run(*pair, *LIVE, *more) == 0
        out, err = capsys.readouterr()
        assert "6 of 6 tensors equal bit for bit" in out and "audit: nothing to report" in out and "forward: 1 output" in out
        assert not err
    assert run(*reversed(pair), *LIVE, "--input-shape", "5,4") == 0  # and the way back
    assert "7 of 7 tensors equal" in capsys.readouterr().out


def test_another_activation_is_found(pair, capsys) -> None:
    other = (
        "--model",
        "verify_nets:model",
        "--network",
        "verify_nets:other",
        "--input-shape",
        "5,4",
        "--json",
        "--rtol",
        "1e-5",
    )
    assert run(*pair, *other) == 1
    data = json.loads(capsys.readouterr().out)
    assert not data["ok"] and data["tensors"]["ok"] and not data["audit"]["ok"]
    assert data["outputs"]["diverges"] == "2"


def test_a_file_that_was_changed(pair, capsys) -> None:
    source, target = pair
    data = bytearray(target.read_bytes())
    at = data.rfind(torch.load(source, weights_only=True)["0.weight"].numpy().tobytes())
    data[at + 3] ^= 1
    target.chmod(0o644)
    target.write_bytes(data)
    assert run(source, target, *LIVE) == 1
    assert "error differs [0.weight]: element [0, 0] is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--input-shape", "2,3"), "running both models needs both"),
        (("--inputs", "a:b", "--input-shape", "2"), "two ways to say the same"),
        ((*LIVE, "--input-shape", "2,x"), "--input-shape '2,x'"),
        ((*LIVE, "--input-shape", "2:float33"), "--input-shape '2:float33'"),
        (("--model", "verify_nets"), "is no MODULE:FACTORY"),
        (("--model", "no_such_module:model"), "cannot find no_such_module:model"),
    ],
)
def test_command_lines_that_make_no_sense(pair, arguments, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("[", r"\[")):
        run(*pair, *arguments)


def test_as_a_user_runs_it(pair) -> None:
    line = [sys.executable, "-m", "dsbridge", "verify"]
    live = ("--model", "verify_nets:model", "--network", "verify_nets:busy", "--input-shape", "5,4")
    good = subprocess.run([*line, "a.pth", "b.ckpt", *live], capture_output=True, text=True, timeout=100)
    assert good.returncode == 0 and "6 of 6 tensors" in good.stdout and "forward: 1 output" in good.stdout, good.stderr
    assert not good.stderr
    gone = subprocess.run([*line, "a.pth", "no.ckpt"], capture_output=True, text=True, timeout=60)
    assert gone.returncode == 2 and "Traceback" not in gone.stderr and "no.ckpt" in gone.stderr
