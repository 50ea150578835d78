"""torch.utils.data as seen from here: the reference loader, its seeds, its collate registry."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from dsbridge.frameworks.detect import is_instance, loaded, require_torch
from dsbridge.frameworks.torch_tensors import to_numpy

_ROW_BYTES = 1 << 12  # below it a call per row costs more than the copy

# every argument of torch 2.13's DataLoader; also the attributes it keeps them under
ARGUMENTS = (
    "dataset",
    "batch_size",
    "shuffle",
    "sampler",
    "batch_sampler",
    "num_workers",
    "collate_fn",
    "pin_memory",
    "drop_last",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
    "pin_memory_device",
    "in_order",
)


def reference_loader(**arguments: Any) -> Any:
    """A torch DataLoader with these arguments: it checks them, makes the samplers and is never iterated.

    >>> reference_loader(dataset=[1, 2, 3], batch_size=2).batch_sampler.batch_size
    2
    """
    return require_torch("DataLoader").utils.data.DataLoader(**arguments)


def is_loader(value: Any) -> bool:
    """Whether a value is a torch DataLoader or a subclass; imports nothing.

    >>> is_loader([])
    False
    """
    return is_instance(value, "torch.utils.data.dataloader.DataLoader")


def loader_arguments(loader: Any) -> dict[str, Any]:
    """The arguments that make an equal loader: read from its attributes, without iterating it.

    >>> loader = reference_loader(dataset=[1, 2, 3], batch_size=2, drop_last=True)
    >>> sorted(set(loader_arguments(loader)) & {"batch_size", "drop_last", "sampler"})
    ['batch_size', 'drop_last', 'sampler']
    """
    if not is_loader(loader):
        raise TypeError(f"expected a torch.utils.data.DataLoader, got {type(loader).__qualname__}")
    given = {name: getattr(loader, name) for name in ARGUMENTS if hasattr(loader, name)}
    if is_iterable_dataset(loader.dataset):
        del given["sampler"], given["batch_sampler"]
    elif type(loader.batch_sampler) is loaded("torch").utils.data.BatchSampler and loader.batch_size is not None:  # type: ignore[union-attr]
        del given["batch_sampler"]  # batch_size, sampler and drop_last make the same one again
    elif loader.batch_sampler is not None:
        for name in ("batch_size", "sampler", "drop_last"):
            del given[name]
    else:
        del given["batch_sampler"]
    if given["collate_fn"] is (default_convert() if loader.batch_sampler is None else default_collate()):
        del given["collate_fn"]  # torch's choice, which an override of batch_size may change
    return given


def is_iterable_dataset(dataset: Any) -> bool:
    """Whether a dataset is a torch IterableDataset; imports nothing.

    >>> is_iterable_dataset([1])
    False
    """
    data = loaded("torch.utils.data")
    return data is not None and isinstance(dataset, data.IterableDataset)


def default_collate() -> Any:
    """torch's default_collate function."""
    return require_torch("collate").utils.data.default_collate


def default_convert() -> Any:
    """torch's default_convert function, what batch_size=None collates with."""
    return require_torch("collate").utils.data.default_convert


def collate_function(kind: type) -> Any:
    """The function torch's registry (``default_collate_fn_map``, which users extend) has for a type, or None.

    >>> collate_function(int).__name__
    'collate_int_fn'
    """
    registry = _collate_module().default_collate_fn_map
    if kind in registry:
        return registry[kind]
    return next((fn for key, fn in registry.items() if issubclass(kind, key)), None)


def collate_registry() -> dict[Any, Any]:
    """torch's ``default_collate_fn_map`` itself."""
    return _collate_module().default_collate_fn_map  # type: ignore[no-any-return]


def _collate_module() -> Any:
    require_torch("collate")
    return loaded("torch.utils.data._utils.collate")


def as_tensor(value: Any) -> Any:
    """``torch.as_tensor``, with its own errors for dtypes and strides torch does not have."""
    return loaded("torch").as_tensor(value)  # type: ignore[union-attr]


