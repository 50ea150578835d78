"""Arguments that torch's loader does not know, checked."""

from __future__ import annotations

import os
from typing import Any

_UNFINISHED = (
    "the shared-memory worker pool (dsbridge.prefetch) is not finished yet; docs/decisions/003-worker-pool.md says "
    "what is missing. Hint: num_workers=0 loads in this process"
)


def refuse_workers(num_workers: int) -> None:
    """Raise NotImplementedError for workers, unless the environment asks for the unfinished pool.

    >>> refuse_workers(0)
    """
    if num_workers > 0 and not os.environ.get("DSBRIDGE_UNFINISHED_WORKERS"):
        raise NotImplementedError(f"num_workers={num_workers}: {_UNFINISHED}")


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
