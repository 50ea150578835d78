"""Files, and parts of them, that could not be read; comments that silence."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect.rules.rule import ATTENTION, UNSUPPORTED, Rule

_rule = partial(Rule, family="files", page="guide/migrating.md")

RULES = (
    _rule(
        "MIG001",
        UNSUPPORTED,
        ("file syntax",),
        "is not read: {detail}",
        "mend it, or run dsbridge with the Python that it is written for",
        "x = (",
    ),
    _rule(
        "MIG002",
        UNSUPPORTED,
        ("file encoding",),
        "is not read: {detail}",
        "save it as UTF-8, or declare its encoding in the first line",
        "name = 'M\\xfcller'",
    ),
    _rule(
        "MIG003",
        UNSUPPORTED,
        ("file access",),
        "is not read: {detail}",
        "give yourself the permission to read it",
        "a file without read permission",
    ),
    _rule(
        "MIG004",
        ATTENTION,
        ("cell",),
        "is not read: {detail}",
        "look at the cell yourself",
        "%%bash",
    ),
    _rule(
        "MIG005",
        UNSUPPORTED,
        ("notebook",),
        "is not read: {detail}",
        "open it in Jupyter and save it again",
        "a file a.ipynb that is no JSON",
    ),
    _rule(
        "MIG006",
        ATTENTION,
        ("ignore",),
        "silences nothing: {detail}",
        "remove the comment",
        "x = 1  # dsbridge: ignore[MIG601]",
    ),
)
