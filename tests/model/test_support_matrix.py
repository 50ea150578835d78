"""docs/reference/models.md is what the probes gave, for every entry there is; ``make support-matrix`` writes it."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest

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


def test_nothing_on_it_is_unexpected() -> None:
    """What ``--check`` asks: models of the tests are verified, one at its size only; no further one is wrong in silence."""
    assert list(matrix.unexpected(STORED, ["layers", "functions", "models"])) == []
    assert {row["status"] for row in STORED["further"].values()} <= {"verified", "verified in part", "unsupported"}


@pytest.mark.parametrize(
    ("part", "name", "change", "told"),
    [
        ("models", "resnet18", {"status": "NOT EQUAL"}, "models, resnet18: NOT EQUAL"),
        ("models", "resnet18", {"status": "verified in part"}, "models, resnet18: verified in part"),
        ("models", "bert", {"status": "unsupported", "why": "no rule"}, "models, bert: unsupported: no rule"),
        ("models", "swin", {"status": "NOT EQUAL"}, "models, swin: NOT EQUAL"),
        (
            "models",
            "swin",
            {"findings": ["warning one-size [x]: y", "warning left-out [x]: y"]},
            "models, swin: verified in part",
        ),
        ("models", "swin", None, "models, swin: not run"),
        ("further", "torchvision alexnet", {"status": "NOT EQUAL"}, "further, torchvision alexnet: NOT EQUAL"),
        ("further", "torchvision alexnet", {"status": "FAILS", "why": "killed"}, "further, torchvision alexnet: FAILS: killed"),
        ("layers", "Linear", {"failed": ["a case"]}, "layers, Linear: a case fails"),
    ],
)
def test_what_is_unexpected_is_told(part: str, name: str, change: dict[str, Any] | None, told: str) -> None:
    """One line, with the name and the reason."""
    rows = {key: row for key, row in STORED[part].items() if key != name}
    if change is not None:
        rows[name] = {**(STORED[part].get(name) or {"status": "verified", "findings": []}), **change}
    known = list(matrix.unexpected({**STORED, part: STORED[part]}, [part]))
    (line,) = (one for one in matrix.unexpected({**STORED, part: rows}, [part]) if one not in known)
    assert line.startswith(told)


def _main(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str, **rows: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Run it on copies of the files, with models that come in another order than the table's."""
    store = tmp_path / "models.json"
    store.write_text(json.dumps(STORED))
    names = iter(range(len(matrix.MODELS)))

    def proven(name: str) -> dict[str, Any]:
        time.sleep(0.02 if next(names) % 2 else 0.0)
        return {"status": "verified", "findings": [], "lines": 1, "seconds": 1, **rows.get(name, {})}

    monkeypatch.setattr(matrix, "_in_a_process", proven)
    monkeypatch.setattr(matrix, "STORE", store)
    monkeypatch.setattr(matrix, "PAGE", tmp_path / "models.md")
    monkeypatch.setattr("sys.argv", ["support_matrix.py", "--only", "models", *arguments])
    return matrix.main(), json.loads(store.read_text())


def test_models_come_in_any_order_and_stand_in_the_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several at a time; the other parts stay what they were."""
    code, stored = _main(monkeypatch, tmp_path, "--jobs", "3", "--check")
    assert code == 0
    assert list(stored["models"]) == list(matrix.MODELS)
    assert {row["lines"] for row in stored["models"].values()} == {1}
    assert stored["layers"] == STORED["layers"]
    assert (tmp_path / "models.md").read_text() == matrix.page(stored)


def test_a_model_that_is_not_equal_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and in the page; without ``--check`` it is only in the page."""
    wrong = {"status": "NOT EQUAL", "findings": ["error outputs-differ"]}
    code, stored = _main(monkeypatch, tmp_path, "--check", "--model", "tiny", tiny=wrong)
    assert code == 1
    assert "not as it should be: models, tiny: NOT EQUAL: error outputs-differ" in capsys.readouterr().err
    assert stored["models"]["tied"] == STORED["models"]["tied"]
    assert _main(monkeypatch, tmp_path, "--model", "tiny", tiny=wrong)[0] == 0


def test_a_process_that_dies_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed for its memory, say: the other models go on."""
    script = tmp_path / "dies.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setattr(matrix, "__file__", str(script))
    assert matrix._in_a_process("tiny") == {"status": "FAILS", "why": "the process ended with exit code -9"}
