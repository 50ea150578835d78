"""What ``inspect`` found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsbridge.migrate.inspect import text
from dsbridge.migrate.inspect.row import Row
from dsbridge.migrate.inspect.sarif import sarif
from dsbridge.migrate.inspect.sources import Skipped, counted
from dsbridge.report import Report, Reported
from dsbridge.styles import printable, repr_html

_STATIC = "read, not run: no row says that anything was converted"


@dataclass(frozen=True, slots=True)
class InspectReport(Reported):
    """``rows``: by file and place. ``files``: how many were read. ``skipped``: what was not, why. ``silenced``: by comments.

    >>> print(InspectReport("train.py", (), 1))
    train.py: 1 file, nothing of torch's
    (read, not run: no row says that anything was converted)
    """

    root: str
    rows: tuple[Row, ...]
    files: int
    skipped: tuple[Skipped, ...] = ()
    silenced: tuple[Row, ...] = ()
    report: Report = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """The rows as findings: "fine" is info, "attention" a warning, "unsupported" an error."""
        object.__setattr__(self, "report", Report(f"inspect {self.root}", (row.finding() for row in self.rows)))

    @property
    def clean(self) -> bool:
        """Whether nothing needs attention.

        >>> InspectReport("train.py", (), 1).clean
        True
        """
        return self.report.clean

    def text(self, everything: bool = False) -> str:
        """By file, then the totals; ``everything``: what is fine is listed too, not only counted."""
        plural = "" if self.files == 1 else "s"
        lines = [*text.by_file(self.rows, everything)]
        end = f"{printable(self.root)}: {self.files} file{plural}, "
        lines += (
            [f"{end}nothing of torch's"]
            if not self.rows
            else ["", f"{end}{text.places(len(self.rows))}", *text.table(self.rows)]
        )
        if self.silenced:
            lines.append(f"silenced by comments: {len(self.silenced)}")
        if self.skipped:
            lines.append(f"not read: {', '.join(f'{count} {reason}' for reason, count in counted(self.skipped).items())}")
        return "\n".join([*lines, f"({_STATIC})"])

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"InspectReport({self.root!r}, {self.files} files, {len(self.rows)} rows, clean={self.clean})"

    _repr_html_ = repr_html

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``.

        >>> InspectReport("train.py", (), 1).to_dict()["totals"]
        {}
        """
        return {
            "root": self.root,
            "ok": self.ok,
            "clean": self.clean,
            "note": _STATIC,
            "files": self.files,
            "rows": [asdict(row) for row in self.rows],
            "totals": text.totals(self.rows),
            "silenced": [asdict(row) for row in self.silenced],
            "skipped": [asdict(one) for one in self.skipped],
        }

    def to_sarif(self) -> dict[str, Any]:
        """The report as SARIF 2.1.0: what needs attention, and what comments silence.

        >>> InspectReport("train.py", (), 1).to_sarif()["runs"][0]["results"]
        []
        """
        root = Path(self.root).resolve()
        folder = root if root.is_dir() else root.parent
        return sarif(f"{folder.as_uri().rstrip('/')}/", self.rows, self.silenced)
