"""A plan's batches against the loader's: original transforms made to use our parameters, then compared bit by bit."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from dsbridge.errors import TransformError
from dsbridge.frameworks.rng import untouched
from dsbridge.loader.output import Output
from dsbridge.loader.parts import Parts
from dsbridge.pipeline.feeds import loader_order, text_as_arrays
from dsbridge.pipeline.indices import stamped
from dsbridge.pipeline.lift import KeyedDataset, current_key, replaced
from dsbridge.pipeline.plan_report import PlanReport, plan_report
from dsbridge.prefetch.buffers import BufferPool
from dsbridge.schema.structure import Structure
from dsbridge.sources.leaves import as_array
from dsbridge.transforms.fallback import to_theirs
from dsbridge.transforms.program import as_key
from dsbridge.transforms.randomness import Draws
from dsbridge.transforms.verify import largest_difference, pinned_pipeline


def verify(plan: Any, batches: int) -> PlanReport:
    """The plan's report with what was measured; see ``PipelinePlan.verify``."""
    loader = plan._loader(num_workers=0)
    parts = Parts.of(loader._torch)
    if parts.iterable:
        raise TransformError("verify needs indices, which a stream has not. Hint: compare a few batches by hand")
    report = plan_report(plan)
    found = {id(one.found.owner): (one.found.name, _Reference(one.translation)) for one in plan.lifted}
    reference = replaced(plan.loader.dataset, found)
    theirs_dataset = KeyedDataset(reference) if plan.lifted else reference
    with untouched():
        order = loader_order(loader, parts)
        wanted = list(islice(order.indices(0), batches))
    worst, samples = 0.0, 0
    built = plan.build(index_column="__index") if plan.num_workers == 0 else _in_process(plan).build(index_column="__index")
    with untouched():
        rows = built.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for number, (indices, row) in enumerate(zip(wanted, rows, strict=False)):
            *columns, asked = row
            expected = [int(i) for i in indices] if parts.batched else [int(indices)]
            if np.atleast_1d(asked).tolist() != expected:
                report.add(
                    "order", "error", f"batch {number}", f"samples {np.atleast_1d(asked).tolist()}, torch has {expected}"
                )
                continue
            theirs = _reference_columns(theirs_dataset, indices, parts)
            samples += len(expected)
            for name, ours, other in zip(built.get_col_names(), columns, theirs, strict=False):
                difference = largest_difference(ours, other)
                if difference is None:
                    what = f"{ours.dtype}{list(ours.shape)} instead of {other.dtype}{list(other.shape)}"
                    report.add("differs", "error", f"batch {number}, column {name}", what)
                else:
                    worst = max(worst, difference)
    if worst and all(row.exactness == "exact" for one in plan.lifted for row in one.translation.report.rows):
        report.add("differs", "error", "batches", f"they differ by up to {worst:g}, and were stated to be equal")
    report.measured = {"batches": len(wanted), "samples": samples, "largest difference": worst}
    return report


def _in_process(plan: Any) -> Any:
    return type(plan)(plan.loader, plan.policy, plan.lifted, 0)


def _reference_columns(dataset: Any, indices: Any, parts: Parts) -> list[Any]:
    """A batch as torch would make it, with the original transforms, as arrays."""
    keyed = next(iter(stamped([indices], 0)))
    batch = parts.collate_fn([dataset[index] for index in keyed] if parts.batched else dataset[keyed])
    tree = text_as_arrays(Output("numpy", BufferPool(None)).convert(batch, set()))
    return [as_array(leaf) for leaf in Structure.of(tree).flatten(tree)]


class _Reference:
    """The original transform on one image, with the parameters our generator draws for the sample."""

    def __init__(self, translation: Any) -> None:
        self._translation = translation

    def __call__(self, image: Any) -> Any:
        translation = self._translation
        draws = Draws(translation.seed, as_key(current_key()))
        return to_theirs(pinned_pipeline(translation, image, draws))
