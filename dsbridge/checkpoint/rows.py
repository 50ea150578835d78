"""The rows of a conversion plan: which source tensors become which target, how, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dsbridge.errors import CheckpointError

Array = np.ndarray[Any, Any]

FINE = ("exact", "renamed", "transformed", "dropped", "tied", "const")
DOUBTFUL = ("guessed", "ambiguous", "unmatched", "missing", "shape-mismatch", "lossy")
"""``guessed``: proposed by an alignment of the whole module trees. ``ambiguous``: several candidates. ``unmatched``: a source
that nothing takes. ``missing``: a target that nothing fills. ``lossy``: a cast that loses bits."""


class Operation(Protocol):
    """One step between stored tensors; each knows its inverse. A frozen dataclass whose repr is its constructor call.

    ``shapes``: what it makes of the sources' shapes (one for most; several for split), or raises ``CheckpointError``.
    ``apply``: the same on arrays; may return views. ``inverse``: the operation that leads back (``None`` where nothing does).
    ``moves_bytes``: False for what leaves the bytes as they are (rename, reshape): such a row is copied as a stream.
    """

    moves_bytes: bool

    def shapes(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]: ...

    def apply(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]: ...

    def inverse(self, shapes: tuple[tuple[int, ...], ...]) -> Operation | None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a plan: ``sources`` (names in the source file) become ``targets`` (names the consumer will use).

    ``operations``: applied in turn, from all sources to all targets; empty for a plain copy. ``shapes``, ``dtypes``: of the
    targets. ``rule``: what decided. ``candidates``: up to three other names, for what is not sure. ``note``: what to say.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    operations: tuple[Operation, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    status: str
    rule: str = ""
    candidates: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not len(self.targets) == len(self.shapes) == len(self.dtypes):
            raise CheckpointError(
                f"a row for {list(self.targets)} has {len(self.shapes)} shapes and {len(self.dtypes)} dtypes, not one each"
            )

    @property
    def fine(self) -> bool:
        """Whether it can be carried out without asking."""
        return self.status in FINE
