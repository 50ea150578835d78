"""``dsbridge bench``: the named workloads, or ``module:make_loader``, against other loaders."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from dsbridge.bench import own, page, plot, tables, targets
from dsbridge.bench.contenders import CONTENDERS, OWN_CONTENDERS, find
from dsbridge.bench.results import Results
from dsbridge.bench.runner import Plan, Runner
from dsbridge.bench.workloads import WORKLOADS
from dsbridge.cli.arguments import not_negative, writable
from dsbridge.cli.output import say, say_json
from dsbridge.errors import UsageError
from dsbridge.frameworks.detect import require_installed


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return number


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge bench``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["--json"]).json
    '-'
    """
    add = parser.add_argument
    add("loader", nargs="?", metavar="MODULE:NAME", help="your own loader, or a function that gives one")
    add("--workload", action="append", metavar="NAME", help="a workload (repeatable; default: all)")
    add("--contender", action="append", metavar="NAME", help="a contender, or module:function (repeatable; default: all)")
    add("--workers", type=not_negative, metavar="N", help="worker processes (default 2; your own loader says it itself)")
    add("--rounds", type=_positive, default=5, metavar="N", help="measured rounds (default 5)")
    add("--batches", type=_positive, metavar="N", help="batches in an epoch at most (default: the workload's)")
    add("--distinct", type=_positive, metavar="N", help="distinct samples in memory (default: the workload's)")
    add("--budget", type=_seconds, default=1.5, metavar="S", help="seconds an epoch should take at most (default 1.5)")
    add("--limit", type=_seconds, default=60.0, metavar="S", help="seconds after which a contender has failed (default 60)")
    add("--json", nargs="?", const="-", metavar="FILE", help="JSON to the file, or instead of the tables to stdout")
    add("--html", metavar="FILE", help="also write one self-contained page")
    add("--plot", metavar="FILE", help="also draw a picture (.png or .svg; needs dsbridge[plot])")
    add("--check", action="store_true", help="compare with the targets; exit code 1 if one is missed")
    add("--list", action="store_true", help="list workloads, contenders and targets, and measure nothing")


def listing() -> str:
    """What there is to choose from.

    >>> listing().splitlines()[0]
    'workloads:'
    """
    workloads = [(f"  {w.name}", w.title) for w in WORKLOADS.values()]
    contenders = [(f"  {c.name}", c.title) for c in CONTENDERS.values()]
    lines = ["workloads:", *_pairs(workloads), "contenders:", *_pairs(contenders)]
    return "\n".join([*lines, "targets (--check):", *(f"  {target}" for target in targets.TARGETS)])


def _pairs(pairs: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in pairs)
    return [f"{name:<{width}}  {text}" for name, text in pairs]


def make_plan(arguments: argparse.Namespace) -> Plan:
    """The plan a command line asks for. Raises ``UsageError`` for names that do not exist and options that do not fit.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> make_plan(parser.parse_args(["--workload", "tiny", "--contender", "torch"]))
    Plan(tiny; torch; 2 workers, 5 rounds)
    """
    loader = arguments.loader or ""
    if loader:
        own.check_spec(loader)
        for option in ("workload", "workers", "distinct", "check"):
            if getattr(arguments, option) not in (None, False):
                raise UsageError(f"--{option} does not go with your own loader", hint=f"leave out --{option} or {loader}")
    names = tuple(dict.fromkeys(arguments.workload or WORKLOADS))
    for name in names:
        if name not in WORKLOADS:
            raise UsageError(f"no workload {name!r}", hint=f"one of {', '.join(WORKLOADS)}")
    contenders = tuple(dict.fromkeys(arguments.contender or (OWN_CONTENDERS if loader else CONTENDERS)))
    for name in contenders:
        find(name, own=bool(loader))
    return Plan(
        workloads=names,
        contenders=contenders,
        loader=loader,
        workers=2 if arguments.workers is None else arguments.workers,
        rounds=arguments.rounds,
        batches=arguments.batches,
        distinct=arguments.distinct,
        budget_s=arguments.budget,
        limit_s=arguments.limit,
    )


def _progress(text: str, begin: float = time.monotonic()) -> None:  # when this was imported
    sys.stderr.write(f"{time.monotonic() - begin:5.0f} s  {text}\n")
    sys.stderr.flush()


def run(arguments: argparse.Namespace) -> int:
    """Measure and report; 1 if a contender failed, or with --check a target was missed.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> run(parser.parse_args(["--list"]))    # doctest: +ELLIPSIS
    workloads:
    ...
    0
    """
    if arguments.list:
        say(listing())
        return 0
    plan = make_plan(arguments)
    writable(arguments.json, arguments.html, arguments.plot)
    require_installed("torch", "mindspore", purpose="a benchmark")
    if arguments.plot:
        plot.check_path(arguments.plot)
        plot.require_matplotlib()
    results = measure(plan)
    return report(results, arguments)


def measure(plan: Plan) -> Results:
    """Run the plan, with progress on stderr; the user's own loader gets its verdict."""
    with Runner(plan, _progress) as runner:
        results = runner.run()
    return own.judged(results) if plan.loader else results


def report(results: Results, arguments: argparse.Namespace) -> int:
    """Write the results wherever they are wanted and return the exit code."""
    outcomes = targets.check(results) if arguments.check else []
    data = results.to_dict() | ({"targets": [o.to_dict() for o in outcomes]} if arguments.check else {})
    if arguments.json == "-":
        say_json(data)
    else:
        checked = ["", tables.outcomes_text(outcomes)] if arguments.check else []
        say("\n".join([tables.text(results), *checked]))
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(data, indent=2) + "\n")
    if arguments.html:
        Path(arguments.html).write_text(page.html(results, outcomes))
    if arguments.plot:
        plot.draw(results, arguments.plot)
    return 0 if results.ok and all(outcome.met is not False for outcome in outcomes) else 1
