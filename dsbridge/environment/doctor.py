"""``dsbridge.doctor()``: every check in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dsbridge.environment import arrays, imports, limits, matrix, processes
from dsbridge.environment.cgroup import Cgroup
from dsbridge.environment.diagnosis import Diagnosis, Fact, Setting
from dsbridge.report import Finding

Check = Callable[[], Iterator[Fact | Finding | Setting]]


@dataclass(frozen=True, slots=True)
class Named:
    """A check and what progress calls it."""

    name: str
    check: Check


def checks(workers: int) -> tuple[Named, ...]:
    """All checks, the ones that need no child process first.

    >>> [named.name for named in checks(2)][:2]
    ['versions', 'torch replacements']
    """
    cgroup = Cgroup.here()
    return (
        Named("versions", matrix.check_versions),
        Named("torch replacements", imports.check_proxies),
        Named("processors", lambda: limits.check_processors(cgroup)),
        Named("memory", lambda: limits.check_memory(cgroup)),
        Named("processes and threads", lambda: limits.check_threads(workers, cgroup)),
        Named("open files", limits.check_files),
        Named("shared memory", limits.check_shared_memory),
        Named("start method", processes.check_start_method),
        Named("orphaned workers", processes.check_orphans),
        Named("protobuf", imports.check_protobuf),
        Named("pyarrow", arrays.check_pyarrow),
        Named("imports", imports.check_imports),
        Named("torchvision", imports.check_torchvision),
        Named("numpy", arrays.check_mindspore_with_numpy),
        Named("round trip", lambda: processes.check_round_trip(workers)),
    )


def doctor(workers: int = 2, progress: Callable[[str, int, int], None] = lambda name, done, total: None) -> Diagnosis:
    """Examine this machine and its packages; takes about half a minute, and changes nothing.

    torch and mindspore are imported by child processes only. ``workers``: how many a training is to have, for the limits and
    the round trip. ``progress`` is called with (what is looked at, checks done, checks in all) before each.

    A check that fails in itself is a finding, "check-failed". Raises nothing but KeyboardInterrupt.

    >>> from dsbridge.environment.limits import check_files
    >>> examine([Named("open files", check_files)]).facts[0].name
    'open files'
    """
    return examine(checks(workers), progress)


def examine(
    checks: tuple[Named, ...] | list[Named], progress: Callable[[str, int, int], None] = lambda name, done, total: None
) -> Diagnosis:
    """Run checks one after the other into one diagnosis."""
    diagnosis = Diagnosis()
    for number, named in enumerate(checks):
        progress(named.name, number, len(checks))
        try:
            for found in named.check():
                if isinstance(found, Fact):
                    diagnosis.facts.append(found)
                elif isinstance(found, Setting):
                    diagnosis.settings.append(found)
                else:
                    diagnosis.extend([found])
        except Exception as exc:
            message = f"the check itself failed: {type(exc).__name__}: {exc}"
            diagnosis.add("check-failed", "error", named.name, message, "report it with the output of dsbridge doctor --json")
    return diagnosis
