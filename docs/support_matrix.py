"""Writes docs/reference/models.md: what dsb.model converts, by running every probe of tests/model against torch.

Run it: make support-matrix. Layers and functions take some minutes, whole models an hour; `--only layers` and the like do a
part and keep the rest. Each model is proven in a process of its own, `--jobs 2` at a time (a large one takes 8 GB).
`--check` ends with 1 and a list if anything is not as it should be: it is the acceptance of whole models.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import further_models
import mindspore
import numpy as np
import proofs
import small_models
import test_function_entries
import test_layer_entries
import torch

import dsbridge as dsb
from dsbridge.errors import Unsupported
from dsbridge.model.convert import draft
from dsbridge.model.functions import registry as functions
from dsbridge.model.layers import registry as layers

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "docs" / "reference" / "models.json"
PAGE = ROOT / "docs" / "reference" / "models.md"

OPENED = "the functions it calls"

MODELS = {**small_models.OWN, **small_models.TORCHVISION, **small_models.ZOOS}
IN_PART = {"swin": "warning one-size "}  # it shifts windows or not by the size of the image: for the example's only

Row = dict[str, Any]


def main() -> int:
    """Run the parts asked for, keep the others' results, write the page; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; repeatable")
    parser.add_argument("--model", action="append", help="of the models, only this one; repeatable")
    parser.add_argument("--missing", action="store_true", help="of the models, only those without a result")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time (1)")
    parser.add_argument("--check", action="store_true", help="end with 1 if a result of these parts is not as it should be")
    parser.add_argument("--prove", metavar="MODEL", help="print the row of one model as the last line, and do nothing else")
    arguments = parser.parse_args()
    if arguments.prove:
        sys.stdout.write(f"{json.dumps(_proven({**MODELS, **further_models.FURTHER}[arguments.prove]))}\n")
        return 0
    stored: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    stored["versions"] = {"torch": torch.__version__, "mindspore": mindspore.__version__, "numpy": np.__version__}
    parts = arguments.only or PARTS
    for part in parts:
        rows = stored.setdefault(part, {})
        if not (arguments.model or arguments.missing):
            rows.clear()
        if part in WHOLE:
            names = [name for name in WHOLE[part] if not arguments.model or name in arguments.model]
            found = _side_by_side([name for name in names if not (arguments.missing and name in rows)], arguments.jobs)
        else:
            found = CASES[part]()
        for name, row in found:
            sys.stderr.write(f"{name}: {row}\n")
            rows[name] = row
            if part in WHOLE:  # they come in any order
                rows = stored[part] = {name: rows[name] for name in WHOLE[part] if name in rows}
            STORE.write_text(json.dumps(stored, indent=1) + "\n")
    PAGE.write_text(page(stored))
    wrong = list(unexpected(stored, parts)) if arguments.check else []
    sys.stderr.writelines(f"not as it should be: {line}\n" for line in wrong)
    return int(bool(wrong))


def unexpected(stored: dict[str, Any], parts: Iterable[str]) -> Iterator[str]:
    """What is not as it should be, a line each: cases that fail, models of the tests not verified, further ones not equal."""
    for part in parts:
        rows: dict[str, Row] = stored.get(part, {})
        if part not in WHOLE:
            yield from (f"{part}, {name}: {case} fails" for name, row in rows.items() for case in row["failed"])
            continue
        yield from (f"{part}, {name}: not run" for name in WHOLE[part] if name not in rows)
        fine = {"verified"} if part == "models" else {"verified", "verified in part", "unsupported"}
        for name, row in rows.items():
            told = row.get("why") or "; ".join(row["findings"])
            known = name in IN_PART and all(one.startswith(IN_PART[name]) for one in row.get("findings", ()))
            if row["status"] not in ({*fine, "verified in part"} if known else fine):
                yield f"{part}, {name}: {row['status']}: {told}"


def _side_by_side(names: list[str], jobs: int) -> Iterator[tuple[str, Row]]:
    """The rows of models as they come, each proven in a process of its own."""
    with ThreadPoolExecutor(jobs) as threads:
        under_way = {threads.submit(_in_a_process, name): name for name in names}
        for done in as_completed(under_way):
            yield under_way[done], done.result()


