"""The report of a conversion: each module, and what became of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dsbridge.report import Report


class ConversionReport(Report):
    """``modules``: what became of each module, by its path, in the model's order.

    >>> report = ConversionReport()
    >>> report.modules |= {"stem": "Conv2d becomes nn.Conv2d", "deep": "Conv2d becomes nn.Conv2d", "": "Net becomes class Net"}
    >>> print(report)
    3 modules: 2 Conv2d become nn.Conv2d; Net becomes class Net
    model: nothing to report
    """

    def __init__(self) -> None:
        super().__init__("model")
        self.modules: dict[str, str] = {}

    def __str__(self) -> str:
        kinds = [
            text if number == 1 else f"{number} {text.replace(' becomes ', ' become ', 1)}"
            for text, number in Counter(self.modules.values()).items()
        ]
        return f"{len(self.modules)} modules: {'; '.join(kinds)}\n{super().__str__()}"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**super().to_dict(), "modules": self.modules}
