"""Every Python block of the README and the guides runs; a text block after it is what it prints."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torchvision_shim  # noqa: F401 - the guides import torchvision

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run_and_print_what_they_say(page: Path) -> None:
    """The blocks of a page run in order, in one namespace."""
    names: dict[str, object] = {"__name__": "__docs__"}
    printed = ""
    ran = 0
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, f"{page.name} block {ran}", "exec"), names)
            printed, ran = out.getvalue(), ran + 1
        elif language == "text":
            assert printed.split() == text.split()
    assert ran


def test_links_lead_somewhere() -> None:
    """Relative links in Markdown files point at files that exist."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
