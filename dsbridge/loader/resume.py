"""What going on with a saved state takes, said before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbridge.frameworks import torch_data
from dsbridge.loader.state import Saved
from dsbridge.sources.samplers import is_builtin

if TYPE_CHECKING:
    from dsbridge.loader.dataloader import DataLoader


def report_resume(loader: DataLoader, saved: Saved) -> None:
    """Findings about what a resume costs, or cannot repeat, in ``loader.report``."""
    sampler = loader._parts().index_sampler
    if saved.ahead and loader.rng == "torch":
        loader.report.add(
            "resume-out-of-order",
            "warning",
            "in_order=False",
            "each batch comes once, but random numbers in workers differ: which batches they saw cannot be repeated",
            "use rng='sample' where they matter",
        )
    if torch_data.is_iterable_dataset(loader.dataset):
        loader.report.add(
            "resume-fast-forward",
            "warning",
            type(loader.dataset).__name__,
            f"a stream has no index: {saved.samples} samples are run through again to reach the position",
            "use a map-style dataset to resume without loading",
        )
    elif not is_builtin(sampler):
        name = type(sampler).__name__
        loader.report.add(
            "resume-sampler-rerun",
            "info",
            name,
            f"a user-made sampler is iterated again for {saved.position} steps; its private state must start anew",
        )
