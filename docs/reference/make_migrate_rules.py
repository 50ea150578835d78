"""Writes docs/reference/migrate-rules.md: the rules of ``dsbridge migrate --inspect``, from their tables.

Run it: python docs/reference/make_migrate_rules.py. A test holds that the page is what it writes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dsbridge.migrate.inspect.rules.registry import rules
from dsbridge.migrate.inspect.rules.rule import FAMILIES, SEVERITIES, Rule

PAGE = Path(__file__).parent / "migrate-rules.md"
MOST_KEYS = 6

HEAD = """# Rules of `dsbridge migrate --inspect`

Made by `python docs/reference/make_migrate_rules.py`: do not edit. {count} rules: {severities}.

* **fine**: dsbridge handles this as it is. **attention**: it works after a look, or differs. **unsupported**: it does not.
* Nothing is run, and nothing is claimed to be converted: a row says what was read. Layers, functions, losses, optimizers,
  schedules and transforms are looked up in the tables that dsbridge converts with: a new entry there changes the report.
  Settings that an entry refuses (`padding_mode="reflect"`) are found by converting, not by reading.
* **looks at**: names are those of the defining package, however they are imported. `.backward()` is a method of anything,
  `<optimizer>.step()` one of what is known to be an optimizer, `f(argument)` a keyword argument, `class x` a class that
  derives from x.
* `# dsbridge: ignore[MIG601]` at the end of a line silences a rule there; what is silenced is counted.

"""
FORWARD = "class Net(nn.Module):"


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def example(rule: Rule) -> str:
    """The line of an example that the rule is about."""
    lines = rule.example.splitlines()
    where = " (in forward)" if lines[0] == FORWARD and len(lines) > 1 else ""
    last = next((line for line in reversed(lines) if line.strip() != "return x"), lines[-1])
    return f"`{cell(last.strip())}`{where}"


def keys(rule: Rule) -> str:
    """What a rule looks at; of many keys the first."""
    more = f" and {len(rule.on) - MOST_KEYS} more" if len(rule.on) > MOST_KEYS else ""
    return ", ".join(f"`{cell(key)}`" for key in rule.on[:MOST_KEYS]) + more


def row(rule: Rule) -> str:
    """One line of a family's table."""
    message = f"... {rule.message.replace('{detail}', '(why)')}"
    page = f"[{rule.page}](../{rule.page})"
    cells = (rule.id, rule.severity, example(rule), cell(message), cell(rule.replacement), page, keys(rule))
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """The whole page."""
    counted = Counter(rule.severity for rule in rules())
    lines = [HEAD.format(count=len(rules()), severities=", ".join(f"{counted[one]} {one}" for one in SEVERITIES))]
    for family in FAMILIES:
        lines += [f"## {family[0].upper()}{family[1:]}\n", "| rule | | for example | says | instead | more | looks at |"]
        lines += ["|---|---|---|---|---|---|---|", *(row(rule) for rule in rules() if rule.family == family), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
