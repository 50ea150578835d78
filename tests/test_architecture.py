"""Which folder may import which framework, at module level or inside functions."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dsbridge"
PIL_OPS = ("blur", "colour_jitter", "convert", "pad", "pil_colour", "resize", "values")
MODEL = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "model").rglob("*.py")} - {
    "model/child/run_cell.py",
    "model/runtime/losses.py",
    "model/runtime/operations.py",
    "model/runtime/cells.py",
    "model/runtime/recurrent.py",
}
MIGRATE = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "migrate").rglob("*.py")}
RUNTIME = {path for path in MIGRATE if path.startswith("migrate/runtime/")} | {"migrate/child/run_training.py"}
ALLOWED = {
    # reached through frameworks.detect.require_torch, so that a proxy is refused; what is measured are torch's own Datasets
    # a model's modules are torch's own, and dsbridge.model is imported with a live one only
    "torch": {"bench/datasets.py", *MODEL, *(MIGRATE - RUNTIME)},
    # helpers that emitted files carry, and what runs emitted files
    "mindspore": {
        "pipeline/dataset.py",
        "model/runtime/losses.py",
        "model/runtime/operations.py",
        "model/runtime/cells.py",
        "model/runtime/recurrent.py",
        "model/child/run_cell.py",
        "model/divergence.py",
        "model/mint.py",
        "model/glance.py",
        *RUNTIME,
    },
    "pyarrow": {"sources/arrow.py", "sources/arrow_headers.py"},
    "PIL": {"bench/datasets.py", *(f"transforms/ops/{name}.py" for name in PIL_OPS)},
    "torchvision": set(),  # its transforms are known by their classes' names
    "torchaudio": set(),
    "albumentations": set(),
    "timm": set(),
    "datasets": set(),
    "rich": {"styles.py", "cli/output.py"},
    "matplotlib": set(),  # by name, in bench/plot.py, with a word on how to install it
    "grain": set(),
    "spdl": set(),
}


def imported(path: Path) -> set[str]:
    """The top-level packages a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_frameworks_are_imported_where_they_may_be() -> None:
    """Heavy and optional packages are imported by the modules named here and no others."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        for package in imported(path) & set(ALLOWED):
            assert where in ALLOWED[package], f"{where} imports {package}"


def test_modules_stay_small() -> None:
    """No module over 400 lines; the median under 150."""
    sizes = sorted(len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py"))
    assert sizes[-1] <= 400
    assert sizes[len(sizes) // 2] < 150
