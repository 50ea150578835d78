"""Ratios, JSON, text, targets, the page, the picture: what is made of results."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench_results import entry, results

from dsbridge.bench import page, plot, tables, targets
from dsbridge.bench.results import Entry, Results, WorkloadResult
from dsbridge.errors import MissingDependencyError, UsageError

SAMPLE = results(
    entry("dsbridge", 60, 66, 90, peak_pss_bytes=400_000_000, second_first_s=0.002, stats={"batches": 3}),
    entry("torch", 10, 11, 30, peak_pss_bytes=500_000_000),
    Entry("grain", "grain", "not run", "the package grain is not installed"),
    Entry("spdl", "spdl", "failed", "its process ended with <exit> code 7"),
)


def test_ratios_compare_within_a_round() -> None:
    """The median of the rounds' ratios, not the ratio of medians: noise that hits a round hits both."""
    (workload,) = SAMPLE.workloads
    assert workload.ratio("dsbridge", "torch") == 6.0
    assert workload.ratio("dsbridge", "grain") is None
    assert workload.fastest(["torch", "dsbridge", "grain"]) == "dsbridge"
    assert workload.summary(2) == "dsbridge is 6.0x torch"


def test_json_round_trip() -> None:
    """Results survive JSON; another format is refused."""
    data = json.loads(SAMPLE.to_json())
    assert Results.from_dict(data) == SAMPLE
    assert data["workloads"][0]["entries"][0]["batches_per_s"] == 66
    with pytest.raises(ValueError, match="format 99"):
        Results.from_dict(data | {"format": 99})


def test_text_has_every_contender() -> None:
    """Those without figures have a line with the reason."""
    text = tables.text(SAMPLE)
    assert "dsbridge" in text
    assert "grain not run: the package grain is not installed" in text
    assert "spdl failed: its process ended" in text
    assert "load average 0.1 to 0.2" in text


def test_stragglers_are_compared_with_the_ideal_time() -> None:
    """40 batches on two workers take 0.68 s at best."""
    workload = results(entry("dsbridge", 20 / 0.374), workload="stragglers").workloads[0]
    assert workload.ideal_ratio("dsbridge", 2) == pytest.approx(1.1)
    assert workload.summary(2) == "dsbridge takes 1.10x the ideal time"


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (targets.Target("f32", "rate", at_least=6, against=("torch",)), 6.0, True),
        (targets.Target("f32", "rate", at_least=6.5, against=("torch",)), 6.0, False),
        (targets.Target("f32", "rate", at_least=3.1, against=("torch",), per_worker=True), 6.0, False),
        (targets.Target("f32", "rate", at_least=1, against=("grain",)), None, None),
        (targets.Target("f32", "pss", at_most=1, against=("torch",)), 0.8, True),
        (targets.Target("f32", "first", at_most=1, against=("torch",)), 1.0, True),
        (targets.Target("f32", "second", at_most=0.005), 0.002, True),
        (targets.Target("f32", "gap", at_most=0.02), 2 / 66, False),
        (targets.Target("f32", "ideal", at_most=1.1), None, None),
    ],
    ids=str,
)
def test_targets(target: targets.Target, value: float | None, met: bool | None) -> None:
    """A target is met, missed, or unknown where something was not measured."""
    (outcome,) = targets.check(SAMPLE, [target])
    assert outcome.value == (None if value is None else pytest.approx(value))
    assert outcome.met is met
    assert str(target) in str(outcome)


def test_targets_of_workloads_that_were_not_run_are_left_out() -> None:
    """Only f32 was run."""
    assert {outcome.target.workload for outcome in targets.check(SAMPLE)} == {"f32"}


class Page(HTMLParser):
    """Checks that tags are balanced and collects what they refer to."""

    VOID = frozenset({"meta", "br", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_valid() -> None:
    """Balanced tags, no scripts, nothing fetched from elsewhere, everything escaped."""
    missed = targets.Target("f32", "rate", at_least=99, against=("torch",))
    html = page.html(SAMPLE, targets.check(SAMPLE, [missed]))
    parser = Page()
    parser.feed(html)
    assert parser.open == []
    assert not parser.references
    assert not parser.tags & {"script", "link", "img", "iframe"}
    assert "url(" not in html
    assert "@import" not in html
    assert "a &lt;processor&gt; &amp; more" in html
    assert "64 x &lt;images&gt;" in html
    assert "Load average" in html
    assert 'class="missed"' in html


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_pictures_are_drawn(warm_matplotlib: None, tmp_path: Path, ending: str) -> None:
    """Also of workloads without any figures."""
    nothing = Results(2, 3, SAMPLE.machine, (*SAMPLE.workloads, WorkloadResult("u8", "bytes", 64)))
    for number, what in enumerate((SAMPLE, nothing)):
        plot.draw(what, tmp_path / f"{number}{ending}")
        assert (tmp_path / f"{number}{ending}").stat().st_size > 1000


def test_plot_needs_matplotlib_and_a_known_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib: the line that installs it."""
    with pytest.raises(UsageError, match=r"\.png, \.svg"):
        plot.draw(SAMPLE, "bench.txt")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dsbridge\[plot\]'"):
        plot.draw(SAMPLE, "bench.png")
