"""What a container may use: control groups, version 2 and 1, the tightest limit from this process's group up to the root.

The files and their meaning: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used of a limit, and the limit."""

    used: int
    most: int

    @property
    def left(self) -> int:
        """How much may still be taken.

        >>> Usage(3, 10).left
        7
        """
        return max(0, self.most - self.used)


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The control groups of this process; limits that are not there, or say "max", are None.

    >>> Cgroup(Path("/nowhere"), "").memory() is None
    True
    """

    root: Path = ROOT
    membership: str = ""  # the text of /proc/self/cgroup

    @classmethod
    def here(cls) -> Cgroup:
        """Those of this process."""
        try:
            return cls(membership=Path("/proc/self/cgroup").read_text())
        except OSError:
            return cls()

    def processes(self) -> Usage | None:
        """Processes and threads."""
        limits = [_usage(folder / "pids.current", folder / "pids.max") for folder in self._folders("pids")]
        return _tightest(limits)

    def memory(self) -> Usage | None:
        """Bytes; pages of files that nobody uses do not count as used."""
        limits = []
        for folder in self._folders("memory"):
            found = _usage(folder / "memory.current", folder / "memory.max") or _usage(
                folder / "memory.usage_in_bytes", folder / "memory.limit_in_bytes"
            )
            if found is not None:
                limits.append(Usage(max(0, found.used - _droppable(folder / "memory.stat")), found.most))
        return _tightest(limits)

    def processors(self) -> float | None:
        """How many processors' time may be used."""
        quotas = [_quota(folder) for folder in self._folders("cpu")]
        return min((quota for quota in quotas if quota is not None), default=None)

    def _folders(self, controller: str) -> Iterator[Path]:
        """This process's group of a controller, then each above it; a container often sees its own as the root."""
        for line in self.membership.splitlines():
            number, controllers, name = line.split(":", 2)
            if number == "0":
                base = self.root
            elif controller in controllers.split(","):
                base = self.root / controllers
                base = base if base.is_dir() else self.root / controller
            else:
                continue
            folder = base / name.lstrip("/")
            yield from [one for one in (folder, *folder.parents) if one.is_relative_to(base) and one.is_dir()]


def _tightest(limits: list[Usage | None] | list[Usage]) -> Usage | None:
    return min((limit for limit in limits if limit is not None), key=lambda limit: limit.left, default=None)


def _usage(used: Path, most: Path) -> Usage | None:
    limit = _number(most)
    return None if limit is None else Usage(_number(used) or 0, limit)


def _number(path: Path) -> int | None:
    """The number in a file; None for "max" and for what is not there."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _droppable(path: Path) -> int:
    """Pages of files that the kernel drops when memory gets short."""
    try:
        words = dict(line.split() for line in path.read_text().splitlines())
    except OSError:
        return 0
    return int(words.get("total_inactive_file", words.get("inactive_file", 0)))


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most, period = (folder / "cpu.cfs_quota_us").read_text(), (folder / "cpu.cfs_period_us").read_text()
    except OSError:
        return None
    return None if most.strip() in ("max", "-1") else int(most) / int(period)
