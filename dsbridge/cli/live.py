"""Live objects that a command line names: ``module:factory``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from dsbridge.errors import UsageError


def made(name: str | None) -> Any:
    """What ``module:attribute`` names, called if it is a function or class; a model itself is taken as it is.

    Modules are found as ``python -m`` finds them, in the current folder too. Raises ``UsageError``.

    >>> made("collections:OrderedDict"), made(None)
    (OrderedDict(), None)
    """
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    if not attribute:
        raise UsageError(f"{name!r} is no MODULE:FACTORY", hint="e.g. mymodels:resnet18")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as exc:
        raise UsageError(f"cannot find {name}: {exc}", hint="name a function in a module that can be imported here") from exc
    is_model = hasattr(found, "state_dict") or hasattr(found, "parameters_dict")
    return found() if callable(found) and (isinstance(found, type) or not is_model) else found


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a checkpoint is planned, which several commands take.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["--dtypes", "keep"]).dtypes
    'keep'
    """
    add = parser.add_argument
    add("--model", metavar="MODULE:FACTORY", help="the torch model: a function that makes it, or the model")
    add("--network", metavar="MODULE:FACTORY", help="the MindSpore network, likewise")
    add("--rules", default="auto", metavar="FILE", help="a TOML file of rules")
    add("--key", default="", metavar="NAME", help="the dict in the file that is meant, e.g. state_dict")
    add("--dtypes", choices=("target", "keep"), default="target", help="cast to the network's dtypes, or keep the file's")
    add("--trust", action="store_true", help="let a pickle build its own classes: it may run anything")


def plan_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``configure``'s options say, as arguments of ``checkpoint.plan``. Raises ``UsageError``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> plan_options(parser.parse_args([]))["rules"]
    'auto'
    """
    model, network = models(arguments)
    given = {name: getattr(arguments, name) for name in ("rules", "key", "dtypes", "trust")}
    return {"model": model, "network": network, **given}


def models(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """What ``--model`` and ``--network`` name; None for what was not given. Raises ``UsageError``.

    >>> models(argparse.Namespace(model="collections:OrderedDict", network=None))
    (OrderedDict(), None)
    """
    if arguments.network:
        from dsbridge.frameworks.mindspore_tensors import tensor_type  # imports numpy

        tensor_type()  # on numpy 2 a process's first operation fails, which must not be one of the network's constructor
    return made(arguments.model), made(arguments.network)
