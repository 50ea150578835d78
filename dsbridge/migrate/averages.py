"""Averages of weights that a training keeps beside them: torch.optim.swa_utils.AveragedModel, after each step."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from dsbridge.checkpoint.optimizer_links import lay_out
from dsbridge.checkpoint.plan import CheckpointPlan
from dsbridge.errors import Unsupported
from dsbridge.migrate.rules import rule
from dsbridge.migrate.source import Source, carried, imports_of, literal

Arrays = dict[str, "np.ndarray[Any, Any]"]
_TRIED = (*range(1, 33), 100, 1000, 10_000, 100_000)  # averages that were taken before the one whose parts are looked at


@dataclass(slots=True)
class Averages:
    """``averaged``: torch's, live; ``module``: what it averages.

    >>> from torch.optim.swa_utils import AveragedModel
    >>> net = torch.nn.Linear(1, 1, bias=False)
    >>> kept = Averages(AveragedModel(net), net)
    >>> kept.take(); kept.count
    1
    """

    averaged: Any
    module: Any

    def take(self) -> None:
        """Take the weights in as they are now."""
        self.averaged.update_parameters(self.module)

    @property
    def count(self) -> int:
        """How often that was done."""
        return int(self.averaged.n_averaged)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        """Each tensor and its average."""
        yield from zip(self.module.parameters(), self.averaged.module.parameters(), strict=True)
        if self.averaged.use_buffers:
            pairs = zip(self.module.buffers(), self.averaged.module.buffers(), strict=True)
            yield from (pair for pair in pairs if pair[0].dtype.is_floating_point)

    def arrays(self, names: Mapping[int, str]) -> Arrays:
        """The averages, in float64; ``names``: of the tensors that they are of, by id."""
        return {names[id(p)]: mean.detach().double().numpy().copy() for p, mean in self._pairs() if id(p) in names}

    def put(self, names: Mapping[int, str], arrays: Arrays, count: int) -> None:
        """Have it as it was when ``arrays`` and ``count`` were asked for."""
        with torch.no_grad():
            for p, mean in self._pairs():
                if names.get(id(p)) in arrays:
                    mean.copy_(torch.from_numpy(arrays[names[id(p)]]))
            self.averaged.n_averaged.fill_(count)


def averages_source(
    averaged: Any, statistics: Mapping[str, int] | None = None, others: Mapping[str, int] | None = None
) -> Source:
    """``keep_averages`` as source, and the lines that call it. Raises ``Unsupported`` for averages of another kind.

    ``statistics``: of the cell, name -> ndim, that are averaged, too; ``others``: what is not.

    >>> from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> averages_source(AveragedModel(torch.nn.Linear(1, 1), multi_avg_fn=get_ema_multi_avg_fn(0.99))).lines
    ('    average = keep_averages(optimizer, decay=0.99)',)
    """
    if type(averaged).update_parameters is not AveragedModel.update_parameters:
        reason = "it updates averages in a way of its own"
        raise Unsupported("the averages", type(averaged).__name__, "", reason, "use torch's AveragedModel")
    decay = decay_of(averaged)
    definitions = carried(["keep_averages"])
    given, lines = ["optimizer"], []
    given += [] if decay is None else [f"decay={literal(decay)}"]
    if statistics:
        condition = rule(statistics, others or {})
        if condition is None:
            lines = ["    averaged = {", *(f"        {literal(name)}," for name in statistics), "    }"]
            condition = "p.name in averaged"
        lines.append(f"    statistics = [p for p in network.get_parameters() if {condition}]")
        given.append("statistics=statistics")
    lines.append(f"    average = keep_averages({', '.join(given)})")
    return Source(imports_of(definitions), definitions, tuple(lines))


def decay_of(averaged: Any) -> float | None:
    """What stays of an average each time; None where all count alike. Raises ``Unsupported`` for other functions.

    >>> from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn
    >>> net = torch.nn.Linear(1, 1)
    >>> decay_of(AveragedModel(net, avg_fn=get_ema_avg_fn(0.9))), decay_of(AveragedModel(net))
    (0.9, None)
    """
    if averaged.avg_fn is None and averaged.multi_avg_fn is None:
        return None
    kept = [_kept(averaged, count) for count in _TRIED]
    if all(one == kept[0] for one in kept):
        return kept[0]
    if np.allclose(kept, [count / (count + 1) for count in _TRIED], rtol=1e-6, atol=0):
        return None
    raise _other("what stays of an average is not the same each time")


def _kept(averaged: Any, count: int) -> float:
    """What stays of an average, by its function; of the weights, the rest is taken."""
    ours, theirs = torch.tensor([1.0, 0.0, 3.0, -2.0], dtype=torch.float64), torch.tensor([0.0, 1.0, -2.0, 0.5]).double()
    before, number = ours.clone(), torch.tensor(count)
    try:
        if averaged.multi_avg_fn is not None:
            held = [ours.clone()]
            averaged.multi_avg_fn(held, [theirs], number)
            result = held[0]
        else:
            result = averaged.avg_fn(ours.clone(), theirs, number)
        kept = float(result[0])
        right = torch.allclose(result, before * kept + theirs * (1.0 - kept), rtol=1e-6, atol=1e-9)
    except Exception as exc:
        raise _other(f"its function fails: {type(exc).__name__}: {exc}") from None
    if not right:
        raise _other("its function is no weighted mean of average and weight")
    return kept


def _other(reason: str) -> Unsupported:
    return Unsupported("the averages", "avg_fn", "", reason, "use get_ema_avg_fn or get_swa_avg_fn of torch.optim.swa_utils")


def planned_averages(arrays: Arrays, count: int, untrained: Container[str], plan: CheckpointPlan | None) -> Arrays:
    """Averages of all but what is not trained, as ``load_optimizer`` takes them, by the plan that brought the weights.

    >>> planned_averages({}, 0, (), None)
    {'averaged': array(0, dtype=int32)}
    """
    rows = [row for row in plan.rows if len(row.sources) == len(row.targets) == 1] if plan else []
    found: Arrays = {"averaged": np.array(count, np.int32)}
    for row in rows:
        name = row.sources[0]
        if name in arrays and name not in untrained:
            (found[f"averages.{row.targets[0]}"],) = lay_out(row.operations, [arrays[name]])
    return found
