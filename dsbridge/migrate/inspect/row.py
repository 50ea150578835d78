"""One line of the report."""

from __future__ import annotations

from dataclasses import dataclass

from dsbridge.report import Finding

_AS_FINDING = {"fine": "info", "attention": "warning", "unsupported": "error"}


@dataclass(frozen=True, slots=True)
class Row:
    """A place in the code and what a rule says of it. Lines and columns count from 1; ``end`` is one past the last character.

    ``severity``: "fine" (dsbridge handles it as it is), "attention" (works after a look, or differs), "unsupported".
    ``cell``: of a notebook, from 1, lines are its own then; 0 for other files. ``link``: the page that says more.

    >>> row = Row("a.py", 3, 6, (3, 14), "fine", "MIG601", "training loop", ".backward() becomes value_and_grad", "", "")
    >>> print(row)
    a.py:3:6: fine MIG601 .backward() becomes value_and_grad
    """

    path: str
    line: int
    column: int
    end: tuple[int, int]
    severity: str
    rule: str
    family: str
    message: str
    replacement: str
    link: str
    cell: int = 0

    @property
    def place(self) -> str:
        """Line and column, with the cell of a notebook in front.

        >>> Row("a.ipynb", 3, 6, (3, 7), "fine", "MIG101", "imports", "", "", "", cell=2).place
        'cell 2:3:6'
        """
        return f"cell {self.cell}:{self.line}:{self.column}" if self.cell else f"{self.line}:{self.column}"

    @property
    def where(self) -> str:
        """File and place, as editors open it."""
        return f"{self.path}:{self.place}"

    def __str__(self) -> str:
        return f"{self.where}: {self.severity} {self.rule} {self.message}"

    def finding(self) -> Finding:
        """The same as the library's other reports say it.

        >>> print(Row("a.py", 1, 1, (1, 2), "attention", "MIG107", "imports", "is imported with *", "name them", "").finding())
        warning MIG107 [a.py:1:1]: is imported with * (hint: name them)
        """
        return Finding(self.rule, _AS_FINDING[self.severity], self.where, self.message, self.replacement)
