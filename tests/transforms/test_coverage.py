"""Every public class of torchvision.transforms, v1 and v2, is translated, refused for a reason, or a container."""

from __future__ import annotations

import enum
import inspect

from torchvision_shim import presets, v1, v2

from dsbridge.transforms.catalog import built_in
from dsbridge.transforms.torchvision import containers
from dsbridge.transforms.torchvision.refused import REFUSED

CONTAINERS = {name.rpartition(".")[2] for name in containers.CONTAINERS}


def public() -> set[str]:
    """Qualified names of torchvision's public transform classes."""
    classes = [value for library in (v1, v2, presets) for value in vars(library).values() if inspect.isclass(value)]
    return {
        f"{cls.__module__}.{cls.__qualname__}"
        for cls in classes
        if cls.__module__.startswith("torchvision.transforms")
        and not cls.__name__.startswith("_")
        and not issubclass(cls, enum.Enum)
    }


def test_every_class_is_accounted_for() -> None:
    names = {name for name in public() if name.rpartition(".")[2] not in CONTAINERS}
    assert len(names) > 90
    missing = sorted(names - set(built_in()) - set(REFUSED))
    assert not missing, f"{len(missing)} classes are neither known nor refused: {', '.join(missing)}"


def test_refused_classes_exist_and_are_not_known() -> None:
    assert set(REFUSED) <= public()
    assert not set(REFUSED) & set(built_in())
    assert all(reason and reason[0].islower() and not reason.endswith(".") for reason in REFUSED.values())


def test_known_classes_exist() -> None:
    """A misspelt name would never be found."""
    unknown = {name for name in built_in() if name.startswith("torchvision.transforms")} - public()
    assert not unknown
