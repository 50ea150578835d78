"""The user's own loader: ``dsbridge bench module:make_loader``, and the verdict on it."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import replace
from typing import Any

from dsbridge.bench.contenders import Case, Opened, processors
from dsbridge.bench.loaders import as_mindspore, opened
from dsbridge.bench.results import Results, WorkloadResult
from dsbridge.errors import UsageError
from dsbridge.frameworks.detect import is_instance

_BOUND = 0.8  # reaching this share of what the dataset can give, a loader is bound by the dataset


def check_spec(spec: str) -> tuple[str, str]:
    """Split "module:name"; raises ``UsageError`` if it is not that.

    >>> check_spec("train:make_loader")
    ('train', 'make_loader')
    """
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise UsageError(f"{spec!r} is not module:name", hint="for example train:make_loader, for a function in train.py")
    return module, name


def load(spec: str) -> tuple[Any, Any]:
    """Import the user's loader: (its torch DataLoader, the dsbridge DataLoader if it is one).

    ``spec`` names a loader, or a function without arguments that returns one. Raises ``UsageError`` where there is none;
    an exception of the user's own code passes through.

    >>> load("json:dump_it")
    Traceback (most recent call last):
    ...
    dsbridge.errors.UsageError: json has no 'dump_it'. Hint: did you mean dump or dumps?
    """
    module_name, name = check_spec(spec)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not module_name.startswith(exc.name):
            raise  # the module is there, something it imports is not
        raise UsageError(f"no module {exc.name!r}", hint="run dsbridge in its folder, or set PYTHONPATH") from exc
    try:
        found = getattr(module, name)
    except AttributeError:
        raise UsageError(f"{module_name} has no {name!r}", hint=_candidates(module, name)) from None
    loader = found() if callable(found) and not _is_any_loader(found) else found
    if is_instance(loader, "dsbridge.loader.dataloader.DataLoader"):
        return loader._torch, loader
    if _is_torch_loader(loader):
        return loader, None
    got = type(loader).__qualname__
    raise UsageError(f"{spec} gives a {got}", hint="it must be, or return, a torch or dsbridge DataLoader")


def _is_torch_loader(value: Any) -> bool:
    return is_instance(value, "torch.utils.data.dataloader.DataLoader")


def _is_any_loader(value: Any) -> bool:
    return _is_torch_loader(value) or is_instance(value, "dsbridge.loader.dataloader.DataLoader")


def _candidates(module: Any, name: str) -> str:
    names = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (_is_any_loader(value) or (callable(value) and getattr(value, "__module__", None) == module.__name__))
    ]
    close = difflib.get_close_matches(name, names, 3) or sorted(names)[:8]
    return f"did you mean {' or '.join(close)}?" if close else "it has no function and no loader at all"


def open_torch(case: Case) -> Opened:
    """The loader as it is, its batches as MindSpore tensors."""
    loader, _ = load(case.loader)
    return Opened(lambda: as_mindspore(loader), batch_size=_batch_size(loader), limit=case.batches, workers=loader.num_workers)


def open_dsbridge(case: Case) -> Opened:
    """The same as a dsbridge.DataLoader."""
    from dsbridge.loader.dataloader import DataLoader

    loader, ours = load(case.loader)
    made = ours if ours is not None else DataLoader.from_torch(loader)
    return replace(opened(made, case.batches), batch_size=_batch_size(loader), workers=loader.num_workers)


def open_in_process(case: Case) -> Opened:
    """The same without workers: what the dataset itself costs."""
    from dsbridge.loader.dataloader import DataLoader

    loader, _ = load(case.loader)
    made = DataLoader.from_torch(loader, num_workers=0)
    return replace(opened(made, case.batches), batch_size=_batch_size(loader))


def _batch_size(loader: Any) -> int:
    return loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 1


def verdict(result: WorkloadResult, workers: int, cores: int | None = None) -> str:
    """One or two sentences: how dsbridge compares, and what bounds both.

    The bound is the rate of one process times the workers that have a core each.

    >>> verdict(WorkloadResult("train:make", "", 1), workers=2)
    'no verdict without figures of torch and dsbridge'
    """
    torch, ours, alone = (result.entry(name) for name in ("torch", "dsbridge", "in-process"))
    if torch is None or ours is None:
        missing = " and ".join(name for name, entry in (("torch", torch), ("dsbridge", ours)) if entry is None)
        return f"no verdict without figures of {missing}"
    ratio = result.ratio("dsbridge", "torch") or 0.0
    rates = ours.median("steady_per_s"), torch.median("steady_per_s")
    head = f"dsbridge is {ratio:.1f}x torch on this loader ({rates[0]:.1f} against {rates[1]:.1f} batches/s)"
    if alone is None:
        return head
    one = alone.median("steady_per_s")
    usable = max(min(workers, cores or processors()), 1)
    shares = [rate / (one * usable) for rate in rates]
    reach = f"dsbridge reaches {shares[0]:.0%} of that, torch {shares[1]:.0%}".replace("%", " %")
    limit = f"one process makes {one:.1f} batches/s, so {usable} can make {one * usable:.1f}; {reach}"
    if min(shares) >= _BOUND:
        return f"{head}. The dataset itself bounds both: {limit}"
    if shares[0] >= _BOUND:
        return f"{head}. The dataset itself bounds dsbridge: {limit}"
    if max(rates) < one:
        return f"{head}. Neither beats one process ({one:.1f} batches/s): num_workers=0 is faster on this machine"
    return f"{head}. {limit[0].upper()}{limit[1:]}"


def judged(results: Results, cores: int | None = None) -> Results:
    """The results with the verdict in them.

    >>> from dsbridge.bench.results import Machine
    >>> judged(Results(2, 5, Machine.here()))
    Results(0 workloads, 2 workers, 5 rounds)
    """
    workloads = [replace(w, verdict=verdict(w, results.workers, cores)) for w in results.workloads]
    return replace(results, workloads=tuple(workloads))
