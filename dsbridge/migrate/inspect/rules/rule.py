"""What a rule is: data, and at most one small condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsbridge.migrate.inspect.use import Use

FINE, ATTENTION, UNSUPPORTED = "fine", "attention", "unsupported"
SEVERITIES = (FINE, ATTENTION, UNSUPPORTED)
FAMILIES = (
    "files", "imports", "data", "transforms", "models", "control flow", "losses", "optimizers", "schedulers", "training loop",
    "mixed precision", "distributed", "devices", "checkpoints", "compilation",
)  # fmt: skip

When = Callable[[Use], str | bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the report's tables.

    ``on``: the keys of uses that it is about. ``torch.save``: that name, called or not; ``torch.distributed.*``: any name
    below; ``import torch``; ``class torch.nn.Module``: a class that derives from it; ``.backward()``: a method of anything;
    ``<optimizer>.step()``: of what is known to be an optimizer; ``.step(closure)``, ``torch.load(weights_only)``: a keyword
    argument; ``.grad``: an attribute; ``.grad =``: assigned. ``when``: a condition; a text that it returns takes the place of
    ``{detail}`` in ``message``, as the name does of ``{name}``. A use gets the first rule that fits its most particular key.
    ``page``: in docs/. ``example``: code that has such a place.

    >>> rule = Rule("MIG001", UNSUPPORTED, ("file syntax",), "is no Python: {detail}", "mend it", "x = (", family="files")
    >>> rule.says("a.py", "invalid syntax")
    'a.py is no Python: invalid syntax'
    """

    id: str
    severity: str
    on: tuple[str, ...]
    message: str
    replacement: str
    example: str
    when: When | None = None
    family: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES or self.family not in FAMILIES:
            raise ValueError(f"{self.id}: no severity {self.severity!r}, or no family {self.family!r}")

    @property
    def link(self) -> str:
        """The page that says more, from the repository's root."""
        return f"docs/{self.page}"

    def says(self, name: str, detail: str = "") -> str:
        """The message about a use."""
        return f"{name} {self.message.replace('{detail}', detail)}"

    def verdict(self, use: Use) -> str | bool:
        """Whether the rule is about a use whose key it has; a text says more."""
        return use.detail or True if self.when is None else self.when(use)
