"""``dsbridge inspect``: tables and JSON on stdout, exit codes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from dsbridge.checkpoint.formats.safetensors_format import SafetensorsWriter
from dsbridge.checkpoint.stored import Span, Stored
from dsbridge.cli import inspect as command
from dsbridge.errors import CheckpointError, UsageError


def write(path: Path, count: int, dtype: str = "int8", **metadata: str) -> Path:
    """A file of ``count`` tensors."""
    size = np.dtype(dtype).itemsize
    writer = SafetensorsWriter()
    with open(path, "wb") as file:
        writer.begin(file, [Stored(f"w{n}", dtype, (1,), (Span("", 0, size),)) for n in range(count)], metadata)
        for n in range(count):
            writer.write(f"w{n}", [bytes(size)])
        writer.end()
    return path


def run(*arguments: object) -> int:
    """Parse and run."""
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has 50 rows unless more are asked for; JSON has all."""
    path = write(tmp_path / "m", 60)
    for options, lines in (([], 52), (["--limit", 3], 5), (["--limit", 0], 61)):
        assert run(path, *options) == 0
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == lines and out.startswith(f"{path}: safetensors, 60 tensors, 60 bytes") and not err
    assert run(path, "--json", "--limit", 3) == 0
    assert len(json.loads(capsys.readouterr().out)["tensors"]) == 60


def test_findings_are_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And are printed, of one file and of two."""
    path = write(tmp_path / "m", 1, remove_redundancy="True")
    assert run(path) == 1
    assert "error one-rank" in capsys.readouterr().out
    assert run(path, path) == 1
    assert "error one-rank" in capsys.readouterr().out
    assert run(path, path, "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert data["equal"] is True and [len(findings) for findings in data["findings"]] == [1, 1]


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 where names, shapes and dtypes are alike, 1 where not."""
    a, b, c = write(tmp_path / "a", 2), write(tmp_path / "b", 2), write(tmp_path / "c", 3, "int16")
    assert run(a, b) == 0
    assert "2 tensors alike" in capsys.readouterr().out
    assert run(a, c) == 1
    out = capsys.readouterr().out
    assert f"only in {c}" in out and "w0  int8  int16" in out
    assert run(a, c, "--json") == 1
    assert json.loads(capsys.readouterr().out)["only_second"] == ["w2"]


def test_paths_that_are_not_there_and_files_that_are_none(tmp_path: Path) -> None:
    """A command line that makes no sense (exit code 2), a file that cannot be read (1)."""
    with pytest.raises(UsageError, match="is not there"):
        run(write(tmp_path / "m", 1), tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match="none of"):
        run(tmp_path / "bad")
    with pytest.raises(SystemExit) as caught:
        run(tmp_path / "m", "--limit", "-1")
    assert caught.value.code == 2
