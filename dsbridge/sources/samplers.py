"""torch's samplers, replayed: the order of an epoch as a function of generator states.

The built-in samplers (Sequential, Random, SubsetRandom, WeightedRandom, Batch, Distributed) draw in a known
way, so that a copy of one with other generators draws the same numbers. Subclasses and user-made samplers are
not guessed at: they are run as they are.
"""

from __future__ import annotations

import copy
from typing import Any

from dsbridge.frameworks import torch_data
from dsbridge.frameworks.detect import require_torch


def _builtin() -> dict[str, Any]:
    data = require_torch("samplers").utils.data
    names = ("SequentialSampler", "RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "BatchSampler")
    return {name: getattr(data, name) for name in names} | {"DistributedSampler": data.DistributedSampler}


def is_builtin(sampler: Any) -> bool:
    """Whether a sampler is exactly one of torch's, or a plain list or range of indices, all the way down.

    >>> from torch.utils.data import BatchSampler, RandomSampler
    >>> is_builtin(BatchSampler(RandomSampler([1, 2, 3]), 2, False)), is_builtin(iter([1]))
    (True, False)
    """
    if type(sampler) in (list, tuple, range):
        return True
    if type(sampler) not in _builtin().values():
        return False
    return type(sampler).__name__ != "BatchSampler" or is_builtin(sampler.sampler)


def may_repeat(sampler: Any) -> bool:
    """Whether an index may come twice in an epoch; True where it is not known.

    >>> from torch.utils.data import RandomSampler
    >>> may_repeat(RandomSampler([1, 2])), may_repeat(RandomSampler([1, 2], replacement=True))
    (False, True)
    """
    kinds = _builtin()
    if type(sampler) is kinds["BatchSampler"]:
        return may_repeat(sampler.sampler)
    if type(sampler) is kinds["SequentialSampler"] or type(sampler) is range:
        return False
    if type(sampler) is kinds["RandomSampler"]:
        return bool(sampler.replacement or sampler.num_samples > len(sampler.data_source))
    return True


def generators_of(sampler: Any, generator: Any = None) -> list[Any]:
    """The distinct torch generators a loader draws from: its own and its samplers', in a fixed order.

    >>> import torch
    >>> g = torch.Generator()
    >>> len(generators_of(torch.utils.data.RandomSampler([1], generator=g), g))
    1
    """
    torch = require_torch("samplers")
    found: list[Any] = []
    nodes = [generator]
    while sampler is not None and len(nodes) < 8:  # samplers wrap samplers; a cycle would be a user's joke
        nodes.append(getattr(sampler, "generator", None))
        sampler = getattr(sampler, "sampler", None)
    for node in nodes:
        if isinstance(node, torch.Generator) and all(node is not other for other in found):
            found.append(node)
    return found


def epoch_holder(sampler: Any) -> Any:
    """The sampler that wants ``set_epoch``, itself or inside a batch sampler; None if there is none.

    >>> epoch_holder([1, 2]) is None
    True
    """
    for _ in range(8):
        if sampler is None or hasattr(sampler, "set_epoch"):
            return sampler
        sampler = getattr(sampler, "sampler", None)
    return None


def replay(sampler: Any, swap: dict[int, Any], default: Any, epoch: int | None = None) -> Any:
    """A copy of a built-in sampler that draws from other generators and leaves the original alone.

    ``swap`` maps the id of a generator to the one used instead; ``default`` stands for torch's global one.
    ``epoch`` is set on a DistributedSampler.

    >>> import torch
    >>> sampler = torch.utils.data.RandomSampler(range(5))
    >>> _ = torch.manual_seed(3); expected = list(sampler)
    >>> list(replay(sampler, {}, torch.Generator().manual_seed(3))) == expected
    True
    """
    kinds = _builtin()
    clone = copy.copy(sampler)
    if type(sampler) is kinds["BatchSampler"]:
        clone.sampler = replay(sampler.sampler, swap, default, epoch)
    elif type(sampler) is kinds["DistributedSampler"]:
        clone.epoch = sampler.epoch if epoch is None else epoch
    elif hasattr(sampler, "generator"):
        if sampler.generator is not None:
            clone.generator = swap.get(id(sampler.generator), sampler.generator)
        elif type(sampler) is kinds["RandomSampler"]:  # it seeds a generator of its own from the global one
            clone.generator = torch_data.seeded_generator(torch_data.draw_base_seed(default))
        else:
            clone.generator = default
    return clone
