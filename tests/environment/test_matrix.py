"""The table of versions: what it finds, and that everything that states versions states these."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from dsbridge.environment import matrix
from dsbridge.environment.matrix import PACKAGES, Package, check_package, release
from dsbridge.report import Finding

ROOT = Path(__file__).parent.parent.parent
TORCH = PACKAGES[0]


def codes(*found: object) -> list[str]:
    return [one.code for one in found if isinstance(one, Finding)]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, ["package-missing"]),
        ("2.3.1", ["version-old"]),
        ("2.4", []),
        ("2.13.1+cpu", []),
        ("2.14.0", ["version-untested"]),
    ],
)
def test_a_version(version: str | None, expected: list[str]) -> None:
    """Missing, too old, the least, a patch of what is tested, newer."""
    assert codes(*check_package(TORCH, version)) == expected
    assert codes(*check_package(Package("extra", "1", "1.0", "1.0", optional="tests"), None)) == []


@pytest.mark.parametrize(
    ("python", "system", "machine", "expected"),
    [
        ((3, 11, 2), "Linux", "x86_64", []),
        ((3, 12, 0), "Linux", "aarch64", []),
        ((3, 13, 0), "Linux", "x86_64", ["python-version"]),
        ((3, 9, 0), "Linux", "riscv64", ["python-version", "no-wheel"]),
        ((3, 11, 0), "Darwin", "arm64", ["not-linux"]),
    ],
)
def test_python_and_processor(python: tuple[int, ...], system: str, machine: str, expected: list[str]) -> None:
    """x86-64 and aarch64 are both fine."""
    assert codes(*matrix._check_python(python, system, machine)) == expected


def test_the_table_is_what_the_lanes_and_the_package_say() -> None:
    """constraints/, setup.cfg and docs/compat.md say the same as the doctor."""
    for lane in ("np1", "np2"):
        lines = (ROOT / "constraints" / f"{lane}.txt").read_text().splitlines()
        pinned = dict(line.split("==") for line in lines if "==" in line)
        assert {p.name: pinned[p.name] for p in PACKAGES} == {p.name: getattr(p, lane) for p in PACKAGES}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    least = dict(line.split(">=") for line in config["options"]["install_requires"].splitlines() if ">=" in line)
    assert all(release(least[p.name]) == release(p.least) for p in PACKAGES if not p.optional)
    (low, high) = (".".join(map(str, version)) for version in matrix.PYTHON)
    assert config["options"]["python_requires"] == f">={low},<{high}"
    assert matrix.markdown() in (ROOT / "docs" / "compat.md").read_text()
