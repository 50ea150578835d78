"""The report as SARIF 2.1.0, which editors and code hosts read (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import dsbridge
from dsbridge.migrate.inspect.row import Row
from dsbridge.migrate.inspect.rules.registry import rules
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, UNSUPPORTED, Rule

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {FINE: "none", ATTENTION: "warning", UNSUPPORTED: "error"}


def sarif(root_uri: str, rows: Iterable[Row], silenced: Iterable[Row]) -> dict[str, Any]:
    """A log with one run. What is fine is no result: viewers would show it as a problem. What is silenced is suppressed.

    ``root_uri``: of the folder that paths are relative to, with a slash at its end.

    >>> sarif("file:///repo/", (), ())["version"]
    '2.1.0'
    """
    order = {rule.id: number for number, rule in enumerate(rules())}
    results = [_result(row, order[row.rule]) for row in rows if row.severity != FINE]
    results += [{**_result(row, order[row.rule]), "suppressions": [{"kind": "inSource"}]} for row in silenced]
    driver = {
        "name": "dsbridge migrate --inspect",
        "version": dsbridge.__version__,
        "rules": [_rule(rule) for rule in rules()],
    }
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {"ROOT": {"uri": root_uri}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": f"{rule.family}: {rule.message}"},
        "help": {"text": f"{rule.replacement}. See {rule.link}."},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": [rule.family, rule.severity]},
    }


def _result(row: Row, index: int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(row.path), "uriBaseId": "ROOT"}}
    location: dict[str, Any] = {"physicalLocation": physical}
    if row.cell:  # lines are the cell's: the file has others
        location["logicalLocations"] = [{"name": f"cell {row.cell}", "fullyQualifiedName": row.where}]
    else:
        physical["region"] = _region(row)
    return {
        "ruleId": row.rule,
        "ruleIndex": index,
        "level": _LEVELS[row.severity],
        "message": {"text": _text(row)},
        "locations": [location],
    }


def _region(row: Row) -> dict[str, int]:
    return dict(zip(("startLine", "startColumn", "endLine", "endColumn"), (row.line, row.column, *row.end), strict=True))


def _text(row: Row) -> str:
    parts: Sequence[str] = [row.message, *([row.replacement] if row.replacement else [])]
    return " -> ".join(parts)
