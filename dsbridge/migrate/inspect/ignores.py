"""Comments that silence rows: ``# dsbridge: ignore[MIG601, MIG352]``, on the row's line."""

from __future__ import annotations

import io
import re
import tokenize

_COMMENT = re.compile(r"#\s*dsbridge:\s*ignore\[([^\]]*)\]")


def ignores(text: str) -> dict[int, frozenset[str]]:
    """The rules that each line silences.

    >>> ignores("x.backward()  # dsbridge: ignore[MIG601]\\ny = '# dsbridge: ignore[MIG1]'\\n")
    {1: frozenset({'MIG601'})}
    """
    if not _COMMENT.search(text):
        return {}
    found: dict[int, frozenset[str]] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (comment := _COMMENT.search(token.string)):
                found[token.start[0]] = frozenset(name.strip() for name in comment[1].split(",") if name.strip())
    except (tokenize.TokenError, SyntaxError):
        pass  # of a later version of Python: what stands before that counts
    return found
