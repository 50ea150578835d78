"""What holds for each command: help, JSON, exit codes, a missing framework, speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dsbridge as dsb
from dsbridge.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent.parent
BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {name!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Blocked())
"""
SETUP = """
import torch

def loader():
    return torch.utils.data.DataLoader([(float(i), i) for i in range(8)], batch_size=4)

def model():
    return torch.nn.Linear(4, 3)

def network():
    from mindspore import nn
    return nn.Dense(4, 3)

def net():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())

class Looks(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

def fails():
    raise ValueError("no data here")

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two checkpoints and a module with a loader, a model and a network."""
    (tmp_path / "setup_here.py").write_text(SETUP)
    linear = torch.nn.Linear(4, 3)
    torch.save(linear.state_dict(), tmp_path / "a.pth")
    dsb.checkpoint.convert(tmp_path / "a.pth", tmp_path / "b.safetensors", progress=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, *words: str, without: str = "", path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``python -m dsbridge ...`` in the folder, with the import of a package blocked."""
    where = folder / "blocking"
    where.mkdir(exist_ok=True)
    (where / "sitecustomize.py").write_text(BLOCK.format(name=without) if without else "")
    env = {**os.environ, "PYTHONPATH": f"{where}:{ROOT}", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "dsbridge", *words], capture_output=True, text=True, timeout=110, cwd=folder, env=env
    )


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options with explanations; exit code 0."""
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: dsbridge {command}" in out and "--json" in out and "--verbose" in out


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["inspect", "a.pth"], {"path": str, "format": str, "ok": bool, "nbytes": int, "tensors": list, "findings": list}),
        (["inspect", "a.pth", "b.safetensors"], {"equal": bool, "alike": int, "only_first": list, "findings": list}),
        (["convert", "a.pth", "c.ckpt", "--dry-run"], {"ok": bool, "rows": list}),
        (["convert", "a.pth", "c.ckpt"], {"ok": bool}),
        (["verify", "a.pth", "b.safetensors"], {"ok": bool, "tensors": dict}),
        (["plan", "setup_here:loader"], {"ok": bool, "parts": list, "transforms": dict, "findings": list}),
        (["plan", "setup_here:loader", "--verify", "1"], {"ok": bool, "measured": dict}),
        (
            ["model", "setup_here:net", "--input-shape", "2,4", "--no-verify"],
            {"ok": bool, "source": str, "name_map": dict, "report": dict},
        ),
        (
            ["model", "setup_here:net", "--input-shape", "2,4", "--flavour", "mint"],
            {"ok": bool, "source": str, "name_map": dict},
        ),
    ],
)
def test_json_of_a_good_run(words: list[str], keys: dict[str, type], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, nothing but JSON on stdout, nothing on stderr, fields of the types stated."""
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert not err and {key: type(data.get(key)) for key in keys} == keys
    assert main(words) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "a.pth", "other.pth"],
        ["convert", "other.pth", "c.ckpt", "--dry-run", "--network", "setup_here:network", "--model", "setup_here:model"],
        ["verify", "a.pth", "other.pth"],
        ["model", "setup_here:Looks", "--input-shape", "2,4"],
    ],
)
def test_findings_are_exit_code_1(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was looked at is not fine."""
    torch.save(torch.nn.Linear(5, 3).state_dict(), folder / "other.pth")
    sys.modules.pop("setup_here", None)
    assert main(words) == 1, capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "none.pth"], "none.pth is not there"),
        (["inspect", "a.pth", "--grep", "("], "no regular expression"),
        (["inspect", "a.pth", "b.safetensors", "--tree"], "--tree shows one"),
        (["inspect", "a.pth", "rows.parquet"], "one is a dataset"),
        (["convert", "none.pth", "c.ckpt"], "none.pth is not there"),
        (["convert", "a.pth", "c.ckpt", "--model", "setup_here"], "is no MODULE:FACTORY"),
        (["verify", "a.pth", "none.ckpt"], "none.ckpt is not there"),
        (["plan", "setup_here:nothing"], "has no attribute 'nothing'"),
        (["plan", "setup_here:number"], "plan reads a torch or dsbridge DataLoader"),
        (["plan", "setup_here:loader", "--emit", "no/such/out.py"], "its folder does not exist"),
        (["plan", "setup_here:loader", "--emit", "-", "--json"], "both want stdout"),
        (["plan", "setup_here:fails"], "ValueError: no data here (-v shows where)"),
        (["model", "setup_here:net"], "give --inputs or --input-shape"),
        (["model", "setup_here:net", "--input-shape", "2,5"], "mat1 and mat2 shapes cannot be multiplied"),
        (["bench", "setup_here:loader", "--workload", "f32"], "does not go with your own loader"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, nothing on stdout."""
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table({"x": [1]}), folder / "rows.parquet")
    sys.modules.pop("setup_here", None)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith(f"dsbridge {words[0]}: ") and message in err


def test_a_traceback_comes_with_v(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And only then."""
    sys.modules.pop("setup_here", None)
    assert main(["plan", "setup_here:fails", "-v"]) == 2
    assert "in fails" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "without", "code", "message"),
    [
        (["plan", "setup_here:loader"], "torch", 2, "No module named 'torch'"),
        (["convert", "a.pth", "c.ckpt", "--model", "setup_here:model"], "torch", 2, "No module named 'torch'"),
        (["convert", "a.pth", "c.ckpt", "--network", "setup_here:network"], "mindspore", 2, "mindspore"),
        (["verify", "a.pth", "b.safetensors", "--model", "setup_here:model"], "torch", 2, "No module named 'torch'"),
        (["plan", "setup_here:loader", "--verify", "1"], "mindspore", 2, "mindspore"),
        (["model", "setup_here:net", "--input-shape", "2,4"], "torch", 2, "No module named 'torch'"),
        (["model", "setup_here:net", "--input-shape", "2,4"], "mindspore", 2, "mindspore"),
        (["bench", "--workload", "tiny"], "torch", 2, "torch"),
        (["bench", "--workload", "tiny"], "mindspore", 2, "mindspore"),
        (["inspect", "a.pth"], "torch", 0, ""),
        (["inspect", "a.pth"], "mindspore", 0, ""),
        (["convert", "a.pth", "c.ckpt"], "torch", 0, ""),
        (["convert", "a.pth", "c.ckpt"], "mindspore", 0, ""),
        (["verify", "a.pth", "b.safetensors"], "torch", 0, ""),
        (["doctor", "--json"], "torch", 1, ""),
        (["doctor", "--json"], "mindspore", 1, ""),
    ],
)
def test_without_a_framework(words: list[str], without: str, code: int, message: str, folder: Path) -> None:
    """One clear line and exit code 2 where it is needed; what needs none works."""
    done = run(folder, *words, without=without)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if message:
        assert done.stderr.count("\n") == 1 and message in done.stderr and not done.stdout
    if words[0] == "doctor":
        codes = {finding["code"] for finding in json.loads(done.stdout)["findings"]}
        assert "import-fails" in codes and "check-failed" not in codes