def stack(tensors: Any) -> Any:
    """``torch.stack`` along a new first dimension, with default_collate's own errors for sparse and nested tensors.

    Unlike default_collate in a worker it promotes dtypes that differ, as default_collate does in the trainer.
    """
    torch = loaded("torch")
    assert torch is not None
    if tensors[0].is_nested or tensors[0].layout is not torch.strided:
        return collate_function(torch.Tensor)(tensors)
    return torch.stack(tensors, 0)


def stack_into(tensors: Any, allocate: Callable[[int], np.ndarray[Any, Any]], min_bytes: int = 0) -> Any:
    """``torch.stack`` into memory from ``allocate(nbytes)``, which the resulting tensor keeps alive.

    None where that would not give what ``stack`` gives, or less than ``min_bytes``: only plain dense CPU tensors, alike
    and without gradients, go. The hot path of every worker, so it asks as little as it can.

    >>> import torch
    >>> stack_into([torch.ones(2)] * 2, lambda nbytes: np.empty(nbytes, np.uint8))
    tensor([[1., 1.],
            [1., 1.]])
    >>> stack_into([torch.ones(2), torch.ones(2, dtype=torch.float64)], lambda nbytes: np.empty(nbytes, np.uint8))
    """
    torch = loaded("torch")
    assert torch is not None
    first = tensors[0]
    if type(first) is not torch.Tensor or first.is_nested or first.layout is not torch.strided or first.is_quantized:
        return None
    row_bytes = first.nbytes
    if len(tensors) * row_bytes < min_bytes or first.device.type != "cpu":
        return None
    if first.dim() > 3 and not first.is_contiguous():  # stack keeps the memory format of channels_last tensors
        return None
    if len(set(map(type, tensors))) != 1 or len(set(map(_dtype_of, tensors))) != 1:
        return None
    # On several threads torch's copy is no faster on an idle machine and many times slower on a busy one, where they wait
    # for each other; numpy copies large rows as fast with one. A worker has one thread anyway.
    by_numpy = row_bytes >= _ROW_BYTES and first.dim() > 0 and torch.get_num_threads() > 1
    if by_numpy and (any(map(_needs_grad, tensors)) or len(set(map(_shape_of, tensors))) != 1):
        return None
    out = torch.from_numpy(allocate(len(tensors) * row_bytes)).view(first.dtype).view(len(tensors), *first.shape)
    if not by_numpy:
        try:
            return torch.stack(tensors, 0, out=out)
        except RuntimeError:  # shapes that differ, gradients: stack has the words for it, or does it
            return None
    rows = [to_numpy(tensor) for tensor in tensors]
    np.concatenate(rows, out=to_numpy(out).reshape(-1, *first.shape[1:]))
    return out


_dtype_of, _shape_of, _needs_grad = attrgetter("dtype"), attrgetter("shape"), attrgetter("requires_grad")


def draw_base_seed(generator: Any) -> int:
    """The seed torch's loader draws at the start of each iteration, from ``generator`` or the global one."""
    torch = require_torch("DataLoader")
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())


def seeds_from(generator: Any) -> Iterator[int]:
    """Base seeds as consecutive iterations would draw them, from a copy of ``generator`` (None: the global one)."""
    torch = require_torch("DataLoader")
    copy = torch.Generator()
    copy.set_state(torch.get_rng_state() if generator is None else generator.get_state())
    while True:
        yield draw_base_seed(copy)


def seeded_generator(seed: int) -> Any:
    """A new CPU generator seeded with ``seed``, of which torch takes 64 bits."""
    return require_torch("DataLoader").Generator().manual_seed(seed & 0xFFFF_FFFF_FFFF_FFFF)


def process_context(context: Any) -> Any:
    """The multiprocessing context of a loader: the one given, else the default; never changes the global one."""
    import multiprocessing

    return multiprocessing.get_context() if context is None else context


