"""``dsbridge.DataLoader``: torch's DataLoader, its arguments and its batches, with MindSpore tensors out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.rng import RngState, untouched
from dsbridge.loader.fetch import OnError, check_on_error
from dsbridge.loader.keys import SampleKeys
from dsbridge.loader.options import check_worker_options
from dsbridge.loader.output import Output
from dsbridge.loader.parallel import ParallelIterator
from dsbridge.loader.parts import Parts
from dsbridge.loader.resume import report_resume
from dsbridge.loader.serial import SerialIterator
from dsbridge.loader.state import Generators, Progress, Saved, Workers
from dsbridge.loader.stats import LoaderStats
from dsbridge.prefetch.buffers import BufferPool
from dsbridge.prefetch.pool import WorkerPool
from dsbridge.prefetch.segment import Segment
from dsbridge.report import Report
from dsbridge.sources.locate import located
from dsbridge.sources.samplers import epoch_holder, generators_of, is_builtin, may_repeat, replay


class _FromTorch:
    """An attribute that lives in the torch loader, whose own rules apply to setting it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else getattr(instance._torch, self._name)

    def __set__(self, instance: Any, value: Any) -> None:
        setattr(instance._torch, self._name, value)


class DataLoader:
    """A drop-in for ``torch.utils.data.DataLoader`` whose batches hold MindSpore tensors.

    Takes every argument of torch 2.13's DataLoader with torch's meaning, defaults and errors, and these:

    ``output``: "mindspore" (default), "numpy" or "torch". The nesting is always torch's.
    ``rng``: "torch" (the same batches as torch's loader, bit for bit) or "sample" (a sample's random numbers
    depend on seed, epoch and index alone). ``seed``: for "torch" a generator seeded with it, for "sample" the seed.
    ``on_error``: "raise", "skip", or ``callable(index, exception) -> sample``.
    ``max_memory``: bytes of recycled memory the loader may hold; beyond it, ordinary memory (counted in stats).
    ``progress``: show a tqdm bar. ``on_worker_death``, ``max_restarts``, ``batch_timeout``: for workers.

    Batches are owned by whoever holds them: kept ones are never overwritten, dropped ones' memory is recycled.
    An exception keeps its type and traceback; ``exc.dsb_index`` and ``exc.dsb_position`` say where it came from.

    >>> loader = DataLoader([(1.5, 0), (2.5, 1), (3.5, 2)], batch_size=2)
    >>> data, label = next(iter(loader))
    >>> print(data, label.dtype, len(loader))
    [1.5 2.5] Int64 2
    """

    dataset = _FromTorch()
    batch_size = _FromTorch()
    sampler = _FromTorch()
    batch_sampler = _FromTorch()
    num_workers = _FromTorch()
    collate_fn = _FromTorch()
    pin_memory = _FromTorch()
    pin_memory_device = _FromTorch()
    drop_last = _FromTorch()
    timeout = _FromTorch()
    worker_init_fn = _FromTorch()
    multiprocessing_context = _FromTorch()
    generator = _FromTorch()
    prefetch_factor = _FromTorch()
    persistent_workers = _FromTorch()
    in_order = _FromTorch()

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        output: str = "mindspore",
        rng: str = "torch",
        seed: int | None = None,
        on_error: OnError = "raise",
        on_worker_death: str = "restart",
        max_restarts: int = 3,
        batch_timeout: float | None = None,
        max_memory: int | None = None,
        progress: bool = False,
    ) -> None:
        if rng not in ("torch", "sample"):
            raise ValueError(f"rng must be 'torch' or 'sample', got {rng!r}")
        if seed is not None and rng == "torch":
            if generator is not None:
                raise ValueError("seed is mutually exclusive with generator: seed makes a generator of its own")
            generator = torch_data.seeded_generator(seed)
        check_worker_options(on_worker_death, max_restarts, batch_timeout, max_memory)
        self._torch = torch_data.reference_loader(
            dataset=dataset,
            batch_size=batch_size,
            shuffle=shuffle,
            sampler=sampler,
            batch_sampler=batch_sampler,
            num_workers=num_workers,
            collate_fn=collate_fn,
            pin_memory=pin_memory,
            drop_last=drop_last,
            timeout=timeout,
            worker_init_fn=worker_init_fn,
            multiprocessing_context=multiprocessing_context,
            generator=generator,
            prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers,
            pin_memory_device=pin_memory_device,
            in_order=in_order,
        )
        self.rng, self.seed, self.progress = rng, seed, progress
        self.on_worker_death, self.max_restarts, self.batch_timeout = on_worker_death, max_restarts, batch_timeout
        self.max_memory = max_memory
        self.report = Report("loader")
        self._on_error = check_on_error(on_error)
        self._pool = BufferPool(max_memory)
        self._output = Output(output, self._pool)
        self._epoch, self._pinned = 0, False
        self._pool_of_workers: WorkerPool | None = None
        self._with_workers: WeakSet[ParallelIterator] = WeakSet()
        self._spare_segments: list[Segment] = []
        self._workers_seed = 0  # the base seed of the workers there are
        self._progress: Progress | None = None
        self._saved: Saved | None = None
        self._length_said: int | None = None
        self._counts = LoaderStats()

    @classmethod
    def from_torch(cls, loader: Any, **overrides: Any) -> DataLoader:
        """The same loader as a torch one, read from its parts; the torch loader is never iterated.

        ``overrides`` replace or add arguments. Raises TypeError if ``loader`` is no torch DataLoader.

        >>> import torch
        >>> torch_loader = torch.utils.data.DataLoader([1, 2, 3], batch_size=2, drop_last=True)
        >>> [batch.shape for batch in DataLoader.from_torch(torch_loader)]
        [(2,)]
        """
        arguments = torch_data.loader_arguments(loader)
        if "sampler" in overrides or "shuffle" in overrides or "dataset" in overrides:
            arguments.pop("sampler", None)
        if "batch_sampler" in overrides:
            arguments = {k: v for k, v in arguments.items() if k not in ("batch_size", "sampler", "drop_last")}
        elif "batch_size" in overrides:
            arguments.pop("batch_sampler", None)
        if overrides.get("seed") is not None:
            arguments.pop("generator", None)
        if overrides.get("num_workers") == 0:
            for name in ("prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout"):
                arguments.pop(name, None)
        return cls(**arguments | overrides)

    @property
    def output(self) -> str:
        """What the leaves of a batch are: "mindspore", "numpy" or "torch"."""
        return self._output.kind

    def __len__(self) -> int:
        """The number of batches an epoch has, by torch's rules."""
        length = len(self._torch)
        if torch_data.is_iterable_dataset(self.dataset):
            self._length_said = len(self.dataset)
        return length

    def __iter__(self) -> Iterator[Any]:
        """Start an epoch (or go on where a loaded state left off)."""
        saved, self._saved = self._saved, None
        iterator = self._start() if saved is None else self._resume(saved)
        if not self.progress:
            return iterator
        from tqdm.auto import tqdm

        return iter(tqdm(iterator, total=self._length_or_none(), unit="batch", leave=False))

    def _start(self, saved: Saved | None = None) -> SerialIterator | ParallelIterator:
        """Begin an iteration, or go on with a saved one."""
        epoch = self._epoch
        if not self._pinned:
            self._epoch += 1
        if self.rng == "sample":
            self.fixed_seed()
        sampler = self._parts().index_sampler
        holder = epoch_holder(sampler)
        progress = Progress(
            epoch=epoch,
            start=Generators.capture(self._generators()),
            sampler=self._epoch_sampler(sampler, epoch),
            sampler_epoch=getattr(holder, "epoch", None),
        )
        self._progress = progress
        if saved is not None:
            progress.ahead = set(saved.ahead)
        keys = self._keys(sampler, epoch)
        iterator: SerialIterator | ParallelIterator
        if self.num_workers:
            iterator = ParallelIterator(self, progress, keys, resumed=None if saved is None else saved.workers)
            self._with_workers.add(iterator)
        else:
            iterator = SerialIterator(self, progress, keys)
        if saved is None:
            iterator.start(0, 0)
        else:
            iterator.start(saved.position, saved.samples)
            progress.position, progress.samples = saved.position, saved.samples
        return iterator

    def _epoch_sampler(self, sampler: Any, epoch: int) -> Any:
        """Under rng="sample" the built-in samplers without a generator draw from one seeded by (seed, epoch)."""
        if self.rng == "torch" or not is_builtin(sampler):
            return sampler
        return replay(sampler, {}, torch_data.seeded_generator(self.fixed_seed() + epoch))

    def _keys(self, sampler: Any, epoch: int) -> SampleKeys | None:
        return None if self.rng == "torch" else SampleKeys(self.fixed_seed(), epoch, may_repeat(sampler))

    def fixed_seed(self) -> int:
        """The seed of rng="sample": the one given, else one drawn once, as torch draws a base seed."""
        if self.seed is None:
            self.seed = torch_data.draw_base_seed(self.generator)
        return self.seed

    def _parts(self, dataset: Any = None) -> Parts:
        parts = Parts.of(self._torch)
        return parts if dataset is None else replace(parts, dataset=dataset)

    def _generators(self) -> list[Any]:
        return generators_of(self._parts().index_sampler, self.generator)

    def _length_or_none(self) -> int | None:
        try:
            return len(self._torch)
        except TypeError:
            return None

    def stats(self) -> LoaderStats:
        """What was loaded since the loader was made, and whether loading or training bounds the loop.

        >>> loader = DataLoader([1, 2, 3]); _ = list(loader); loader.stats().samples
        3
        """
        return replace(self._counts, bytes=self._output.bytes, findings=self.report.findings)

    def set_epoch(self, epoch: int) -> None:
        """Make the following iterations epoch ``epoch`` until it is called again; passed on to the sampler.

        >>> loader = DataLoader([1, 2, 3], shuffle=True, rng="sample", seed=1)
        >>> loader.set_epoch(4)
        """
        self._epoch, self._pinned = epoch, True
        holder = epoch_holder(self._parts().index_sampler)
        if holder is not None:
            holder.set_epoch(epoch)

    def replay(self, index: Any) -> Any:
        """Load one sample in this process, with the random numbers it had (rng="sample"); not collated.

        For looking at a sample that failed: ``loader.replay(exc.dsb_index)``. Leaves the global generators as they were.

        >>> DataLoader([1.5, 2.5]).replay(1)
        2.5
        """
        epoch = self._epoch if self._progress is None else self._progress.epoch
        with untouched(), located(index):
            if self.rng == "sample" and self.seed is not None:
                SampleKeys(self.seed, epoch, counting=False).before_sample(index)
            return self.dataset[index]

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as plain data: the epoch, the position in it, and the generators' states.

        A loader made with the same arguments, and given this by ``load_state_dict``, goes on with the very next batch.

        >>> loader = DataLoader(range(4)); it = iter(loader); _ = next(it)
        >>> other = DataLoader(range(4)); other.load_state_dict(loader.state_dict())
        >>> [int(batch[0]) for batch in other]
        [1, 2, 3]
        """
        if self._saved is not None:
            return self._saved.to_dict()
        under_way = self._progress if self._progress is not None and not self._progress.finished else None
        return Saved(
            epoch=self._epoch if under_way is None else under_way.epoch,
            pinned=self._pinned,
            seed=self.seed,
            position=0 if under_way is None else under_way.position,
            samples=0 if under_way is None else under_way.samples,
            start=None if under_way is None else under_way.start,
            now=Generators.capture(self._generators()),
            sampler_epoch=None if under_way is None else under_way.sampler_epoch,
            setting=self._setting(),
            ahead=set() if under_way is None else under_way.ahead,
            workers=self._workers_state(under_way),
        ).to_dict()

    def _workers_state(self, under_way: Progress | None) -> Workers | None:
        """Where workers' generators stand, if the next batches depend on it."""
        workers = None if self._progress is None else self._progress.workers
        if workers is None or self.rng == "sample" or torch_data.is_iterable_dataset(self.dataset):
            return None
        if under_way is None:  # between epochs: workers that live on go on from there
            lives = self._pool_of_workers is not None
            return replace(workers, drew=False) if lives else None
        return workers

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on where ``state`` was taken.

        With a map-style dataset no sample is loaded again: only indices are drawn. A stream is run through up to the
        position, which is a finding in ``report``. Under rng="torch" the global generators of torch, numpy and
        random are set when that iteration starts. Raises ``SchemaError`` for a state of another kind of loader.
        """
        self._saved = Saved.from_dict(state, self._setting())

    def _setting(self) -> dict[str, Any]:
        try:
            size = len(self.dataset) if isinstance(self.dataset, Sized) else None
        except (TypeError, NotImplementedError):
            size = None
        setting = {"rng": self.rng, "batch_size": self.batch_size, "dataset_size": size}
        # with rng="sample" nothing depends on who loads a sample
        return setting if self.rng == "sample" else {**setting, "num_workers": self.num_workers}

    def _resume(self, saved: Saved) -> SerialIterator | ParallelIterator:
        self._epoch, self._pinned, self.seed = saved.epoch, saved.pinned, saved.seed
        if saved.start is None:
            saved.now.restore(self._generators(), world=self.rng == "torch")
            return self._start(saved)
        report_resume(self, saved)
        outside = RngState.capture()
        saved.start.restore(self._generators())
        holder = epoch_holder(self._parts().index_sampler)
        if holder is not None and saved.sampler_epoch is not None:
            holder.set_epoch(saved.sampler_epoch)
        iterator = self._start(saved)
        if self.rng == "torch":
            saved.now.restore(self._generators())
        else:
            outside.restore()
        return iterator

    def close(self) -> None:
        """Stop the workers, those of iterations under way too: their next batch is a RuntimeError.

        Batches that are still held stay valid; the loader can be used again.
        """
        self._progress = None
        if self._pool_of_workers is not None:
            self._pool_of_workers.close()
            self._pool_of_workers = None
        for iterator in list(self._with_workers):
            iterator.close()

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        size = self._length_or_none()
        length = "" if size is None else f", {size} batches"
        name = type(self.dataset).__name__
        return f"<dsbridge.DataLoader of {name}, batch_size={self.batch_size}{length}, output={self.output!r}>"
