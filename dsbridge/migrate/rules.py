"""A readable rule for which parameters are in a group; exact for the model at hand, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

MOST = 4  # names in a rule


def rule(members: Mapping[str, int], others: Mapping[str, int]) -> str | None:
    """A condition on ``p`` that is true for all members and for none of the others; None where no short one is.

    Both are name -> ndim. "True" where there are no others.

    >>> rule({"fc.weight": 2, "conv.weight": 4}, {"fc.bias": 1})
    'p.ndim >= 2'
    >>> rule({"fc.weight": 2, "fc.bias": 1}, {"conv.weight": 4})
    'p.name.startswith("fc.")'
    >>> rule({"a": 2, "c": 2, "e": 2, "g": 2, "i": 2}, {"b": 2, "d": 2, "f": 2, "h": 2, "j": 2}) is None
    True
    """
    if not others:
        return "True"
    found = min(_rules(members, others), key=lambda one: (one[0] + one[1], *one[1:]), default=None)
    return found[2] if found is not None else None


def _rules(members: Mapping[str, int], others: Mapping[str, int]) -> Iterator[tuple[int, int, str]]:
    """Conditions with how many parts and names they have."""
    for test, holds in (("p.ndim < 2", _flat), ("p.ndim >= 2", _deep)):
        inside = {name: ndim for name, ndim in members.items() if holds(ndim)}
        beside = {name: ndim for name, ndim in others.items() if holds(ndim)}
        if len(inside) == len(members) and inside:
            if not beside:
                yield 1, 0, test
            yield from ((2, names, f"{test} and {one}") for names, one in _by_name(members, beside) if beside)
        if inside and not beside:
            rest = {name: ndim for name, ndim in members.items() if name not in inside}
            yield from ((3, names, f"{test} or {one}") for names, one in _by_name(rest, others) if rest)
    yield from ((1, names, one) for names, one in _by_name(members, others))


def _flat(ndim: int) -> bool:
    return ndim < 2


def _deep(ndim: int) -> bool:
    return ndim >= 2


def _by_name(members: Mapping[str, int], others: Mapping[str, int]) -> Iterator[tuple[int, str]]:
    """Conditions on the name alone, with how many names they hold."""
    for negated, true, false in (("", members, others), ("not ", others, members)):
        for method, parts in (("startswith", _prefixes), ("endswith", _suffixes)):
            found = _cover(list(true), list(false), method, parts)
            if found is not None and len(found) <= MOST:
                quoted = [f'"{part}"' for part in found]
                given = quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"
                yield len(found) + bool(negated), f"{negated}p.name.{method}({given})"


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) + "." for n in range(1, len(parts))] + [name]


def _suffixes(name: str) -> list[str]:
    parts = name.split(".")
    return ["." + ".".join(parts[n:]) for n in range(len(parts) - 1, 0, -1)] + [name]


def _cover(true: list[str], false: list[str], method: str, parts: Callable[[str], list[str]]) -> list[str] | None:
    """The shortest parts that all true names have and no false one; None where a name has none."""
    found: list[str] = []
    for name in true:
        if any(getattr(name, method)(part) for part in found):
            continue
        fitting = (part for part in parts(name) if not any(getattr(one, method)(part) for one in false))
        part = next(fitting, None)
        if part is None:
            return None
        found.append(part)
    return found or None
