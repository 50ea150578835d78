"""``dsbridge migrate --inspect PATH``: what the command line calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from dsbridge.errors import UsageError
from dsbridge.migrate.inspect.scan import Progress, inspect


def _to_stdout(text: str) -> None:
    sys.stdout.write(text + "\n")


def run(
    path: str, as_json: bool = False, sarif: str | None = None, *, everything: bool = False,
    say: Callable[[str], None] = _to_stdout, progress: Progress | None = None,
) -> int:  # fmt: skip
    """Inspect a file or folder and say what was found; 0 if nothing needs attention, 1 if something does.

    ``sarif``: also write this file. ``everything``: list what is fine too. ``say``: writes a text with a line's end.
    Raises ``UsageError`` for a path that is not there, or a SARIF file that cannot be written.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".py") as file:
    ...     run(file.name, as_json=True, say=lambda text: print(json.loads(text)["files"]))
    1
    0
    """
    if sarif is not None and not Path(sarif).resolve().parent.is_dir():
        raise UsageError(f"cannot write {sarif}: its folder does not exist")
    report = inspect(path, progress)
    if sarif is not None:
        try:
            Path(sarif).write_text(json.dumps(report.to_sarif(), indent=2) + "\n")
        except OSError as exc:
            raise UsageError(f"cannot write {sarif}: {exc.strerror}") from exc
    say(json.dumps(report.to_dict(), indent=2) if as_json else report.text(everything))
    return 0 if report.clean else 1
