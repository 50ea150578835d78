"""What dsbridge's own tables know, by torch's names. They need torch itself, so they are asked for once, and not at import."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dsbridge.frameworks.detect import require_torch
from dsbridge.migrate.inspect.canonical import canonical

NO_ENTRY = "there is no entry for it"


@dataclass(frozen=True, slots=True)
class Tables:
    """``layers``, ``transforms``: what is in the tables. ``functions``: entry -> why it refuses whatever it is given, or "".

    ``losses`` and ``loss_functions``: torch's, in the tables or not. ``seen``: qualified names of torch's functions of tensors.
    ``asking``: names of those that ask a tensor nothing of its values.
    """

    torch: Any
    layers: frozenset[str]
    losses: frozenset[str]
    loss_functions: frozenset[str]
    functions: Mapping[str, str]
    seen: frozenset[str]
    asking: frozenset[str]
    entry: Callable[[str], str]
    short_name: Callable[[Any], str]

    def live(self, name: str) -> Any:
        """What a public name of torch stands for, None where torch has none.

        >>> tables().live("torch.nn.Linear").__name__, tables().live("torch.no_such_thing")
        ('Linear', None)
        """
        found = self.torch
        for part in name.split(".")[1:]:
            found = None if part.startswith("_") else getattr(found, part, None)
        return found if name.startswith("torch.") else None

    def exists(self, name: str) -> bool:
        """Whether torch has this name."""
        return self.live(name) is not None

    def is_layer(self, name: str) -> bool:
        """Whether a name is a subclass of torch.nn.Module that torch has and that is no loss."""
        found, module = self.live(name), self.torch.nn.Module
        return isinstance(found, type) and issubclass(found, module) and found is not module and name not in self.losses

    def function(self, name: str) -> str | None:
        """Why a function of torch is not converted, "" if it is; None for what is no function of tensors.

        >>> [tables().function(f"torch.{name}") for name in ("relu", "geqrf", "Tensor", "save")]
        ['', 'there is no entry for it', None, None]
        """
        found = self.live(name)
        if found is None or isinstance(found, type) or not callable(found):
            return None
        short = self.short_name(found)
        known = self.entry(short) in self.functions or short in self.asking
        return self._refused(short) if known or name in self.seen else None

    def method(self, name: str) -> str | None:
        """The same of a tensor's method."""
        found = getattr(self.torch.Tensor, name, None)
        return None if found is None or not callable(found) else self._refused(name)

    def _refused(self, name: str) -> str:
        return "" if name in self.asking else self.functions.get(self.entry(name), NO_ENTRY)


@cache
def tables() -> Tables:
    """The tables of layers and functions, with the plug-ins of installed packages. Raises as ``require_torch`` does.

    >>> "torch.nn.Linear" in tables().layers, "torch.nn.MSELoss" in tables().losses
    (True, True)
    """
    torch = require_torch("the tables of layers and functions")
    from dsbridge.model import asking, extend
    from dsbridge.model.functions import registry as functions
    from dsbridge.model.layers import registry as layers

    layers.load_all()
    functions.load_all()
    extend.load_plugins()
    known = {canonical(name) for name in (*(f"{cls.__module__}.{cls.__qualname__}" for cls in layers.LAYERS), *layers.NAMED)}
    in_nn = {name: cls for name, cls in vars(torch.nn).items() if isinstance(cls, type)}
    in_functional = {name: one for name, one in vars(torch.nn.functional).items() if inspect.isfunction(one)}
    return Tables(
        torch=torch,
        layers=frozenset(known),
        losses=frozenset(f"torch.nn.{name}" for name, cls in in_nn.items() if cls.__module__ == "torch.nn.modules.loss"),
        loss_functions=frozenset(
            f"torch.nn.functional.{name}"
            for name, one in in_functional.items()
            if "reduction" in inspect.signature(one).parameters
        ),
        functions={name: _always_refused(express) for name, express in functions.FUNCTIONS.items()},
        seen=_seen(torch),
        asking=frozenset(asking.ASKING | {"shape", "size", "nelement"}),
        entry=functions.entry,
        short_name=asking.short_name,
    )


def _seen(torch: Any) -> frozenset[str]:
    """The functions that take or make tensors: those that tensors' subclasses may override, and those of torch itself."""
    overridable = (torch.overrides.resolve_name(one) for one in torch.overrides.get_testing_overrides())
    return frozenset(
        {f"torch.{name}" for name in dir(torch._C._VariableFunctions)} | {canonical(name) for name in overridable if name}
    )


def _always_refused(express: Callable[..., Any]) -> str:
    """Why an entry refuses everything: such a one needs no arguments to say so."""
    from dsbridge.model.construct import Refused

    try:
        express()
    except Refused as exc:
        return str(exc)
    except Exception:  # it misses its arguments, or cannot do without
        return ""
    return ""


@cache
def transforms() -> Mapping[str, str]:
    """torchvision's transforms: why the original runs, or "" for what has an operation.

    >>> transforms()["torchvision.transforms.RandomCrop"], transforms()["torchvision.transforms.Lambda"]
    ('', "it calls a function of the user's")
    """
    from dsbridge.transforms.catalog import built_in
    from dsbridge.transforms.torchvision.containers import CONTAINERS
    from dsbridge.transforms.torchvision.refused import REFUSED

    return {canonical(name): "" for name in (*built_in(), *CONTAINERS)} | {
        canonical(name): why for name, why in REFUSED.items()
    }


@cache
def optimizers() -> Mapping[str, tuple[Any, ...]]:
    """The recipes of each torch optimizer, by its class's name.

    >>> [one.target for one in optimizers()["AdamW"]][0]
    'experimental.AdamW'
    """
    from dsbridge.checkpoint.optimizer_table import TABLE

    return {name: tuple(one for one in TABLE if one.torch == name) for name in {one.torch for one in TABLE}}


@cache
def refused_optimizers() -> Mapping[str, str]:
    """Why torch's other optimizers do not go on.

    >>> refused_optimizers()["Muon"]
    'MindSpore has no Muon'
    """
    from dsbridge.checkpoint.optimizer_table import REFUSED

    return {name: why for (name, target), why in REFUSED.items() if target == "*"}


@cache
def schedulers() -> Mapping[str, str]:
    """Each torch scheduler that goes on, and how: "attach" or "rates".

    >>> schedulers()["StepLR"], schedulers()["OneCycleLR"]
    ('attach', 'rates')
    """
    from dsbridge.checkpoint.scheduler import ARGUMENTS, REPLAYED

    return dict.fromkeys(REPLAYED, "rates") | dict.fromkeys(ARGUMENTS, "attach")
