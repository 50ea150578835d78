"""docs/reference/models.md is what the probes gave, for every entry there is; ``make support-matrix`` writes it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from dsbridge.model.functions import registry as functions
from dsbridge.model.layers import registry as layers

ROOT = Path(__file__).parent.parent.parent
spec = importlib.util.spec_from_file_location("support_matrix", ROOT / "docs" / "support_matrix.py")
assert spec is not None and spec.loader is not None
matrix = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)
STORED = json.loads(matrix.STORE.read_text())


def test_the_page_is_what_was_measured() -> None:
    """Nobody wrote into it by hand."""
    assert matrix.PAGE.read_text() == matrix.page(STORED)


def test_every_entry_is_on_it_and_proven() -> None:
    """A new entry needs a new run."""
    layers.load_all()
    functions.load_all()
    # other tests register entries of their own
    entries = {c.__name__ for c, entry in layers.LAYERS.items() if entry.__module__.startswith("dsbridge.")}
    assert set(STORED["layers"]) == entries | {cls.__name__ for cls in matrix.opened_classes()}
    ours = {name for name, entry in functions.FUNCTIONS.items() if entry.__module__.startswith("dsbridge.model.functions")}
    assert {name for row in STORED["functions"] for name in row.split(", ")} == ours
    for name, row in {**STORED["layers"], **STORED["functions"]}.items():
        assert not row["failed"], name
        assert row["proven"] or row["refused"], name


def test_the_models_of_the_tests_are_verified() -> None:
    """All of them, one at its size only; of the further ones none ends in an error that nobody wrote."""
    known = {**matrix.small_models.OWN, **matrix.small_models.TORCHVISION, **matrix.small_models.ZOOS}
    assert set(STORED["models"]) == set(known)
    # torchvision's swin shifts windows or not by the size of the image: it is converted for the example's
    assert {name: row["status"] for name, row in STORED["models"].items() if row["status"] != "verified"} == {
        "swin": "verified in part"
    }
    assert {row["status"] for row in STORED["further"].values()} <= {"verified", "verified in part", "unsupported", "NOT EQUAL"}
