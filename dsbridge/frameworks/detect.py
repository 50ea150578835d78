"""Recognise other libraries' objects without importing those libraries.

If a user passes an object of library X, X is in ``sys.modules`` already.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from dsbridge.errors import DsbridgeError, MissingDependencyError


def is_instance(value: Any, *qualified: str) -> bool:
    """Whether a class of one of these qualified names is in the value's MRO; imports nothing.

    >>> import collections
    >>> is_instance(collections.OrderedDict(), "collections.OrderedDict")
    True
    >>> is_instance(3, "torch.Tensor")
    False
    """
    return any(f"{cls.__module__}.{cls.__qualname__}" in qualified for cls in type(value).__mro__)


def loaded(name: str) -> ModuleType | None:
    """The module of that name if the user has imported it already.

    >>> loaded("no_such_module") is None
    True
    """
    return sys.modules.get(name)


def require_torch(purpose: str) -> ModuleType:
    """Import and return torch; refuse the look-alikes that replace it.

    Raises ``MissingDependencyError`` without torch, ``DsbridgeError`` if ``torch`` is another package in disguise.

    >>> require_torch("an example").__name__
    'torch'
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as exc:
        raise MissingDependencyError("torch", purpose) from exc
    if not hasattr(torch, "_C") or "site-packages/torch/" not in (getattr(torch, "__file__", "") or "").replace("\\", "/"):
        refuse_proxy(torch)
    return torch


def refuse_proxy(torch: ModuleType) -> None:
    """Raise if ``torch`` is mindtorch, mindnlp or another proxy that only looks like PyTorch.

    >>> import torch; refuse_proxy(torch)
    """
    origin = f"{getattr(torch, '__file__', '')} {getattr(torch, '__spec__', '')} {type(torch).__module__}"
    culprit = next((name for name in ("mindtorch", "mindnlp", "msadapter") if name in origin), None)
    if culprit is None and hasattr(getattr(torch, "_C", None), "_log_api_usage_once"):
        return
    raise DsbridgeError(
        f"the module 'torch' is not PyTorch but {culprit or 'a replacement'} ({getattr(torch, '__file__', 'no file')}); "
        "dsbridge compares with the real one. Hint: import dsbridge in a process that does not import the proxy"
    )


def require_mindspore(purpose: str) -> ModuleType:
    """Import and return mindspore; raises ``MissingDependencyError`` where it is not installed.

    >>> require_mindspore("an example").__name__
    'mindspore'
    """
    try:
        return importlib.import_module("mindspore")
    except ImportError as exc:
        raise MissingDependencyError("mindspore", purpose) from exc


def require_installed(*names: str, purpose: str) -> None:
    """Raise ``MissingDependencyError`` for the first package that cannot be found; imports none.

    >>> require_installed("json", purpose="an example")
    """
    for name in names:
        try:
            there = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):  # blocked, or None in sys.modules
            there = False
        if not there:
            raise MissingDependencyError(name, purpose)
