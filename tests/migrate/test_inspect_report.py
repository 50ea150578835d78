"""The report as text, data and SARIF; exit codes; what importing it costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsbridge.errors import UsageError, VerificationError
from dsbridge.migrate.inspect import InspectReport, Row, inspect
from dsbridge.migrate.inspect.command import run
from dsbridge.migrate.inspect.rules.registry import rules
from dsbridge.styles import styled

ROOT = Path(__file__).parents[2]
CODE = """import torch
torch.manual_seed(0)
torch.jit.script(model)
torch.save(model.state_dict(), "a.pth")
torch.cuda.Stream()  # dsbridge: ignore[MIG755]
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Two files, one of them with all severities."""
    folder = tmp_path / "a repo"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "train me.py").write_text(CODE)
    (folder / "fine.py").write_text("import torch\n")
    return folder


def test_the_text_is_by_file_with_totals_at_the_end(repo: Path) -> None:
    """What is fine is counted, and listed on demand."""
    report = inspect(repo)
    lines = report.text().splitlines()
    assert lines[:3] == ["fine.py", "  1 place is fine", "pkg/train me.py"]
    assert re.match(r"  2:1: attention MIG618 torch\.manual_seed seeds torch: .* -> .* \(docs/guide/loaders\.md\)$", lines[3])
    assert lines[4].startswith("  3:1: unsupported MIG902 torch.jit.script makes a ScriptModule")
    assert lines[5] == "  3 places are fine"
    assert [line.split() for line in lines[8:13]] == [
        ["fine", "attention", "unsupported"],
        ["imports", "2", "0", "0"],
        ["training", "loop", "0", "1", "0"],
        ["checkpoints", "2", "0", "0"],
        ["compilation", "0", "0", "1"],
    ]
    assert lines[13].split() == ["all", "4", "1", "1"]
    assert lines[-1] == "(read, not run: no row says that anything was converted)"
    assert "4:1: fine MIG801" in report.text(everything=True)


def test_names_of_files_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Control characters are shown, not sent."""
    (tmp_path / "a\x1b[31m.py").write_text("import torch\n")
    assert "\x1b" not in str(inspect(tmp_path))


def test_severities_are_coloured_on_terminals(repo: Path) -> None:
    """In front of them stand line and column, of notebooks the cell too."""
    text = styled(f"{inspect(repo)}\n  cell 3:1:2: fine MIG101 torch")
    found = {(str(span.style), text.plain[span.start : span.end]) for span in text.spans}
    assert {("yellow", "attention"), ("bold red", "unsupported"), ("green", "fine"), ("bold", "MIG902")} <= found


def test_the_report_is_like_the_others(repo: Path) -> None:
    """ok, findings, raise_if, notebooks; unsupported is an error, attention a warning."""
    report = inspect(repo)
    assert (report.ok, report.clean) == (False, False)
    assert [finding.severity for finding in report.findings] == ["info", "info", "warning", "error", "info", "info"]
    with pytest.raises(VerificationError, match="MIG902"):
        report.raise_if_failed()
    assert report._repr_html_().startswith("<pre")
    assert repr(report).endswith("2 files, 6 rows, clean=False)")
    fine = inspect(repo / "fine.py")
    assert (fine.ok, fine.clean) == (True, True)
    fine.raise_if("info")


def test_the_data_is_all_of_it(repo: Path) -> None:
    """Rows, totals, what was silenced and skipped; plain."""
    report = inspect(repo)
    data = json.loads(json.dumps(report.to_dict()))
    assert len(data["rows"]) == 6
    assert data["rows"][3] == {
        "path": "pkg/train me.py", "line": 3, "column": 1, "end": [3, 17], "severity": "unsupported", "rule": "MIG902",
        "family": "compilation", "message": report.rows[3].message, "replacement": "convert the module it was made of",
        "link": "docs/guide/models.md", "cell": 0,
    }  # fmt: skip
    assert data["totals"]["compilation"] == {"fine": 0, "attention": 0, "unsupported": 1}
    assert [row["rule"] for row in data["silenced"]] == ["MIG755"]
    assert (data["files"], data["skipped"], data["ok"], data["clean"]) == (2, [], False, False)


# what sarif-schema-2.1.0.json requires of the objects that are used, and the types of their properties
REQUIRED: dict[str, dict[str, type]] = {
    "log": {"version": str, "runs": list},
    "run": {"tool": dict},
    "tool": {"driver": dict},
    "driver": {"name": str},
    "rule": {"id": str},
    "result": {"message": dict},
    "suppression": {"kind": str},
}
LEVELS = ("none", "note", "warning", "error")


def conforms(kind: str, value: dict[str, Any]) -> None:
    """Raise unless the object has what the schema requires."""
    for name, expected in REQUIRED[kind].items():
        assert isinstance(value.get(name), expected), (kind, name, value)


