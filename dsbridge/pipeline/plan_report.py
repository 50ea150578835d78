"""What a pipeline plan says of itself: each part of the loader and what it becomes, each transform's operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.detect import is_instance
from dsbridge.frameworks.names import name_of
from dsbridge.report import Report
from dsbridge.transforms.table import TransformReport


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the loader: what it was, what it becomes."""

    name: str
    source: str
    becomes: str


class PlanReport(Report):
    """Parts of the loader, and the report of each transform found; after ``verify``, what was measured."""

    def __init__(self, title: str, parts: Sequence[Part], transforms: dict[str, TransformReport]) -> None:
        super().__init__(title)
        self.parts, self.transforms = tuple(parts), transforms
        self.measured: dict[str, Any] = {}
        self.custom_collate = False

    @property
    def ok(self) -> bool:
        """True unless a finding, here or of a transform, is an error."""
        return super().ok and all(report.ok for report in self.transforms.values())

    def raise_if(self, worse_than: str = "warning") -> None:
        """Raise ``VerificationError`` as the transforms' reports do: for a severity, or "exact", "near", "distribution"."""
        for report in self.transforms.values():
            report.raise_if(worse_than)
        super().raise_if(worse_than if worse_than in ("info", "warning", "error") else "warning")

    def __str__(self) -> str:
        width = max(len(part.name) for part in self.parts)
        source = max(len(part.source) for part in self.parts)
        lines = [self.title]
        lines += [f"  {part.name.ljust(width)}  {part.source.ljust(source)}  {part.becomes}".rstrip() for part in self.parts]
        for path, report in self.transforms.items():
            lines += ["", f"{path}: {report}"]
        lines += [f"  {name}: {value}" for name, value in self.measured.items()]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            **super().to_dict(),
            "parts": [asdict(part) for part in self.parts],
            "transforms": {path: report.to_dict() for path, report in self.transforms.items()},
            "measured": self.measured,
        }


def plan_report(plan: Any) -> PlanReport:
    """The report of a plan before anything ran."""
    loader = plan.loader
    names = ", ".join(one.found.path for one in plan.lifted)
    iterable = torch_data.is_iterable_dataset(loader.dataset)
    parts = [
        Part("dataset", _described(loader.dataset), "read as it is" if not names else f"read as it is, but for {names}"),
        Part("order", _order(loader, iterable), "the same epochs, as torch's consecutive iterations would give"),
        Part("batch", _batch(loader), "the same"),
        Part("collate", _collate(loader), "in dsbridge's workers" if plan.num_workers else "in this process"),
        Part("workers", f"{loader.num_workers}", f"{plan.num_workers} of dsbridge's, none of MindSpore's"),
    ]
    title = f"pipeline plan, policy {plan.policy}"
    report = PlanReport(title, parts, {one.found.path: one.translation.report for one in plan.lifted})
    report.custom_collate = loader.collate_fn not in _collates()
    for attribute in ("transform", "transforms"):
        value = getattr(loader.dataset, attribute, None)
        if value is not None and not plan.lifted:
            report.add(
                "not-lifted", "warning", f"dataset.{attribute}",
                f"{name_of(value)} stays inside {type(loader.dataset).__name__}, whose class is not known",
                f"plan(loader, transform={attribute!r}) if it is called with an image and returns one",
            )  # fmt: skip
    if getattr(loader.dataset, "target_transform", None) is not None:
        report.add("target-transform", "info", "dataset.target_transform", "stays in the dataset and runs as it is")
    return report


def _described(dataset: Any) -> str:
    try:
        return f"{type(dataset).__name__}, {len(dataset)} samples"
    except (TypeError, NotImplementedError):
        return f"{type(dataset).__name__}, a stream"


def _order(loader: Any, iterable: bool) -> str:
    if iterable:
        return "the stream's own"
    sampler = loader.sampler if loader.batch_size is not None else loader.batch_sampler or loader.sampler
    if is_instance(sampler, "torch.utils.data.distributed.DistributedSampler"):
        return f"DistributedSampler, shard {sampler.rank} of {sampler.num_replicas}"
    return type(sampler).__name__


def _batch(loader: Any) -> str:
    if loader.batch_size is None:
        return type(loader.batch_sampler).__name__ if loader.batch_sampler is not None else "none"
    return f"{loader.batch_size}" + (", the last one dropped if short" if loader.drop_last else "")


def _collate(loader: Any) -> str:
    return "torch's default" if loader.collate_fn in _collates() else name_of(loader.collate_fn)


def _collates() -> tuple[Any, Any]:
    return torch_data.default_collate(), torch_data.default_convert()
