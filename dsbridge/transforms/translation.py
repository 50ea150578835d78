"""``translate``: a user's transform as operations of ours, ready for ds.map, for one sample, and for reading."""

from __future__ import annotations

from typing import Any

from dsbridge.errors import TransformError
from dsbridge.transforms.batch_level import BatchLevel, batch_level
from dsbridge.transforms.lower import POLICIES, lower
from dsbridge.transforms.mapping import KeyedMap, LoneMap, clamped, wire
from dsbridge.transforms.ops.values import KINDS, State
from dsbridge.transforms.program import Program
from dsbridge.transforms.table import TransformReport, report_of
from dsbridge.transforms.tree import read


def translate(transform: Any, policy: str = "exact", input: str = "pil", seed: int = 0) -> Translation:
    """Translate a transform into operations whose randomness is ours and whose pixels are proven equal.

    ``transform``: a torchvision transform (v1 or v2), a Compose, Sequential or list, albumentations, operations of
    ``dsbridge.transforms.ops``, any callable. What is not known, or is a subclass of what is known, runs as it is.
    ``policy``: "exact" (bit-equal to the original given equal parameters), "near" (within a tolerance that the report
    states), "native" (fastest: random in the same way, other pixels).
    ``input``: what the original saw: "pil" images, "uint8" tensors or "float" tensors [C, H, W]. A column holds
    uint8 [H, W, C] for the first two, floating point [C, H, W] for the last.
    ``seed``: with a sample's epoch and index, all that random numbers depend on.

    Raises ``TransformError`` for what cannot be called, and for a policy or an input that does not exist.

    >>> import numpy as np
    >>> from dsbridge.transforms.ops import RandomHorizontalFlip
    >>> t = translate([RandomHorizontalFlip(p=0.5)], seed=1)
    >>> image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    >>> bool((t(image, key=3) == t(image, key=3)).all())
    True
    """
    if policy not in POLICIES:
        raise TransformError(f"no policy {policy!r}. Hint: it is one of {', '.join(POLICIES)}")
    if input not in KINDS:
        raise TransformError(f"no input {input!r}. Hint: it is one of {', '.join(KINDS)}")
    if not isinstance(seed, int):
        raise TransformError(f"seed must be an int, got {seed!r}")
    return Translation(transform, policy, input, seed)


class Translation:
    """A translated transform: a callable on one sample, operations for ds.map, a report, source code.

    Holds no generator and no counter of its own: it can be pickled, shared by threads and processes, and used twice.
    """

    def __init__(self, transform: Any, policy: str, input: str, seed: int) -> None:
        self.transform, self.policy, self.input, self.seed = transform, policy, input, seed
        nodes = read(transform)
        self._batch: BatchLevel | None = batch_level(nodes, seed)
        self.nodes = () if self._batch is not None else nodes
        self.lowered = lower(self.nodes, State(input), policy)
        self.program = Program(self.lowered.steps, input, seed)
        self.report: TransformReport = report_of(self.lowered, self._batch, policy, input)

    def __call__(self, sample: Any, key: Any = None) -> Any:
        """The pipeline on one sample: an image (PIL, tensor or array), or a dict or tuple with one.

        ``key``: what its random numbers depend on beside the seed: an index, or (epoch, index). Without one it is drawn
        from torch's global generator, as torchvision would. Returns numpy arrays where images, boxes and masks were; the
        sample given is not written to. Raises ``TransformError`` naming the operation.
        """
        return self.program(sample, key)

    @property
    def operations(self) -> list[Any]:
        """A fresh list for ``ds.map(operations=..., input_columns=...)`` alone, without ``apply``.

        Exact, and independent between operations and samples; the same again only with one worker.
        """
        self._refuse_batch_level("operations")
        return [native.make() for native in self.lowered.native] or [LoneMap(self.program)]

    def apply(self, dataset: Any, column: str = "image", **map_arguments: Any) -> Any:
        """``dataset`` with the column transformed: the same bytes for any number of threads and processes.

        ``dataset``: made by ``dsbridge.to_mindspore`` (rows, not batches), perhaps with operations behind it; its hidden
        column of epoch and index is let in and taken out again. ``map_arguments``: for ``ds.map``
        (``num_parallel_workers``, clamped to the cores, ``python_multiprocessing``, ``max_rowsize``).
        ``num_parallel_workers=0``: no ds.map at all, the source's own thread does it: the least CPU time, on one core.

        Raises ``TransformError`` for another dataset, a missing column, or a batched one.
        """
        self._refuse_batch_level("apply")
        if self.lowered.native and map_arguments.get("num_parallel_workers") != 0:
            return dataset.map(self.operations, [column], **clamped(map_arguments))
        return wire(dataset, column, KeyedMap(self.program), map_arguments)

    @property
    def per_batch_map(self) -> Any:
        """For ``ds.batch(per_batch_map=..., input_columns=[image, label])``: MixUp and CutMix. None where there are none."""
        return self._batch

    def verify(self, samples: Any) -> TransformReport:
        """Run the original and the translation on these samples with equal parameters; the report has a measured column.

        ``samples``: images as ``t(...)`` takes them. Each operation gets the same image on both sides, and so does the
        whole pipeline. ``report.ok`` is False where a difference exceeds what was stated.
        """
        from dsbridge.transforms.verify import verify

        self._refuse_batch_level("verify")
        return verify(self.nodes, self.lowered, self.program, samples, self.report)

    def to_python(self) -> str:
        """The pipeline as a module of its own: MindSpore, numpy and Pillow, no torch and no dsbridge."""
        from dsbridge.transforms.emit import emit

        return emit(self)

    def _refuse_batch_level(self, name: str) -> None:
        if self._batch is not None:
            raise TransformError(f"MixUp and CutMix work on batches: there is no {name}. Hint: ds.batch(per_batch_map=...)")

    def __reduce__(self) -> Any:
        return translate, (self.transform, self.policy, self.input, self.seed)

    def __repr__(self) -> str:
        return f"<Translation of {len(self.report.rows)} operations, policy {self.policy!r}, input {self.input!r}>"