def become_worker(worker: int, workers: int, base_seed: int, dataset: Any) -> Callable[[], bool]:
    """Make this process torch's worker ``worker``: one thread, torch's seeds, ``get_worker_info()``.

    One thread, because torch's thread pool does not survive a fork: the first parallel operation would hang.
    Returns a function that says whether anybody has asked for the worker's id since, as a sharded stream does.
    """
    import random

    torch = require_torch("DataLoader")
    module = _worker_module()
    torch.set_num_threads(1)
    seed = base_seed + worker
    random.seed(seed)
    torch.manual_seed(seed)
    np.random.seed(module._generate_state(base_seed, worker))
    kind = _noting_worker_info() if is_iterable_dataset(dataset) else module.WorkerInfo
    module._worker_info = kind(id=worker, num_workers=workers, seed=seed, dataset=dataset)
    _ID_READ.clear()
    return lambda: bool(_ID_READ)


_ID_READ: list[bool] = []


def _worker_module() -> Any:
    return importlib.import_module("torch.utils.data._utils.worker")


@functools.cache
def _noting_worker_info() -> Any:
    base: Any = _worker_module().WorkerInfo

    class WorkerInfo(base):  # type: ignore[misc]
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            if name == "id" and not _ID_READ:
                _ID_READ.append(True)
            return super().__getattribute__(name)

    return WorkerInfo


def draw_pipe_seed(dataset: Any, generator: Any) -> int | None:
    """The seed torch's loader draws for the random parts of an IterDataPipe; None (and no draw) for other datasets.

    >>> draw_pipe_seed([1, 2], None)
    """
    torch = loaded("torch")
    if torch is None or not isinstance(dataset, torch.utils.data.IterDataPipe):
        return None
    return draw_base_seed(generator)


def reseed_pipe(dataset: Any, seed: int | None) -> Any:
    """An IterDataPipe with this seed given to its random parts; without a seed the dataset as it is.

    >>> reseed_pipe([1, 2], None)
    [1, 2]
    """
    if seed is None:
        return dataset
    return require_torch("IterDataPipe").utils.data.graph_settings.apply_random_seed(dataset, seeded_generator(seed))


def seed_datapipe(dataset: Any, generator: Any) -> Any:
    """What torch's loader does to an IterDataPipe at the start of an iteration; other datasets are returned as they are."""
    return reseed_pipe(dataset, draw_pipe_seed(dataset, generator))


def warn_if_longer(dataset: Any, said: int | None, fetched: int, workers: int) -> None:
    """torch's warning for an IterableDataset that gives more batches than len(loader) ``said``."""
    if said is None or fetched <= said or not is_iterable_dataset(dataset):
        return
    text = (
        f"Length of IterableDataset {dataset} was reported to be {said}"
        f"(when accessing len(dataloader)), but {fetched} samples have been fetched. "
    )
    if workers:
        text += (
            "For multiprocessing data-loading, this could be caused by not properly configuring the "
            "IterableDataset replica at each worker. Please see "
            "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
        )
    warnings.warn(text, stacklevel=4)


def pinning(loader: Any) -> str | None:
    """The device to pin batches for, None not to pin; warns as torch does when an iteration starts."""
    torch = loaded("torch")
    assert torch is not None
    if not loader.pin_memory:
        return None
    if loader.pin_memory_device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device,"
            f"ignore pin_memory_device='{loader.pin_memory_device}'.",
            stacklevel=4,
        )
    if not torch.accelerator.is_available():
        warnings.warn(
            "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
            stacklevel=4,
        )
        return None
    return str(torch.accelerator.current_accelerator().type)


def pin(batch: Any, device: str) -> Any:
    """Pin a torch batch for the device that ``pinning`` gave."""
    return loaded("torch.utils.data._utils.pin_memory").pin_memory(batch, device)  # type: ignore[union-attr]
