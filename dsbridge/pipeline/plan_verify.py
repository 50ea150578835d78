"""A plan's batches against the loader's: original transforms made to use our parameters, then compared bit by bit.

Operations that are stated to be equal leave no difference in any column. Others are each held to what they state, on the
images of these batches; the columns are then those that our operations make one by one, bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
from dsbridge.transforms.verify import Comparison, largest_difference

_INDEX = "__index"


def verify(plan: Any, batches: int) -> PlanReport:
    """The plan's report with what was measured; see ``PipelinePlan.verify``."""
    if batches < 1:
        raise ValueError(f"batches={batches}, expected 1 or more")
    loader = plan._loader(num_workers=0)
    parts = Parts.of(loader._torch)
    if parts.iterable:
        raise TransformError("verify needs indices, which a stream has not. Hint: compare a few batches by hand")
    report = plan_report(plan)
    references = {one.found.path: _Reference(one.translation) for one in plan.lifted}
    found = {id(one.found.owner): (one.found.name, references[one.found.path]) for one in plan.lifted}
    reference = replaced(plan.loader.dataset, found)
    dataset = KeyedDataset(reference) if plan.lifted else reference
    built = _in_process(plan).build(index_column=_INDEX)
    names = [name for name in built.get_col_names() if name != _INDEX]
    exact = all(row.exactness == "exact" for one in plan.lifted for row in one.translation.report.rows)
    measured = _Measured(report, names, exact)

    def expected_columns(indices: Any, gives: str) -> list[Any]:
        for one in references.values():
            one.gives = gives
        return _reference_columns(dataset, indices, parts)

    with untouched():
        wanted = list(islice(loader_order(loader, parts).indices(0), batches + 1))
    with untouched():
        rows = built.create_tuple_iterator(num_epochs=1, output_numpy=True)
        for number, indices in enumerate(stamped(wanted[:batches], 0)):
            row = next(rows, None)
            if row is None:
                report.add(
                    "missing", "error", f"batch {number}", f"the pipeline ends here, torch has {len(wanted)} or more batches"
                )
                break
            *columns, asked = row
            expected = [int(i) for i in indices] if parts.batched else [int(indices)]
            if np.atleast_1d(asked).tolist() != expected:
                report.add(
                    "order", "error", f"batch {number}", f"samples {np.atleast_1d(asked).tolist()}, torch has {expected}"
                )
                continue
            theirs = expected_columns(indices, "theirs")
            measured.batch(number, columns, theirs, theirs if exact else expected_columns(indices, "ours"))
            measured.samples += len(expected)
        else:
            if len(wanted) <= batches and next(rows, None) is not None:
                report.add("too-many", "error", f"batch {len(wanted)}", "the pipeline goes on where torch's epoch has ended")
    report.measured = measured.to_dict()
    for path, one in references.items():
        one.report_to(report, path)
    return report


@dataclass(slots=True)
class _Measured:
    """What was compared, column by column; findings go to the report.

    ``exact``: every operation is stated to be equal, so that what is promised is what torch has.
    """

    report: PlanReport
    names: list[str]
    exact: bool
    batches: int = 0
    samples: int = 0
    worst: dict[str, float] = field(default_factory=dict)

    def batch(self, number: int, ours: list[Any], theirs: list[Any], promised: list[Any]) -> None:
        """One batch's columns: as they came, as torch has them, and as they are promised to be, bit by bit."""
        self.batches += 1
        if not len(ours) == len(theirs) == len(promised) == len(self.names):
            what = f"{len(ours)} columns under {len(self.names)} names, torch has {len(theirs)}"
            self.report.add("columns", "error", f"batch {number}", what)
            return
        for name, a, b, stated in zip(self.names, ours, theirs, promised, strict=True):
            where = f"batch {number}, column {name}"
            difference, broken = largest_difference(a, b), largest_difference(a, stated)
            if difference is None:
                what = f"{a.dtype}{list(a.shape)} instead of {b.dtype}{list(b.shape)}"
                self.report.add("differs", "error", where, what)
                continue
            if broken != 0:
                rows = enumerate(zip(a, stated, strict=False)) if a.ndim else ()
                first = next((at for at, pair in rows if largest_difference(*pair) != 0), 0)
                said = "was stated to be equal" if self.exact else "is not what its operations make one by one"
                by = "in dtype or shape" if broken is None else f"by up to {broken:g}"
                self.report.add("differs", "error", where, f"differs {by} from row {first} on, and {said}")
            self.worst[name] = max(self.worst.get(name, 0.0), difference)

    def to_dict(self) -> dict[str, Any]:
        worst = max(self.worst.values(), default=0.0)
        by_column = {f"largest difference in {name}": value for name, value in self.worst.items() if value}
        return {"batches": self.batches, "samples": self.samples, "largest difference": worst, **by_column}


def _in_process(plan: Any) -> Any:
    return plan if plan.num_workers == 0 else type(plan)(plan.loader, plan.policy, plan.lifted, 0)


def _reference_columns(dataset: Any, indices: Any, parts: Parts) -> list[Any]:
    """A batch as torch would make it, with the original transforms, as arrays."""
    batch = parts.collate_fn([dataset[index] for index in indices] if parts.batched else dataset[indices])
    tree = text_as_arrays(Output("numpy", BufferPool(None)).convert(batch, set()))
    return [as_array(leaf) for leaf in Structure.of(tree).flatten(tree)]


class _Reference:
    """The original transform on one image, with the parameters our generator draws for the sample; measures on the way.

    ``gives``: "theirs", or "ours": what our operations make of it one by one, without measuring again.
    """

    def __init__(self, translation: Any) -> None:
        self._translation = translation
        self._comparison = Comparison(translation.nodes, translation.lowered, translation.program)
        self.gives = "theirs"

    def __call__(self, image: Any) -> Any:
        draws = Draws(self._translation.seed, as_key(current_key()))
        if self.gives == "ours":
            return to_theirs(self._comparison.one_by_one(image, draws))
        return to_theirs(self._comparison.sample(image, draws))

    def report_to(self, report: PlanReport, path: str) -> None:
        """Put what was measured into the plan's report; say which operations have pixels that nobody promised."""
        stated = self._translation.report
        measured = self._comparison.measured()
        if measured:
            report.transforms[path] = stated.with_measured(measured)
        for row in stated.rows:
            if row.exactness == "distribution":
                report.add(
                    "shape-only", "info", f"{path}, {row.source}",
                    "compared in shape and dtype: its pixels are not stated to be torch's",
                    "policy='exact' compares every value",
                )  # fmt: skip
