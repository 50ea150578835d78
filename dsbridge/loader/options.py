"""Arguments that torch's loader does not know, checked."""

from __future__ import annotations

from typing import Any


def check_worker_options(on_worker_death: str, max_restarts: int, batch_timeout: Any, max_memory: Any) -> None:
    """Raise ValueError for an option of the worker pool that makes no sense."""
    if on_worker_death not in ("restart", "raise"):
        raise ValueError(f"on_worker_death must be 'restart' or 'raise', got {on_worker_death!r}")
    if not isinstance(max_restarts, int) or max_restarts < 0:
        raise ValueError(f"max_restarts must be a non-negative int, got {max_restarts!r}")
    if batch_timeout is not None and not batch_timeout > 0:
        raise ValueError(f"batch_timeout must be positive seconds or None, got {batch_timeout!r}")
    if max_memory is not None and not max_memory > 0:
        raise ValueError(f"max_memory must be positive bytes or None, got {max_memory!r}")
