"""What notebooks show: the text of reports as HTML, in colour and escaped."""

from __future__ import annotations

import re
from html import unescape

import pytest
import torch

import dsbridge as dsb
from dsbridge.report import Reported
from dsbridge.styles import repr_html

LOADER = torch.utils.data.DataLoader([(1.0, 0), (2.0, 1)], batch_size=2)


@pytest.mark.parametrize(
    "shown",
    [
        dsb.wrap([(1.0, 0)]).schema,
        dsb.Report("r", [dsb.Finding("few-files", "error", "<here>", "at most 64")]),
        dsb.plan(LOADER),
        dsb.plan(LOADER).report,
        dsb.LoaderStats(batches=3),
        dsb.transforms.translate([dsb.transforms.ops.ToTensor()]).report,
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_the_text_is_what_str_says(shown: object) -> None:
    """Nothing is wrapped, cut or lost."""
    html = shown._repr_html_()  # type: ignore[attr-defined]
    assert html.startswith("<pre") and html.endswith("</pre>")
    assert unescape(re.sub(r"<[^>]+>", "", html)) == str(shown)


def test_severities_are_coloured() -> None:
    """And what looks like HTML is text."""
    html = repr_html(dsb.Report("r", [dsb.Finding("few-files", "error", "<b>", "x" * 500)]))
    assert 'font-weight: bold">error</span>' in html and "&lt;b&gt;" in html and "x" * 500 in html


def test_checkpoints(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Inspections, plans and conversions."""
    torch.save({"w": torch.zeros(2)}, tmp_path / "a.pth")
    for shown in (dsb.checkpoint.inspect(tmp_path / "a.pth"), dsb.checkpoint.plan(tmp_path / "a.pth", tmp_path / "b.ckpt")):
        assert "float32[2]" in unescape(shown._repr_html_())


def test_every_report_can_be_asked_the_same() -> None:
    """ok, findings, str, to_dict, raise_if, raise_if_failed: of each class that reports, wherever it lives."""
    import importlib
    import pkgutil

    for module in pkgutil.walk_packages(dsb.__path__, "dsbridge."):
        if ".bench." not in module.name and "__main__" not in module.name:
            importlib.import_module(module.name)
    waiting, classes = [dsb.Report, Reported], [dsb.LoaderStats]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        classes.append(one)
    classes.remove(Reported)
    assert len(classes) >= 11
    for one in classes:
        asked = ("ok", "findings", "to_dict", "raise_if", "raise_if_failed", "_repr_html_")
        assert [name for name in asked if not hasattr(one, name)] == [], one
        assert one.__str__ is not object.__str__
