"""docs/reference/migrate-rules.md is what the tables say today."""

from __future__ import annotations

import sys
from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
sys.path.insert(0, str(REFERENCE))

import make_migrate_rules  # noqa: E402

from dsbridge.migrate.inspect.rules.registry import rules  # noqa: E402


def test_the_page_is_current() -> None:
    """Mend it with python docs/reference/make_migrate_rules.py."""
    assert make_migrate_rules.PAGE.read_text() == make_migrate_rules.page()


def test_the_page_has_every_rule_once() -> None:
    """As a row of a table."""
    rows = [line.split(" | ")[0].strip("| ") for line in make_migrate_rules.page().splitlines() if line.startswith("| MIG")]
    assert sorted(rows) == [rule.id for rule in rules()]
