"""Lays out build/docs for mkdocs: the Markdown files with links that fit, examples as pages, reference pages from docstrings.

Run it: make docs. A link to a file that is no page of the site is an error here, a dead one is an error of mkdocs.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import shutil
from pathlib import Path

import dsbridge
from dsbridge.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "docs"
TOP = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh-CN.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)]*)?\)")

NEEDS_TORCH = {"model", "migrate"}
# page -> (title, the names on it); a test holds that every public name is on one of them
REFERENCE = {
    "loaders": ("Datasets and loaders", ["wrap", "Schema", "Column", "Structure", "DataLoader", "LoaderStats", "to_mindspore"]),
    "pipelines": (
        "Transforms and plans",
        ["plan", *(f"transforms.{name}" for name in dsbridge.transforms.__all__ if name != "ops")],
    ),
    "checkpoints": ("Checkpoints", [f"checkpoint.{name}" for name in dsbridge.checkpoint.__all__]),
    "models": (
        "Models",
        ["model.convert", "model.MigratedModel", "model.register", "model.cell", "model.code", "model.Refused"],
    ),
    "training": ("Whole trainings", [f"migrate.{name}" for name in dsbridge.migrate.__all__]),
    "reports": (
        "Reports, the doctor, errors",
        ["Finding", "Report", "doctor", *(n for n in vars(dsbridge.errors) if n.endswith(("Error", "Unsupported")))],
    ),
}


def pages() -> dict[Path, str]:
    """Each file of the repository that is a page, and the page's path in the site."""
    found = {ROOT / name: page for name, page in TOP.items()}
    found |= {path: path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    found |= {path: f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.py")}
    return found


def relinked(text: str, source: Path, page: str, known: dict[Path, str]) -> str:
    """Links between files of the repository as links between pages."""

    def replaced(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        if target not in known:
            raise SystemExit(f"{source.relative_to(ROOT)} links to {match[1]}, which is no page")
        return f"]({os.path.relpath(known[target], Path(page).parent)}{match[2] or ''})"

    return LINK.sub(replaced, text)


def reference(title: str, names: list[str]) -> str:
    """A page of public names, each by its docstring."""
    lines = [f"# {title}", ""]
    for name in names:
        home, _, short = name.rpartition(".")
        if home in NEEDS_TORCH:  # where the site is made there is none: the name as it is imported
            lines += [f"::: dsbridge.{name}", "    options:"]
        else:
            value = getattr(importlib.import_module(f"dsbridge.{home}" if home else "dsbridge"), short)
            lines += [f"::: {value.__module__}.{value.__qualname__}", "    options:"]
        lines += [f"      heading: dsb.{name}", f"      toc_label: {short}", ""]
    return "\n".join(lines)


def command_line() -> str:
    """What --help says, of each command."""
    lines = ["# Command line", "", "Exit codes: 0 all is fine, 1 there are findings, 2 it could not be done.", ""]
    for words in ([], *([command.name] for command in COMMANDS)):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*words, "--help"])
        lines += [f"## {' '.join(['dsbridge', *words])}", "", "```text", out.getvalue().strip(), "```", ""]
    return "\n".join(lines)


def write(page: str, text: str) -> None:
    """One page."""
    path = OUT / page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make() -> None:
    """All pages."""
    shutil.rmtree(OUT, ignore_errors=True)
    known = pages()
    for source, page in known.items():
        text = source.read_text()
        if source.suffix == ".py":
            write(page, f"# {source.name}\n\n```python\n{text}```\n")
        else:
            write(page, relinked(text, source, page, known))
    for name, (title, names) in REFERENCE.items():
        write(f"reference/{name}.md", reference(title, names))
    write("reference/cli.md", command_line())


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    make()
