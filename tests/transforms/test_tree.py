"""Reading: every object becomes a tree of known and opaque nodes; nothing is guessed."""

from __future__ import annotations

import functools

import pytest
import torch
from torchvision_shim import v1, v2

from dsbridge import TransformError
from dsbridge.transforms import ops, register
from dsbridge.transforms.tree import read


def labels(transform) -> list[str]:
    return [node.label for root in read(transform) for node in root.walk()]


@pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
def test_containers_in_turn_are_flattened(library) -> None:
    flip, tensor = library.RandomHorizontalFlip(), library.PILToTensor()
    nested = library.Compose([flip, torch.nn.Sequential(library.CenterCrop(4), torch.nn.Sequential(flip)), [tensor]])
    assert labels(nested) == ["RandomHorizontalFlip", "CenterCrop", "RandomHorizontalFlip", "PILToTensor"]


@pytest.mark.parametrize("library", [v1, v2], ids=["v1", "v2"])
def test_random_containers_keep_their_children(library) -> None:
    flip = library.RandomVerticalFlip()
    (apply,) = read(library.RandomApply([flip, flip], p=0.25))
    assert apply.op == ops.RandomApply(p=0.25) and len(apply.children) == 2
    (modules,) = read(library.RandomApply(torch.nn.ModuleList([flip]), p=0.25))
    assert len(modules.children) == 1
    (choice,) = read(library.RandomChoice([flip, library.Compose([flip, flip])], p=[1, 3]))
    assert [type(child.op).__name__ for child in choice.children] == ["RandomVerticalFlip", "Sequence"]
    assert choice.op.p == ((0.25, 0.75) if library is v2 else (1.0, 3.0))
    (order,) = read(library.RandomOrder([flip]))
    assert order.op == ops.RandomOrder()


def test_a_subclass_is_opaque() -> None:
    class Mine(v1.RandomCrop):
        pass

    (node,) = read(Mine(4))
    assert node.op is None and node.reason == "a subclass of RandomCrop, which may do anything"


def test_a_patched_instance_is_opaque() -> None:
    flip = v2.RandomHorizontalFlip()
    flip.transform = lambda image, params: image
    (node,) = read(flip)
    assert node.op is None and node.reason == "its method transform was replaced on the instance"


def double(image):
    return image


class Twice:
    def __call__(self, image):
        return image


def test_a_users_own_code_is_opaque_and_named() -> None:
    names = labels([double, functools.partial(double), Twice(), v1.Lambda(double), Twice().__call__])
    place = f"double @ test_tree.py:{double.__code__.co_firstlineno}"
    assert names[:4] == [place, f"partial({place})", "Twice", f"Lambda({place})"]
    assert names[4].startswith("__call__ @ test_tree.py:")
    assert all(node.op is None for node in read([double, Twice()]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "NoneType is no transform: it cannot be called"),
        ([double, 3], "int is no transform"),
        (v1.RandomCrop, r"RandomCrop is a class. Hint: pass an instance of it, RandomCrop\(...\)"),
    ],
)
def test_what_is_no_transform(wrong, message: str) -> None:
    with pytest.raises(TransformError, match=message):
        read(wrong)


def test_registered_classes_are_known_and_go_first() -> None:
    register(f"{__name__}.Twice", read=lambda original: ops.RandomHorizontalFlip(p=1.0))
    try:
        (node,) = read(Twice())
        assert node.op == ops.RandomHorizontalFlip(p=1.0)
    finally:
        from dsbridge.transforms import catalog

        catalog._registered.clear()


def test_without_torchvision(run_python) -> None:
    """Users' own callables and our own operations need neither torchvision nor torch."""
    done = run_python(
        """
        import sys
        sys.modules["torchvision"] = None
        import numpy as np
        from dsbridge.transforms import ops, translate
        t = translate([ops.RandomHorizontalFlip(p=1.0), lambda image: image.rotate(90), ops.RandomVerticalFlip(p=0.0)])
        print(t(np.zeros((4, 6, 3), np.uint8), key=0).shape, "torch" in sys.modules)
        """
    )
    assert done.stdout == "(4, 6, 3) False\n", done.stderr
