"""Whether two samplers follow one law: our draws against torchvision's, fixed seeds, 4,000 draws each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

ALPHA = 1e-4
"""Chance alone fails one test in 10,000; the seeds are fixed, so that a test that passed passes again."""


def same_continuous(ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Kolmogorov-Smirnov: both samples come from one continuous (or finely grained) law."""
    result = stats.ks_2samp(np.asarray(ours, float), np.asarray(theirs, float))
    assert result.pvalue > ALPHA, f"laws differ: KS {result.statistic:.3f}, p {result.pvalue:.1e}"


def same_discrete(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Chi-square: both samples come from one discrete law. Rare values (under 10 in both together) are pooled."""
    a, b = Counter(ours), Counter(theirs)
    values = sorted(set(a) | set(b), key=repr)
    rows = [(a[v], b[v]) for v in values if a[v] + b[v] >= 10]
    rest = (sum(a[v] for v in values if a[v] + b[v] < 10), sum(b[v] for v in values if a[v] + b[v] < 10))
    rows += [rest] if sum(rest) >= 10 else []
    if len(rows) < 2:
        assert set(a) == set(b)
        return
    p = stats.chi2_contingency(np.array(rows).T)[1]
    assert p > ALPHA, f"laws differ: chi-square p {p:.1e}; {dict(a.most_common(5))} against {dict(b.most_common(5))}"


def independent(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Chi-square p value of independence between two samples of small discrete values (bin continuous ones first)."""
    rows, columns = sorted(set(first)), sorted(set(second))
    table = np.zeros((len(rows), len(columns)))
    for a, b in zip(first, second, strict=True):
        table[rows.index(a), columns.index(b)] += 1
    return float(stats.chi2_contingency(table)[1])
