"""Pickles that hold the code of what they name: lambdas, classes of ``__main__``; for workers, and for other processes."""

from __future__ import annotations

import importlib
import io
import pickle
from types import ModuleType
from typing import Any

import cloudpickle


def dumps(value: Any) -> bytes:
    """By cloudpickle; ``pickle.loads`` reads it.

    >>> import pickle
    >>> pickle.loads(dumps(lambda x: x + 1))(1)
    2
    """
    target = io.BytesIO()
    _Pickler(target, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return target.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, value: Any) -> Any:
        """``torch.classes`` and ``torch.ops`` by name: they are no plain modules, and cloudpickle takes them along where a
        function that uses torch has an attribute of that name, as in ``self.dataset.classes``.
        """
        if isinstance(value, ModuleType) and type(value) is not ModuleType:
            return importlib.import_module, (value.__name__,)
        return super().reducer_override(value)
