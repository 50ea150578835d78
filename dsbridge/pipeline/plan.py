"""``dsbridge.plan``: a torch loader with everything behind it, as a MindSpore pipeline that can be read before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dsbridge.errors import TransformError
from dsbridge.frameworks import torch_data
from dsbridge.frameworks.detect import require_torch
from dsbridge.loader.dataloader import DataLoader
from dsbridge.pipeline.lift import Found, KeyedDataset, KeyedTransform, find_transforms, replaced
from dsbridge.pipeline.plan_report import PlanReport, plan_report
from dsbridge.pipeline.to_mindspore import to_mindspore
from dsbridge.styles import repr_html
from dsbridge.transforms.translation import Translation, translate

ENGINES = ("core", "map")


@dataclass(frozen=True, slots=True)
class Lifted:
    """One transform of the dataset and what it became."""

    found: Found
    translation: Translation


def plan(
    loader: Any, policy: str = "exact", *, transform: str | None = None, seed: int = 0, num_workers: int | None = None
) -> PipelinePlan:
    """Read a torch (or dsbridge) DataLoader: dataset, transforms, sampler, batches, collate, workers. Nothing is loaded.

    ``policy``: as in ``transforms.translate``. ``transform``: the attribute that holds the image transform in a dataset
    class that is not known (torchvision's are). ``seed``: of the transforms' random numbers. ``num_workers``: instead of
    the loader's.

    Raises TypeError for what is no loader, ``TransformError`` for a transform that cannot be read.

    >>> import torch
    >>> loader = torch.utils.data.DataLoader([(1.0, 0), (2.0, 1)], batch_size=2)
    >>> batches = plan(loader).build().create_tuple_iterator(num_epochs=1, output_numpy=True)
    >>> [[column.tolist() for column in batch] for batch in batches]
    [[[1.0, 2.0], [0, 1]]]
    """
    require_torch("plan")
    if not (isinstance(loader, DataLoader) or torch_data.is_loader(loader)):
        raise TypeError(f"plan reads a torch or dsbridge DataLoader, got {type(loader).__name__}")
    if torch_data.is_iterable_dataset(loader.dataset) and transform is not None:
        raise TransformError("a stream has no indices to key random numbers by. Hint: leave transform= out")
    found = find_transforms(loader.dataset, transform)
    if transform is not None and not found:
        raise TransformError(f"no dataset behind the loader has a transform in its attribute {transform!r}")
    lifted = tuple(Lifted(one, translate(one.transform, policy, seed=seed)) for one in found)
    return PipelinePlan(loader, policy, lifted, loader.num_workers if num_workers is None else num_workers)


class PipelinePlan:
    """What a loader becomes: ``print`` it, ``build`` it, ``verify`` it, write it down with ``to_python``."""

    def __init__(self, loader: Any, policy: str, lifted: tuple[Lifted, ...], num_workers: int) -> None:
        self.loader, self.policy, self.lifted, self.num_workers = loader, policy, lifted, num_workers
        self.report: PlanReport = plan_report(self)

    @property
    def source(self) -> Any:
        """The dataset with the translations where its transforms were; the user's own is left alone."""
        dataset = self.loader.dataset
        if not self.lifted:
            return dataset
        by_owner = {id(one.found.owner): (one.found.name, KeyedTransform(one.translation)) for one in self.lifted}
        return KeyedDataset(replaced(dataset, by_owner))

    def build(self, engine: str = "core", *, column_names: Any = None, index_column: str | None = None) -> Any:
        """A mindspore.dataset of the loader's batches.

        ``engine``: "core": everything runs in dsbridge's workers (the loader's ``num_workers``); "map": the transform is
        an operation of ds.map, and MindSpore makes the batches; only for one transform on the first column, without a
        collate function of the user's. Both give the same bytes, for any number of workers.

        Raises ``TransformError`` where "map" cannot be.
        """
        if engine not in ENGINES:
            raise TransformError(f"no engine {engine!r}. Hint: it is one of {', '.join(ENGINES)}")
        if engine == "core":
            return to_mindspore(self._loader(), column_names=column_names, index_column=index_column)
        return self._mapped(column_names, index_column)

    def _loader(self, **overrides: Any) -> DataLoader:
        loader = self.loader
        arguments: dict[str, Any] = {"dataset": self.source}
        if loader.batch_sampler is None or type(loader.batch_sampler) is require_torch("plan").utils.data.BatchSampler:
            arguments["sampler"] = loader.sampler
        if self.num_workers != loader.num_workers:
            arguments["num_workers"] = self.num_workers
        reference = loader._torch if isinstance(loader, DataLoader) else loader
        return DataLoader.from_torch(reference, **arguments | overrides)

    def _mapped(self, column_names: Any, index_column: str | None) -> Any:
        loader = self.loader
        default = require_torch("plan").utils.data.default_collate
        if len(self.lifted) != 1 or loader.collate_fn is not default or loader.batch_size is None:
            raise TransformError(
                'engine="map" wants one transform, a batch_size and torch\'s own collate. Hint: engine="core" takes everything'
            )
        (lifted,) = self.lifted
        raw = replaced(loader.dataset, {id(lifted.found.owner): (lifted.found.name, None)})
        rows = self._loader(
            dataset=raw, batch_size=None, sampler=loader.sampler, num_workers=0, drop_last=False, collate_fn=None
        )
        dataset = to_mindspore(rows, column_names=column_names, index_column=index_column)
        dataset = lifted.translation.apply(dataset, dataset.get_col_names()[0])
        return dataset.batch(loader.batch_size, drop_remainder=loader.drop_last)

    def verify(self, batches: int = 4) -> PlanReport:
        """The first batches on both sides, the original transforms with our parameters; the report has what differs.

        Order, labels and every pixel are compared. Runs in this process; global generators are as before.
        """
        from dsbridge.pipeline.plan_verify import verify

        return verify(self, batches)

    def to_python(self) -> str:
        """The pipeline as a script of its own; what cannot be written down raises NotImplementedError with the reason."""
        from dsbridge.pipeline.plan_emit import emit

        return emit(self)

    _repr_html_ = repr_html

    def __str__(self) -> str:
        return str(self.report)

    def __repr__(self) -> str:
        return f"<PipelinePlan of {type(self.loader.dataset).__name__}, {len(self.lifted)} transforms, policy {self.policy!r}>"
