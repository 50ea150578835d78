"""The report as text: by file, then totals by family and severity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from dsbridge.migrate.inspect.row import Row
from dsbridge.migrate.inspect.rules.rule import FAMILIES, FINE, SEVERITIES
from dsbridge.styles import aligned, printable


def by_file(rows: Sequence[Row], everything: bool = False) -> Iterator[str]:
    """The lines about each file; places that are fine are counted, unless ``everything`` is wanted.

    >>> row = Row("a.py", 3, 6, (3, 14), "fine", "MIG601", "training loop", ".backward() becomes value_and_grad", "", "")
    >>> list(by_file([row]))
    ['a.py', '  1 place is fine']
    """
    for path, group in groupby(rows, key=lambda row: row.path):
        of_file = list(group)
        yield printable(path)
        fine = 0
        for row in of_file:
            if row.severity == FINE and not everything:
                fine += 1
                continue
            replacement = f" -> {row.replacement}" if row.replacement else ""
            yield printable(
                f"  {row.place}: {row.severity} {row.rule} {row.message}{replacement} ({row.link.partition('#')[0]})"
            )
        if fine:
            yield f"  {places(fine)} {'is' if fine == 1 else 'are'} fine"


def places(count: int) -> str:
    """As one says it.

    >>> places(1), places(2)
    ('1 place', '2 places')
    """
    return f"{count} place{'' if count == 1 else 's'}"


def totals(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """How many rows, by family and severity; families without any are left out.

    >>> totals([Row("a.py", 1, 1, (1, 2), "fine", "MIG101", "imports", "", "", "")])
    {'imports': {'fine': 1, 'attention': 0, 'unsupported': 0}}
    """
    found = Counter((row.family, row.severity) for row in rows)
    families = [family for family in FAMILIES if any((family, severity) in found for severity in SEVERITIES)]
    return {family: {severity: found[family, severity] for severity in SEVERITIES} for family in families}


def table(rows: Sequence[Row]) -> list[str]:
    """The totals as a table."""
    counted = totals(rows)
    lines = [(family, *(str(counts[severity]) for severity in SEVERITIES)) for family, counts in counted.items()]
    whole = ("all", *(str(sum(counts[severity] for counts in counted.values())) for severity in SEVERITIES))
    return aligned([("", *SEVERITIES), *lines, whole])
