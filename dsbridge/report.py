"""Findings and reports: how dsbridge says what it did, changed or could not do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from dsbridge.errors import VerificationError
from dsbridge.styles import repr_html

SEVERITIES = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing, with a stable ``code`` that tests and scripts can rely on.

    ``severity`` is one of "info", "warning", "error"; ``where`` names the column, sampler or option.

    >>> print(Finding("cast", "info", "label", "int64 becomes int32", "pass dtypes='keep' to keep it"))
    info cast [label]: int64 becomes int32 (hint: pass dtypes='keep' to keep it)
    """

    code: str
    severity: str
    where: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {SEVERITIES}, got {self.severity!r}")

    def __str__(self) -> str:
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{self.severity} {self.code} [{self.where}]: {self.message}{hint}"


class Reported:
    """What a result with a ``report`` among its fields shares with reports: the same ways to ask and to refuse."""

    __slots__ = ()
    report: Report

    @property
    def ok(self) -> bool:
        """True unless a finding is an error."""
        return self.report.ok

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, in the order in which they were made."""
        return self.report.findings

    def raise_if(self, worse_than: str = "warning") -> None:
        """Raise ``VerificationError`` if a finding is worse than the severity given."""
        self.report.raise_if(worse_than)

    def raise_if_failed(self) -> None:
        """Raise ``VerificationError`` unless no finding is an error."""
        self.report.raise_if_failed()

    _repr_html_ = repr_html


class Report:
    """An ordered collection of findings under a title; equal findings are kept once.

    >>> report = Report("source", [Finding("cast", "info", "label", "int64 becomes int32")])
    >>> report.ok, report.clean, len(report)
    (True, True, 1)
    >>> print(report)
    source: 1 finding
      info cast [label]: int64 becomes int32
    >>> report.raise_if(worse_than="info")      # nothing is worse than "info"
    """

    def __init__(self, title: str, findings: Iterable[Finding] = ()) -> None:
        self.title = title
        self._findings: dict[Finding, None] = dict.fromkeys(findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings, in the order in which they were made."""
        return tuple(self._findings)

    @property
    def ok(self) -> bool:
        """True unless a finding of severity "error" is among them."""
        return all(f.severity != "error" for f in self._findings)

    @property
    def clean(self) -> bool:
        """True if nothing is worse than "info": no warning either."""
        return all(f.severity == SEVERITIES[0] for f in self._findings)

    def add(self, code: str, severity: str, where: str, message: str, hint: str = "") -> None:
        """Add a finding; one that is already there is not added twice."""
        self._findings.setdefault(Finding(code, severity, where, message, hint))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add findings that were made elsewhere, another report's for example."""
        self._findings.update(dict.fromkeys(findings))

    def __len__(self) -> int:
        return len(self._findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __contains__(self, code: str) -> bool:
        return any(f.code == code for f in self._findings)

    def __repr__(self) -> str:
        return f"Report({self.title!r}, {len(self)} findings, ok={self.ok})"

    _repr_html_ = repr_html

    def __str__(self) -> str:
        if not self._findings:
            return f"{self.title}: nothing to report"
        plural = "" if len(self) == 1 else "s"
        return "\n".join([f"{self.title}: {len(self)} finding{plural}", *(f"  {f}" for f in self._findings)])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for ``json.dumps``."""
        return {"title": self.title, "ok": self.ok, "findings": [asdict(f) for f in self._findings]}

    def raise_if(self, worse_than: str = "warning") -> None:
        """Raise ``VerificationError`` if a finding is worse than the severity given."""
        limit = SEVERITIES.index(worse_than)
        worse = [f for f in self._findings if SEVERITIES.index(f.severity) > limit]
        if worse:
            raise VerificationError("\n".join([f"{self.title}: {len(worse)} worse than {worse_than}", *map(str, worse)]))

    def raise_if_failed(self) -> None:
        """Raise ``VerificationError`` unless ``ok``."""
        self.raise_if("warning")
