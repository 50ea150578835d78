"""What the doctor found: facts, findings, and shell lines that would mend what a shell can mend."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dsbridge.report import Report


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the table: what was looked at, and what is there.

    >>> print(Fact("open files", "1024"))
    open files  1024
    """

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}  {self.value}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A shell line that mends the finding of that code; the doctor runs it in no process but its own children.

    >>> print(Setting("few-files", "ulimit -n 4096"))
    ulimit -n 4096    # few-files
    """

    code: str
    line: str

    def __str__(self) -> str:
        return f"{self.line}    # {self.code}"


class Diagnosis(Report):
    """The outcome of ``dsbridge.doctor()``.

    ``facts`` is everything that was looked at; the report's findings say what is wrong, why it matters (``message``) and
    the exact command or setting that mends it (``hint``).

    >>> diagnosis = Diagnosis([Fact("memfd", "available")]); diagnosis.healthy
    True
    >>> print(diagnosis)
    memfd  available
    doctor: no findings
    """

    def __init__(self, facts: list[Fact] | None = None, settings: list[Setting] | None = None) -> None:
        super().__init__("doctor")
        self.facts = facts if facts is not None else []
        self.settings = settings if settings is not None else []

    @property
    def healthy(self) -> bool:
        """Whether no finding is worse than "info"."""
        return self.clean

    def fix_env(self) -> str:
        """Shell lines to ``eval``, which set what an environment can set; a comment where there is nothing to do.

        >>> Diagnosis().fix_env()
        '# dsbridge doctor: no environment setting would mend anything'
        """
        lines = dict.fromkeys(map(str, self.settings))
        return "\n".join(lines) or "# dsbridge doctor: no environment setting would mend anything"

    def __str__(self) -> str:
        width = max((len(fact.name) for fact in self.facts), default=0)
        lines = [f"{fact.name:<{width}}  {fact.value}" for fact in self.facts]
        lines.append(f"doctor: {len(self) or 'no'} finding" + ("s" if len(self) != 1 else ""))
        for finding in self:
            lines.append(f"  {finding.severity} {finding.code} [{finding.where}]: {finding.message}")
            lines += [f"    mend it: {finding.hint}"] if finding.hint else []  # on a line of its own, to be copied
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data, ready for ``json.dumps``.

        >>> sorted(Diagnosis().to_dict())
        ['facts', 'findings', 'healthy', 'ok', 'settings', 'title']
        """
        facts = {fact.name: fact.value for fact in self.facts}
        return {**super().to_dict(), "healthy": self.healthy, "facts": facts, "settings": [asdict(s) for s in self.settings]}
