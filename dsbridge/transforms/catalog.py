"""The transform classes that are known: dsbridge's own table, what users registered, what installed packages bring."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from importlib.metadata import entry_points

from dsbridge.errors import TransformError
from dsbridge.transforms import torchvision
from dsbridge.transforms.foreign import Foreign, Pin, Reader

ENTRY_POINTS = "dsbridge.transforms"
_registered: dict[str, Foreign] = {}


def register(name: str, read: Reader, pin: Pin | None = None) -> None:
    """Teach dsbridge a transform class by its qualified name.

    ``read(instance)`` returns an operation: one of ``dsbridge.transforms.ops``, or any frozen dataclass with their methods.
    ``pin(instance, params)`` returns a callable for ``verify``; see ``Foreign``. A package can bring such classes with an
    entry point in group "dsbridge.transforms": a function without arguments that calls ``register``.

    Raises ``TransformError`` for a name that is not qualified.

    >>> from dsbridge.transforms.ops.flip import RandomVerticalFlip
    >>> register("mylib.augment.UpsideDown", read=lambda t: RandomVerticalFlip(p=t.chance))
    >>> find("mylib.augment.UpsideDown").name
    'mylib.augment.UpsideDown'
    """
    if not (isinstance(name, str) and "." in name):
        raise TransformError(f"register wants a qualified class name such as 'mylib.augment.Blur2', got {name!r}")
    _registered[name] = Foreign(name, read, pin)


def find(name: str) -> Foreign | None:
    """What is known of the class with this qualified name; a user's word goes before dsbridge's own.

    >>> find("torchvision.transforms.transforms.RandomHorizontalFlip").name
    'torchvision.transforms.transforms.RandomHorizontalFlip'
    >>> find("collections.Counter") is None
    True
    """
    _load_plugins()
    return _registered.get(name) or built_in().get(name)


@functools.cache
def built_in() -> dict[str, Foreign]:
    """Every class that dsbridge knows by itself.

    >>> "torchvision.transforms.v2._geometry.RandomHorizontalFlip" in built_in()
    True
    """
    found: dict[str, Foreign] = {}
    for module in pkgutil.iter_modules(torchvision.__path__):
        for foreign in getattr(importlib.import_module(f"{torchvision.__name__}.{module.name}"), "FOREIGN", ()):
            found[foreign.name] = foreign
    return found


@functools.cache
def _load_plugins() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()()