def test_sarif_has_what_its_schema_requires(repo: Path) -> None:
    """Version 2.1.0: objects, levels, indices, regions, paths as URIs below a base."""
    (repo / "nb.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": "import torch\ntorch.jit.trace(m)"}]}))
    report = inspect(repo)
    log = json.loads(json.dumps(report.to_sarif()))
    conforms("log", log)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run_,) = log["runs"]
    conforms("run", run_)
    conforms("tool", run_["tool"])
    driver = run_["tool"]["driver"]
    conforms("driver", driver)
    for rule in driver["rules"]:
        conforms("rule", rule)
        assert rule["shortDescription"]["text"] and rule["help"]["text"] and rule["defaultConfiguration"]["level"] in LEVELS
    assert [rule["id"] for rule in driver["rules"]] == [rule.id for rule in rules()]
    base = run_["originalUriBaseIds"]["ROOT"]["uri"]
    assert base.startswith("file:///") and base.endswith("/a%20repo/")
    assert run_["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    for result in run_["results"]:
        conforms("result", result)
        assert result["message"]["text"] and result["level"] in LEVELS
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        artifact = location["physicalLocation"]["artifactLocation"]
        assert artifact["uriBaseId"] == "ROOT" and " " not in artifact["uri"] and not artifact["uri"].startswith("/")
        region = location["physicalLocation"].get("region")
        if region is None:
            assert location["logicalLocations"][0]["name"] == "cell 1"
        else:
            assert all(isinstance(number, int) and number >= 1 for number in region.values())
            assert (region["startLine"], region["startColumn"]) <= (region["endLine"], region["endColumn"])
        for suppression in result.get("suppressions", []):
            conforms("suppression", suppression)
            assert suppression["kind"] in ("inSource", "external")
    assert [(one["ruleId"], one["level"], "suppressions" in one) for one in run_["results"]] == [
        ("MIG902", "error", False),
        ("MIG618", "warning", False),
        ("MIG902", "error", False),
        ("MIG755", "error", True),
    ]


def test_exit_codes(repo: Path, tmp_path: Path) -> None:
    """0 where nothing needs attention, 1 where something does; 2 is what cli makes of a UsageError."""
    said: list[str] = []
    assert run(str(repo / "fine.py"), say=said.append) == 0
    assert run(str(repo), say=said.append) == 1
    assert run(str(repo), as_json=True, sarif=str(tmp_path / "out.sarif"), say=said.append) == 1
    assert json.loads(said[-1])["files"] == 2
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"
    assert run(str(repo / "fine.py"), everything=True, say=said.append) == 0
    assert "MIG101" in said[-1] and "MIG101" not in said[0]
    with pytest.raises(UsageError, match="is not there"):
        run(str(repo / "no"), say=said.append)
    with pytest.raises(UsageError, match="its folder does not exist"):
        run(str(repo), sarif=str(repo / "no" / "out.sarif"), say=said.append)
    with pytest.raises(UsageError, match="Is a directory"):
        run(str(repo), sarif=str(repo), say=said.append)
    assert len(said) == 4


def test_the_command_writes_to_stdout(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless it is told otherwise."""
    assert run(str(repo / "fine.py")) == 0
    out, err = capsys.readouterr()
    assert "fine.py: 1 file, 1 place\n" in out and not err


def test_importing_it_is_light(repo: Path) -> None:
    """No torch, no mindspore, no numpy; and none either for files that mention nothing of torch's."""
    code = (
        "import sys\nfrom dsbridge.migrate.inspect import inspect\ninspect(sys.argv[1])\n"
        "print([name for name in ('torch', 'mindspore', 'numpy') if name in sys.modules])"
    )
    (repo / "plain.py").write_text("import json\n")
    command = [sys.executable, "-c", code, str(repo / "plain.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_the_tables_are_asked_for_once_and_without_mindspore(repo: Path) -> None:
    """A file of torch's needs torch, for its names."""
    code = (
        "import sys\nfrom dsbridge.migrate.inspect import inspect\nfrom dsbridge.migrate.inspect.tables import tables\n"
        "inspect(sys.argv[1]); print(tables.cache_info().misses, 'torch' in sys.modules, 'mindspore' in sys.modules)"
    )
    (repo / "model.py").write_text("import torch\ntorch.relu(x)\ntorch.nn.Linear(3, 2)\n")
    done = subprocess.run(
        [sys.executable, "-c", code, str(repo)], capture_output=True, text=True, timeout=100, cwd=ROOT, check=True
    )
    assert done.stdout == "1 True False\n"


def test_reports_are_values() -> None:
    """Frozen, slotted, equal where their rows are."""
    row = Row("a.py", 1, 1, (1, 2), "fine", "MIG101", "imports", "is", "", "docs/guide/migrating.md")
    a, b = InspectReport("a.py", (row,), 1), InspectReport("a.py", (row,), 1)
    assert a == b and not hasattr(a, "__dict__") and not hasattr(row, "__dict__")
    with pytest.raises(AttributeError):
        a.files = 2  # type: ignore[misc]
