"""Which versions are supported and which are tested: one table, for the doctor and for docs/compat.md."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from dsbridge.environment.diagnosis import Fact
from dsbridge.report import Finding

PYTHON = ((3, 10), (3, 13))  # from, and below
MACHINES = ("x86_64", "aarch64")  # what torch and mindspore have Linux wheels for


@dataclass(frozen=True, slots=True)
class Package:
    """A package, the least version that works, and the versions that both lanes of the tests use.

    >>> print(PACKAGES[0])
    torch 2.4 or later (tested: 2.13.0)
    """

    name: str
    least: str
    np1: str
    np2: str
    install: str = ""
    optional: str = ""  # what it is for

    def __str__(self) -> str:
        tested = self.np1 if self.np1 == self.np2 else f"{self.np1} and {self.np2}"
        return f"{self.name} {self.least} or later (tested: {tested})"

    @property
    def command(self) -> str:
        """The shell line that installs a tested version.

        >>> PACKAGES[1].command
        'pip install mindspore==2.10.0'
        """
        return self.install or f"pip install {self.name}=={self.np1}"


PACKAGES = (
    Package("torch", "2.4", "2.13.0", "2.13.0", "pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"),
    Package("mindspore", "2.7", "2.10.0", "2.10.0"),
    Package("numpy", "1.25", "1.26.4", "2.4.6", "pip install 'numpy<2'"),
    Package("pyarrow", "14", "23.0.1", "26.0.1"),
    Package("ml_dtypes", "0.5", "0.5.4", "0.6.0"),
    Package("torchvision", "0.19", "0.28.0", "0.28.0", optional="its transforms"),
    Package("pillow", "9", "13.0.0", "13.0.0", optional="images"),
)


def release(version: str) -> tuple[int, ...]:
    """The numbers at the front of a version.

    >>> release("2.13.0+cpu"), release("24.04rc1")
    ((2, 13, 0), (24, 4))
    """
    front = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, front.group().split("."))) if front else ()


def installed(name: str) -> str | None:
    """The version of a distribution, which is not imported; None where it is not installed.

    >>> installed("no-such-package") is None
    True
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_versions() -> Iterator[Fact | Finding]:
    """Python, the processor and each package of the table against what is supported.

    >>> [found.name for found in check_versions() if isinstance(found, Fact)][:3]
    ['python', 'machine', 'torch']
    """
    yield from _check_python(sys.version_info[:3], platform.system(), platform.machine())
    for package in PACKAGES:
        yield from check_package(package, installed(package.name))


def check_package(package: Package, version: str | None) -> Iterator[Fact | Finding]:
    """One package: missing, too old, fine, or newer than what is tested.

    >>> [found.code for found in check_package(PACKAGES[0], "2.1.0") if isinstance(found, Finding)]
    ['version-old']
    """
    name = package.name
    yield Fact(name, version or "not installed")
    if version is None:
        if not package.optional:
            yield Finding("package-missing", "error", name, "is not installed; dsbridge needs it", package.command)
    elif release(version) < release(package.least):
        message = f"{version} is older than {package.least}, the least that dsbridge works with"
        yield Finding("version-old", "error", name, message, package.command)
    elif release(version)[:2] > max(release(package.np1)[:2], release(package.np2)[:2]):
        message = f"{version} is newer than what this dsbridge was tested with ({package}); results may differ"
        yield Finding("version-untested", "info", name, message, package.command)


def _check_python(version: tuple[int, ...], system: str, machine: str) -> Iterator[Fact | Finding]:
    yield Fact("python", f"{platform.python_version()} ({sys.executable})")
    yield Fact("machine", f"{system} {machine}")
    if not PYTHON[0] <= version[:2] < PYTHON[1]:
        message = f"{'.'.join(map(str, version))}: there is no mindspore {PACKAGES[1].np1} for it"
        yield Finding("python-version", "error", "python", message, "python3.11 -m venv .venv && . .venv/bin/activate")
    if system != "Linux":
        message = f"{system}: workers need Linux (memfd, pidfd, epoll); num_workers=0 is all that may work"
        yield Finding("not-linux", "error", "machine", message, "use Linux, a container, or WSL 2")
    elif machine not in MACHINES:
        message = f"{machine}: neither torch nor mindspore has a wheel for it, only for {' and '.join(MACHINES)}"
        yield Finding("no-wheel", "error", "machine", message, f"use a machine of {' or '.join(MACHINES)}")


def markdown() -> str:
    """The table as docs/compat.md shows it.

    >>> print(markdown().splitlines()[0])
    | package | least | np1 (default) | np2 |
    """
    lines = ["| package | least | np1 (default) | np2 |", "|---|---|---|---|"]
    lines.append(f"| python | {'.'.join(map(str, PYTHON[0]))}, below {'.'.join(map(str, PYTHON[1]))} | 3.11 | 3.11 |")
    for package in PACKAGES:
        purpose = f" (for {package.optional})" if package.optional else ""
        lines.append(f"| {package.name}{purpose} | {package.least} | {package.np1} | {package.np2} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())  # noqa: T201