def test_help_comes_at_once() -> None:
    """Under 150 ms, the interpreter included: the process's own seconds, the best of forty, because other tests run beside it.

    -S: not the .pth files of an editable install and of coverage, which take 50 ms in every Python of this environment.
    """

    def seconds() -> float:
        child = subprocess.Popen([sys.executable, "-S", "-m", "dsbridge", "--help"], stdout=subprocess.DEVNULL, cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        return usage.ru_utime + usage.ru_stime

    assert any(seconds() < 0.150 for _ in range(40))


def test_colours_on_a_terminal_only(folder: Path) -> None:
    """Severities are coloured for people; NO_COLOR is honoured; a pipe gets plain text."""
    import pty

    code = "from dsbridge.cli.output import say; say('x: 1 finding\\n  error few-files [ulimit -n]: at most 64')"

    def shown(**env: str) -> str:
        leader, follower = pty.openpty()
        subprocess.run(
            [sys.executable, "-c", code], stdout=follower, env={**os.environ, "TERM": "xterm", **env}, cwd=ROOT, check=True
        )
        os.close(follower)
        text = os.read(leader, 4096).decode()
        os.close(leader)
        return text

    assert "\x1b[1;31merror" in shown()
    assert "\x1b" not in shown(NO_COLOR="1")
    assert "\x1b" not in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout
