"""The command line as such: help, versions, errors, and how little it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dsbridge
from dsbridge.cli import main as cli


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Both end with 0; the help names each command."""
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            cli.main([option])
        assert caught.value.code == 0
    out = capsys.readouterr().out
    assert dsbridge.__version__ in out
    assert all(command.name in out for command in cli.COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["bench", "--no-such-option"], ["bench", "--rounds", "0"]])
def test_command_lines_that_make_no_sense_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """argparse says what is wrong."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: dsbridge" in capsys.readouterr().err


def test_python_m_dsbridge_is_the_same_and_light() -> None:
    """``python -m dsbridge bench --list`` imports no framework."""
    code = (
        "import runpy, sys; sys.argv = ['dsbridge', 'bench', '--list']\n"
        "try: runpy.run_module('dsbridge', run_name='__main__')\n"
        "except SystemExit as exc: assert exc.code == 0\n"
        "print([m for m in ('torch', 'mindspore', 'numpy', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("workloads:")
    assert done.stdout.endswith("[]\n")
