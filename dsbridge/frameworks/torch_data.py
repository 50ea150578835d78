"""torch.utils.data as seen from here: the reference loader, its seeds, its collate registry."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
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


def stack_into(tensors: Any, buffer: np.ndarray[Any, Any]) -> Any:
    """``torch.stack`` into a numpy buffer of uint8 that the resulting tensor keeps alive.

    The tensors must have one shape and one dtype; the buffer exactly their size in bytes.
    """
    torch = loaded("torch")
    first = tensors[0]
    out = torch.from_numpy(buffer).view(first.dtype).view(len(tensors), *first.shape)  # type: ignore[union-attr]
    if first.nbytes < _ROW_BYTES or not first.ndim:
        return torch.stack(tensors, 0, out=out)  # type: ignore[union-attr]
    # With numpy: torch would copy with all threads, no faster than one on an idle machine and many times slower on a
    # busy one, where threads wait for each other.
    rows = [to_numpy(tensor) for tensor in tensors]
    np.concatenate(rows, out=to_numpy(out).reshape(-1, *first.shape[1:]))
    return out


def can_stack_into(tensors: Any) -> bool:
    """Whether ``stack_into`` gives what ``stack`` gives: plain dense CPU tensors, alike, without gradients.

    >>> import torch
    >>> can_stack_into([torch.ones(2), torch.ones(2, dtype=torch.float64)])
    False
    """
    torch = loaded("torch")
    assert torch is not None
    first = tensors[0]
    if {type(t) for t in tensors} != {torch.Tensor} or len({t.dtype for t in tensors}) != 1:
        return False
    if first.layout is not torch.strided or first.device.type != "cpu" or first.is_quantized or first.is_nested:
        return False
    if first.dim() > 3 and not first.is_contiguous():  # stack keeps the memory format of channels_last tensors
        return False
    return not any(t.requires_grad for t in tensors) and all(t.shape == first.shape for t in tensors)


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


def become_worker(worker: int, workers: int, base_seed: int, dataset: Any) -> None:
    """Make this process torch's worker ``worker``: one thread, torch's seeds, ``get_worker_info()``.

    One thread, because torch's thread pool does not survive a fork: the first parallel operation would hang.
    """
    import random

    torch = require_torch("DataLoader")
    module: Any = importlib.import_module("torch.utils.data._utils.worker")
    torch.set_num_threads(1)
    seed = base_seed + worker
    random.seed(seed)
    torch.manual_seed(seed)
    np.random.seed(module._generate_state(base_seed, worker))
    module._worker_info = module.WorkerInfo(id=worker, num_workers=workers, seed=seed, dataset=dataset)


def seed_datapipe(dataset: Any, generator: Any) -> Any:
    """What torch's loader does to an IterDataPipe at the start of an iteration; other datasets are returned as they are."""
    torch = loaded("torch")
    if torch is None or not isinstance(dataset, torch.utils.data.IterDataPipe):
        return dataset
    shared = seeded_generator(draw_base_seed(generator))
    return torch.utils.data.graph_settings.apply_random_seed(dataset, shared)


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
