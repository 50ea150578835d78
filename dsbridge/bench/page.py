"""Results as one HTML page that needs nothing else: no scripts, no fonts, no files; bars are CSS."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dsbridge.bench.contenders import OURS
from dsbridge.bench.results import Results, WorkloadResult
from dsbridge.bench.tables import HEADERS, absent, rows
from dsbridge.bench.targets import Outcome

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5em 0 }
th, td { padding: 0.2em 0.7em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
.bars { display: grid; grid-template-columns: max-content 1fr; gap: 0.2em 0.8em; margin: 0.8em 0 }
.bar { background: #9ab; height: 1.3em; min-width: 2px; white-space: nowrap }
.bar span { padding-left: 0.4em }
.ours { background: #2a7 }
.verdict { font-weight: 600 }
.missed { color: #b00 }
.wide { overflow-x: auto }
"""

METHOD = (
    "Each contender lives in a process of its own and takes its turn, one epoch each, round after round; the first round "
    "is not measured, medians are shown. Batches arrive as MindSpore tensors; the consumer reads one byte of each page and "
    "drops a batch before it asks for the next. Slow contenders get fewer batches. The rate counts batches after the first "
    "one, “whole” all of them over the whole epoch, start and end included; “first” runs from asking for the iterator to "
    "the first batch; “2nd” is the same in later epochs with persistent workers. Gaps lie between batches. CPU is that of "
    "the process tree, a batch. MB is the peak of the process tree's proportional set size, in an extra epoch."
)


def _cells(kind: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(text)}</{kind}>" for text in texts) + "</tr>"


def _bars(workload: WorkloadResult) -> str:
    entries = [entry for entry in workload.entries if entry.ok]
    top = max((entry.median(workload.headline) for entry in entries), default=1.0)
    parts = []
    for entry in entries:
        rate = entry.median(workload.headline)
        ours = " ours" if entry.contender in OURS else ""
        bar = f'<div class="bar{ours}" style="width: {100 * rate / top:.2f}%"><span>{rate:,.1f} batches/s</span></div>'
        parts.append(f'<div title="{escape(entry.title)}">{escape(entry.contender)}</div>{bar}')
    return f'<div class="bars">{"".join(parts)}</div>'


def _section(workload: WorkloadResult, workers: int) -> str:
    parts = [f"<h2>{escape(workload.name)}: {escape(workload.title)}</h2>"]
    parts.append(f'<p class="verdict">{escape(workload.summary(workers))}</p>')
    table = rows(workload)
    if table:
        body = "\n".join(_cells("td", row) for row in table)
        head = _cells("th", HEADERS)
        parts += [_bars(workload), f'<div class="wide"><table><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>']
    lines = absent(workload)
    if lines:
        parts.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")
    return "\n".join(parts)


def _targets(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    marks: dict[bool | None, str] = {False: ' class="missed"'}
    items = "\n".join(f"<li{marks.get(o.met, '')}>{escape(str(o))}</li>" for o in outcomes)
    return f"<h2>Targets</h2>\n<ul>\n{items}\n</ul>"


def html(results: Results, outcomes: Sequence[Outcome] = ()) -> str:
    """The page.

    >>> from dsbridge.bench.results import Machine
    >>> html(Results(2, 5, Machine.here()))[:15]
    '<!DOCTYPE html>'
    """
    machine = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    facts = (
        ("Machine", f"{machine.cores} cores, {machine.processor}, {machine.system}"),
        ("Load average", f"{machine.load[0]} before, {machine.load[1]} after"),
        ("Packages", f"Python {machine.python}, {packages}"),
        ("Run", f"{results.workers} workers, medians of {results.rounds} rounds"),
        ("Command", results.command),
    )
    described = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    sections = "\n".join(_section(workload, results.workers) for workload in results.workloads)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dsbridge bench</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>dsbridge bench</h1>
{sections}
{_targets(outcomes)}
<h2>Method</h2>
<p>{escape(METHOD)}</p>
<h2>Machine</h2>
<dl>
{described}
</dl>
</body>
</html>
"""
