"""Two sequences of modules aligned, and names that are near each other: what proposals are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def align(
    left: Sequence[A], right: Sequence[B], fits: Callable[[A, B], bool]
) -> tuple[list[tuple[int, int]], dict[int, list[int]]]:
    """The longest common subsequence under ``fits``: (pairs that every longest one has, {open left: possible rights}).

    All longest alignments lie between the one that always matches earliest and the one that always matches latest, so what
    both have is certain and the rest is open. Time and memory: len(left) * len(right).

    >>> align("abc", "xabcy", str.__eq__)
    ([(0, 1), (1, 2), (2, 3)], {})
    >>> align("ab", "aab", str.__eq__)
    ([(1, 2)], {0: [0, 1]})
    """
    best = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    ok = [[fits(a, b) for b in right] for a in left]
    for i, row in enumerate(ok, 1):
        above, here = best[i - 1], best[i]
        for j, fit in enumerate(row, 1):
            here[j] = max(above[j], here[j - 1], above[j - 1] + fit)
    first, last = _trace(best, ok, left_first=True), _trace(best, ok, left_first=False)
    certain = sorted(first & last)
    open_: dict[int, list[int]] = {}
    for i, j in sorted(first ^ last):
        open_.setdefault(i, []).append(j)
    return certain, open_


def _trace(best: list[list[int]], ok: list[list[bool]], *, left_first: bool) -> set[tuple[int, int]]:
    i, j, found = len(best) - 1, len(best[0]) - 1, set()
    while i and j:
        up, left = best[i - 1][j] == best[i][j], best[i][j - 1] == best[i][j]
        diagonal = ok[i - 1][j - 1] and best[i - 1][j - 1] + 1 == best[i][j]
        if left if left_first else up:
            i, j = (i, j - 1) if left_first else (i - 1, j)
        elif diagonal:
            i, j = i - 1, j - 1
            found.add((i, j))
        else:
            i, j = (i - 1, j) if left_first else (i, j - 1)
    return found


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """How many items must be inserted, removed or replaced to make ``a`` of ``b`` (Levenshtein).

    >>> distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        steps = [i]
        for other, (diagonal, above) in zip(b, pairwise(row), strict=True):
            steps.append(min(above + 1, steps[-1] + 1, diagonal + (one != other)))
        row = steps
    return row[-1]


def nearest(name: str, others: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The names nearest to ``name``: by edit distance of the components, then by likeness of the letters.

    >>> nearest("layer1.0.conv1.weight", ["layer1.0.conv2.weight", "fc.bias", "layer1.0.conv_1.weight"], 2)
    ('layer1.0.conv_1.weight', 'layer1.0.conv2.weight')
    """
    parts = name.split(".")
    ranked = sorted((distance(parts, other.split(".")), other) for other in others)
    if len(ranked) > count:  # likeness is slow, so only for what can still be among the nearest
        ranked = [item for item in ranked if item[0] <= ranked[count - 1][0]][:64]
    likeness = {other: SequenceMatcher(None, name, other, autojunk=False).ratio() for _, other in ranked}
    return tuple(other for _, other in sorted(ranked, key=lambda item: (item[0], -likeness[item[1]], item[1]))[:count])
