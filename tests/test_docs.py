"""Every Python block of the README and the guides runs; a text block after it is what it prints."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision_shim  # noqa: F401 - the guides import torchvision

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


SLOW = [pytest.mark.slow]  # it runs the doctor, as tests of the doctor do


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name, marks=SLOW if page.name == "doctor.md" else []) for page in PAGES]
)
def test_code_blocks_run_and_print_what_they_say(page: Path) -> None:
    """The blocks of a page run in order, in one namespace."""
    names: dict[str, object] = {"__name__": "__docs__"}
    printed = ""
    ran = 0
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                name = f"{page.name} block {ran}"
                linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name  # as notebooks do
                exec(compile(text, name, "exec"), names)
            printed, ran = out.getvalue(), ran + 1
        elif language == "sh":
            printed = ""
        elif language == "text" and printed:  # otherwise it is what a command printed
            assert printed.split() == text.split()
    assert ran


@pytest.mark.skipif(np.__version__.startswith("2"), reason="the README's commands are for .venv, which is lane np1")
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path) -> None:
    """Each line of the block, literally, in its order; what the last but two prints is in the block that follows."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    place = next(number for number, (_, text) in enumerate(blocks) if "dsbridge doctor" in text)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    binaries = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    activate, *lines = blocks[place][1].splitlines()
    assert activate == ". .venv/bin/activate"
    printed = {}
    for line in lines:
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=env)
        fine = (0, 1) if line == "dsbridge doctor" else (0,)  # 1: torchvision's wheel in the environment of the tests
        assert done.returncode in fine, f"{line}\n{done.stdout}\n{done.stderr}"
        printed[line.split()[1]] = done.stdout

    def plain(text: str) -> list[str]:
        return re.sub(r"\d\.\d\de-\d\d", "x", text).split()

    assert plain(printed["verify"]) == plain(blocks[place + 1][1])
    chinese = BLOCK.findall((ROOT / "README.zh-CN.md").read_text())
    assert [text for _, text in chinese if "\n" in text and "#" not in text] == [
        text for _, text in blocks if "\n" in text and "#" not in text
    ]


def test_links_lead_somewhere() -> None:
    """Relative links in Markdown files point at files that exist."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_public_name_has_a_place_in_the_reference() -> None:
    """make docs writes a page for each; ``Unsupported`` and the others are on the page of errors."""
    import importlib.util

    import dsbridge as dsb

    spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    assert spec is not None and spec.loader is not None
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    named = {name for _, names in site.REFERENCE.values() for name in names}
    parts = ("checkpoint", "migrate", "model", "transforms")
    public = {name for name in dsb.__all__ if not name.startswith("_")} - {"errors", *parts}
    public |= {f"{part}.{name}" for part in parts for name in getattr(dsb, part).__all__}
    assert public - {"transforms.ops", "model.Unsupported"} == named  # the latter is the one of errors


def test_links_of_the_site_lead_to_pages() -> None:
    """What make_site.py checks before mkdocs does: no link to a file that is no page."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_site.py")], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
