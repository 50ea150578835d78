"""``torch.einsum`` has no kernel on the CPU: each pair of operands is one matmul, with axes sorted before and after."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dsbridge.model.code import Code, call, code
from dsbridge.model.construct import Refused
from dsbridge.model.functions.registry import function

ELLIPSIS = "ZYXWVUTS"  # what the axes behind ... are called, from the last one on


@function("einsum")
def einsum(equation: str, *operands: Any) -> Any:
    """Any number of operands, from left to right; an axis twice in one operand is a diagonal, and refused."""
    tensors = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    terms, written = _parsed(equation, tensors)
    if any(len(set(term)) < len(term) for term in terms) or set(written) - set("".join(terms)):
        raise Refused(f"{equation!r}: an axis twice in one operand, or in none")
    x, names = tensors[0], terms[0]
    for number, (y, theirs) in enumerate(zip(tensors[1:], terms[1:], strict=True), 1):
        last = number == len(terms) - 1
        x, names = _pair(x, names, y, theirs, [written] if last else [written, *terms[number + 1 :]], written if last else "")
    x, names = _summed(x, names, written)
    return x if names == written else code("x.permute(a)", x=x, a=tuple(map(names.index, written)))


def _parsed(equation: str, tensors: tuple[Any, ...]) -> tuple[list[str], str]:
    """The names of each operand's axes, and of the result's."""
    read, arrow, written = equation.replace(" ", "").partition("->")
    terms = read.split(",")
    hidden = [tensor.ndim - len(term) + 3 if "..." in term else 0 for term, tensor in zip(terms, tensors, strict=True)]
    named = [term.replace("...", ELLIPSIS[:count][::-1]) for term, count in zip(terms, hidden, strict=True)]
    together = ELLIPSIS[: max(hidden)][::-1]
    if not arrow:
        counts = Counter("".join(named))
        written = "..." + "".join(sorted(name for name, count in counts.items() if count == 1 and name not in together))
    sizes: dict[str, set[int]] = {}
    for term, tensor in zip(named, tensors, strict=True):
        for name, size in zip(term, tensor.shape, strict=True):
            sizes.setdefault(name, set()).add(int(size))
    if any(len(found) > 1 for found in sizes.values()):
        raise Refused(f"{equation!r}: an axis of length 1 is broadcast")
    return named, written.replace("...", together)


def _summed(x: Any, names: str, kept: str) -> tuple[Any, str]:
    """Without the axes that nobody needs."""
    axes = tuple(axis for axis, name in enumerate(names) if name not in kept)
    if not axes:
        return x, names
    return code("x.sum(a)", x=x, a=axes), "".join(name for name in names if name in kept)


def _pair(x: Any, mine: str, y: Any, theirs: str, needed: list[str], order: str) -> tuple[Code, str]:
    """Two operands as one, its axes in an order if one is given. ``needed``: by the result and by operands to come."""
    kept = "".join(needed)
    x, mine = _summed(x, mine, kept + theirs)
    y, theirs = _summed(y, theirs, kept + mine)
    batch = [name for name in mine if name in theirs and name in kept]
    inner = [name for name in mine if name in theirs and name not in kept]
    free, other = [name for name in mine if name not in theirs], [name for name in theirs if name not in mine]
    found = "".join([*batch, *free, *other])
    order = order or found
    made = call(
        "contract", x, y, tuple(map(mine.index, [*batch, *free, *inner])), tuple(map(theirs.index, [*batch, *inner, *other])),
        len(batch), len(inner), tuple(map(found.index, order)),
    )  # fmt: skip
    return made, order
