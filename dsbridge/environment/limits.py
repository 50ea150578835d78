"""What the machine allows: processes, threads, files, memory, processors."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from dsbridge.environment.cgroup import Cgroup
from dsbridge.environment.diagnosis import Fact, Setting
from dsbridge.report import Finding

# A process with torch and mindspore that trains has a hundred threads or so; a worker of dsbridge's has a handful.
# tests/environment/test_limits.py holds these against a loader at work.
TRAINER_THREADS = 160
WORKER_THREADS = 8
FEW_FILES = 256
FEW_MEMORY_BYTES = 2 << 30
SMALL_SHM_BYTES = 256 << 20

Found = Iterator[Fact | Finding | Setting]


def check_threads(workers: int, cgroup: Cgroup) -> Found:
    """Whether the processes and threads of a training with so many workers may be started."""
    needed = TRAINER_THREADS + workers * WORKER_THREADS
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    used = _threads_of(os.getuid())
    yield Fact("processes and threads", f"{used} of {_count(soft)} used by this user")
    if soft != resource.RLIM_INFINITY and soft - used < needed:
        exempt = " (root is exempt; what it starts as another user is not)" if os.getuid() == 0 else ""
        message = (
            f"{used} of {soft} are in use, and training with {workers} workers takes about {needed} more: threads fail "
            f"with std::system_error: Resource temporarily unavailable{exempt}"
        )
        wanted = used + 2 * needed
        line = f"ulimit -u {wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)}"
        enough = hard == resource.RLIM_INFINITY or hard - used >= needed
        if enough:
            yield Setting("few-threads", line)
        else:
            line = f"raise nproc in /etc/security/limits.conf (the hard limit is {hard})"
        yield Finding("few-threads", "error" if not exempt else "warning", "ulimit -u", message, line)
    pids = cgroup.processes()
    if pids is not None:
        yield Fact("container's processes", f"{pids.used} of {pids.most}")
        if pids.left < needed:
            message = f"{pids.used} of {pids.most} are in use, and training with {workers} workers takes about {needed} more"
            yield Finding("few-pids", "error", "pids.max", message, f"docker run --pids-limit {pids.used + 2 * needed} ...")


def check_files() -> Found:
    """Open files: dsbridge needs a few for each worker, torch's loader one for each tensor that is kept."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Fact("open files", _count(soft))
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
        message = (
            f"at most {soft}: two loaders with a few workers, or torch's with kept batches, run out ('Too many open files')"
        )
        if wanted > soft:
            yield Setting("few-files", f"ulimit -n {wanted}")
            yield Finding("few-files", "warning", "ulimit -n", message, f"ulimit -n {wanted}")
        else:
            line = f"raise nofile in /etc/security/limits.conf (the hard limit is {hard})"
            yield Finding("few-files", "warning", "ulimit -n", message, line)


def check_shared_memory(shm: Path = Path("/dev/shm")) -> Found:
    """memfd, which dsbridge's workers use, and /dev/shm, which torch's and MindSpore's own do."""
    try:
        os.close(os.memfd_create("dsbridge-doctor", os.MFD_CLOEXEC))
        yield Fact("memfd", "available")
    except (AttributeError, OSError) as exc:
        yield Fact("memfd", f"not available: {exc}")
        message = f"{exc}: workers share an unlinked file in {os.environ.get('TMPDIR', '/tmp')} instead, slow if that is a disk"
        yield Finding("no-memfd", "warning", "memfd_create", message, "export TMPDIR=/dev/shm")
        yield Setting("no-memfd", "export TMPDIR=/dev/shm")
    try:
        total = shutil.disk_usage(shm).total
    except OSError as exc:
        yield Fact(str(shm), f"not there: {exc.strerror}")
        return
    yield Fact(str(shm), f"{total / 2**20:,.0f} MiB")
    if total < SMALL_SHM_BYTES:
        message = (
            f"{total / 2**20:,.0f} MiB: dsbridge does not use it, but torch's own DataLoader dies there with a bus error, "
            "and MindSpore's python_multiprocessing hangs"
        )
        yield Finding("small-shm", "warning", str(shm), message, "docker run --shm-size=8g ... (or --ipc=host)")


def check_memory(cgroup: Cgroup, meminfo: Path = Path("/proc/meminfo")) -> Found:
    """Memory that is free for this process: of the machine, or of its container where that is less."""
    words = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    total, free = (int(words[key].split()[0]) << 10 for key in ("MemTotal", "MemAvailable"))
    where = "machine"
    own = cgroup.memory()
    if own is not None and own.most < total:
        free, total, where = min(free, own.left), own.most, "container"
    yield Fact("memory", f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free ({where})")
    if free < FEW_MEMORY_BYTES:
        message = (
            f"{free / 2**30:.1f} GiB are free: torch and mindspore alone take one, and the kernel kills whoever takes the last"
        )
        command = (
            "docker run --memory 8g ..." if where == "container" else "free some, or DataLoader(num_workers=1, max_memory=...)"
        )
        yield Finding("little-memory", "warning", where, message, command)


def check_processors(cgroup: Cgroup) -> Found:
    """Processors that this process may use, against those that libraries count."""
    counted, allowed = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    quota = cgroup.processors()
    usable = allowed if quota is None else min(allowed, max(1, round(quota)))
    yield Fact("processors", f"{usable} of {counted}" + (f" (quota {quota:g})" if quota is not None else ""))
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if usable < counted and not (threads.isdigit() and int(threads) <= usable):
        message = (
            f"{counted} are counted but {usable} may be used: torch and mindspore start a thread for each counted one, "
            "which then wait for each other"
        )
        yield Setting("cpu-quota", f"export OMP_NUM_THREADS={usable}")
        yield Finding(
            "cpu-quota", "warning", "cpu.max" if quota is not None else "affinity", message, f"export OMP_NUM_THREADS={usable}"
        )


def _threads_of(uid: int) -> int:
    threads = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:  # it has ended
            continue
        if int(fields["Uid"].split()[0]) == uid:
            threads += int(fields.get("Threads", "1"))
    return threads


def _count(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"
