"""docs/reference/transforms.md holds every class and what is measured; what is known to be wrong is never chosen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torchvision_shim import v1, v2

from dsbridge import TransformError
from dsbridge.transforms import translate

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
sys.path.insert(0, str(REFERENCE))
import make_transforms  # noqa: E402
from native_twins import TWINS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The transform `ToTensor")
TABLE = {
    line.split("|")[1].split()[0]: line.split("|")
    for line in (REFERENCE / "transforms.md").read_text().splitlines()[13:]
    if line
}


def test_every_class_has_a_row() -> None:
    """Each public transform of torchvision; Compose and the base class are no transforms of their own."""
    names = {name for library in (v1, v2) for name in vars(library) if isinstance(vars(library)[name], type)}
    classes = {
        name
        for name in names
        if hasattr(getattr(v2, name, getattr(v1, name, None)), "forward") or name in make_transforms.CASES
    }
    missing = classes - set(TABLE) - {"Compose", "Transform"}
    assert not missing and set(TWINS) <= set(TABLE)


@pytest.mark.parametrize("name", ["RandomCrop", "ToTensor", "Resize", "RandomInvert", "GaussianBlur", "RandAugment"])
def test_rows_say_what_is_measured_now(name: str) -> None:
    """On a few images, for each kind."""
    for at, kind in enumerate(make_transforms.KINDS, start=2):
        for library in (v1, v2):
            backend, exactness, measured, _ = make_transforms.row(name, library, kind, images=4)
            said = f"{backend}, {exactness}, {measured}" if backend != "-" else "-"
            assert said in TABLE[name][at], (kind, said)


MINDSPORES_OWN = {"Normalize", "PILToTensor", "RandomResizedCrop", "Resize", "ToDtype", "ToImage", "ToTensor"}


@pytest.mark.parametrize("policy", ["exact", "near", "native"])
@pytest.mark.parametrize("name", sorted(set(make_transforms.CASES) - set(make_transforms.NOT_ON_IMAGES)))
def test_mindspores_operations_are_used_only_where_they_are_proven(name: str, policy: str) -> None:
    """Under no policy does one of the others run: biased samplers, other kernels, name traps."""
    for library in (v1, v2):
        if hasattr(library, name):
            for kind in make_transforms.KINDS:
                backends = {row.backend for row in translate(make_transforms.CASES[name](library), policy, kind).report.rows}
                assert "native" not in backends or name in MINDSPORES_OWN
                assert not (policy != "native" and "native" in backends and name in ("Resize", "RandomResizedCrop"))


def test_what_the_original_refuses_is_refused() -> None:
    """Five channels where it wants one or three."""
    five = torch.zeros(5, 4, 4, dtype=torch.uint8)
    for transform in (v2.Grayscale(), v2.ColorJitter(0.4, saturation=0.4), v2.RandomPhotometricDistort(p=1.0)):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            transform(five)
        with pytest.raises(TransformError, match="operation 1"):
            translate(transform, input="uint8")(five.numpy().transpose(1, 2, 0))