def _in_a_process(name: str) -> Row:
    ended = subprocess.run([sys.executable, __file__, "--prove", name], stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        return {"status": "FAILS", "why": f"the process ended with exit code {ended.returncode}"}
    row: Row = json.loads(ended.stdout.splitlines()[-1])
    return row


def _layers() -> Iterator[tuple[str, Any]]:
    """Each class of torch.nn: settings proven, and those refused, with the reason."""
    layers.load_all()
    cases = [case for group in test_layer_entries.GROUPS.values() for case in group()]
    failed = proofs.failures(cases)
    for cls in sorted([*layers.LAYERS, *opened_classes()], key=lambda one: one.__name__):
        mine = [case for case in cases if any(type(part) is cls for part in case.module.modules())]
        made = _made(cls, mine) if cls in layers.LAYERS else OPENED
        refused = [_refusal(layer, x) for layer, x in test_layer_entries.REFUSED if type(layer) is cls]
        yield cls.__name__, {"cell": made, "refused": refused, **_verdicts([case.name for case in mine], failed)}


def opened_classes() -> list[type]:
    """Classes of torch.nn without an entry, that are written as the functions they call: those with a case."""
    layers.load_all()
    tried = {type(case.module) for group in test_layer_entries.GROUPS.values() for case in group()}
    return [cls for cls in tried if cls.__module__.startswith("torch.nn.") and cls not in layers.LAYERS]


def _made(cls: type, cases: list[proofs.Case]) -> str:
    for case in cases:
        for part in case.module.modules():
            if type(part) is cls:
                made = layers.find(part)
                assert made is not None
                return made(part, layers.Seen(())).callee
    return ""


def _refusal(layer: Any, x: Any) -> str:
    try:
        draft(test_layer_entries.Holds(layer), (x,), {})
    except Unsupported as refused:
        return refused.reason
    return ""


def _functions() -> Iterator[tuple[str, Any]]:
    """Each entry of the table of functions, under all its names: the cases that go through it."""
    functions.load_all()
    failed = proofs.failures(
        [proofs.Case(name, proofs.Calls(one), inputs) for name, (one, inputs) in test_function_entries.CASES.items()]
    )
    used = test_function_entries.names_by_entry()
    entries: dict[Any, list[str]] = {}
    for name, made in sorted(functions.FUNCTIONS.items()):
        entries.setdefault(made, []).append(name)
    for alike in entries.values():
        names = sorted({case for name in alike for case in used.get(name, ())})
        refused = [name for name in names if name in test_function_entries.REFUSED]
        proven = [name for name in names if name not in refused]
        yield ", ".join(alike), {"refused": refused, **_verdicts(proven, failed)}


def _verdicts(names: list[str], failed: dict[str, str]) -> dict[str, Any]:
    return {"proven": len([name for name in names if name not in failed]), "failed": [name for name in names if name in failed]}


def _proven(example: further_models.Example) -> Row:
    """The row of a model: converted and verified."""
    make, inputs = example
    began = time.monotonic()
    torch.manual_seed(0)
    try:
        migrated = dsb.model.convert(make(), inputs)
        report = migrated.verify()
    except Unsupported as refused:
        return {"status": "unsupported", "why": _place(str(refused))}
    except Exception as exc:
        return {"status": "FAILS", "why": f"{type(exc).__name__}: {exc}"}
    measured = {one.what: [one.error, one.yardstick] for one in report.measured}
    findings = [str(one) for one in (*migrated.report, *report) if one.severity != "info"]
    status = "verified" if migrated.ok else "NOT EQUAL"
    if migrated.ok and findings:
        status = "verified in part"
    return {"status": status, "lines": len(migrated.source.splitlines()), "measured": measured, "findings": findings,
            "seconds": round(time.monotonic() - began)}  # fmt: skip


def _place(text: str) -> str:
    """Without the folder of the machine that this ran on."""
    return re.sub(r"/\S*site-packages/", "", text)


WHOLE: dict[str, dict[str, further_models.Example]] = {"models": MODELS, "further": further_models.FURTHER}
CASES: dict[str, Callable[[], Iterator[tuple[str, Row]]]] = {"layers": _layers, "functions": _functions}
PARTS = [*CASES, *WHOLE]


def page(stored: dict[str, Any]) -> str:
    """The Markdown."""
    versions = stored["versions"]
    tried = f"torch {versions['torch']}, MindSpore {versions['mindspore']}, numpy {versions['numpy']}, CPU"
    lines = [
        "# Layers, functions and models", "",
        f"Written by `make support-matrix`: {tried}.",
        "Each setting was run forward and backward in PyNative and in graph mode and compared with torch in float64; the",
        "yardstick is torch's own float32.",
        "[The guide](../guide/models.md) says what that means. What is in no table is refused by name, line and reason.", "",
        "## Models", "", "Small configurations, random weights. Errors are relative (L2), the largest of all runs.", "",
        *_table(stored.get("models", {})), "",
        "## Further models", "", _share(stored.get("further", {})), "", *_table(stored.get("further", {})),
    ]  # fmt: skip
    lines += ["", "## Layers", "", "| torch.nn | becomes | settings proven | refused |", "|---|---|---|---|"]
    for name, row in stored.get("layers", {}).items():
        made = row["cell"] if row["cell"] == OPENED else f"`{row['cell']}`"
        lines.append(f"| {name} | {made} | {_count(row)} | {_cell('; '.join(row['refused']))} |")
    lines += ["", "## Functions and methods", "", "| torch | cases proven | refused |", "|---|---|---|"]
    for name, row in stored.get("functions", {}).items():
        called = ", ".join(f"`{one}`" for one in name.split(", "))
        lines.append(f"| {called} | {_count(row)} | {_cell('; '.join(row['refused']))} |")
    return "\n".join(lines) + "\n"


def _share(rows: dict[str, Any]) -> str:
    counts = Counter(row["status"] for row in rows.values())
    told = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    return f"Tried after the tables had been written, and not chosen by the outcome. Of {len(rows)}: {told}."


def _table(rows: dict[str, Any]) -> list[str]:
    lines = ["| model | verdict | lines | outputs | gradients | remarks |", "|---|---|---|---|---|---|"]
    for name, row in rows.items():
        measured = row.get("measured", {})
        outputs, gradients = (
            max((error for what, (error, _) in measured.items() if ("gradients" in what) is wanted), default=None)
            for wanted in (False, True)
        )
        figures = [f"{one:.1e}" if one is not None else "" for one in (outputs, gradients)]
        remarks = row.get("why") or "; ".join(row.get("findings", []))
        lines.append(f"| {name} | {row['status']} | {row.get('lines', '')} | {figures[0]} | {figures[1]} | {_cell(remarks)} |")
    return lines


def _count(row: dict[str, Any]) -> str:
    return f"{row['proven']}, **{len(row['failed'])} FAIL**" if row["failed"] else str(row["proven"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
