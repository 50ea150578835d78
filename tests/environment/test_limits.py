"""Limits of the machine, faked in children by ulimit and in folders that look like control groups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dsbridge.environment import limits
from dsbridge.environment.cgroup import Cgroup, Usage
from dsbridge.environment.diagnosis import Diagnosis, Setting
from dsbridge.environment.doctor import Named, examine

V2 = "0::/job\n"
V1 = "8:pids:/job\n4:memory:/job\n2:cpu,cpuacct:/job\n"


def under(limit: str, check: str) -> str:
    """What a check finds in a process with that ulimit, as text."""
    code = (
        "from dsbridge.environment import limits\nfrom dsbridge.environment.cgroup import Cgroup\n"
        "from dsbridge.environment.doctor import Named, examine\n"
        f"found = examine([Named('it', lambda: {check})])\nprint(found); print(found.fix_env())"
    )
    command = ["bash", "-c", f'{limit}; exec "$0" -c "$1"', sys.executable, code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def found(check: object) -> Diagnosis:
    """What a check finds here."""
    return examine([Named("it", lambda: check)])  # type: ignore[arg-type,return-value]


def group(folder: Path, files: dict[str, str], membership: str = V2) -> Cgroup:
    """A control group with these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Cgroup(folder, membership)


def test_few_open_files() -> None:
    """The line that mends it fits the hard limit."""
    out = under("ulimit -Sn 64", "limits.check_files()")
    assert "warning few-files [ulimit -n]: at most 64" in out and "ulimit -n 4096    # few-files" in out
    out = under("ulimit -n 64", "limits.check_files()")
    assert "limits.conf (the hard limit is 64)" in out and "no environment setting" in out


def test_few_threads() -> None:
    """What a training takes is more than what is left."""
    out = under("ulimit -Su 50", "limits.check_threads(2, Cgroup())")
    assert "few-threads [ulimit -u]" in out and "Resource temporarily unavailable" in out and "ulimit -u " in out
    assert "few-threads" not in under("true", "limits.check_threads(2, Cgroup())")


@pytest.mark.parametrize(("name", "membership"), [("job/", V2), ("pids/job/", V1)])
def test_a_container_with_few_processes(name: str, membership: str, tmp_path: Path) -> None:
    """Both versions of control groups."""
    cgroup = group(tmp_path, {f"{name}pids.max": "100", f"{name}pids.current": "60"}, membership)
    diagnosis = found(limits.check_threads(2, cgroup))
    assert "few-pids" in diagnosis and not diagnosis.ok
    assert "60 of 100" in str(diagnosis)


def test_a_container_with_little_memory(tmp_path: Path) -> None:
    """Cached files do not count; the tightest of all groups above counts."""
    files = {"memory.max": str(3 << 30), "memory.current": str(5 << 29), "memory.stat": f"anon 1\ninactive_file {1 << 30}"}
    cgroup = group(tmp_path, {f"job/{name}": text for name, text in files.items()})
    assert cgroup.memory() == Usage((5 << 29) - (1 << 30), 3 << 30)
    diagnosis = found(limits.check_memory(cgroup))
    assert "little-memory" in diagnosis and "1.5 of 3.0 GiB free (container)" in str(diagnosis)
    group(tmp_path, {"memory.max": str(1 << 30), "memory.current": "0"})
    assert cgroup.memory() == Usage(0, 1 << 30)


def test_memory_of_version_1(tmp_path: Path) -> None:
    """Other files, other names."""
    files = {"limit_in_bytes": str(3 << 30), "usage_in_bytes": str(2 << 30), "stat": f"total_inactive_file {1 << 30}"}
    cgroup = group(tmp_path, {f"memory/job/memory.{name}": text for name, text in files.items()}, V1)
    assert cgroup.memory() == Usage(1 << 30, 3 << 30)


def test_a_machine_with_little_memory(tmp_path: Path) -> None:
    """Without a container."""
    (tmp_path / "meminfo").write_text("MemTotal: 4194304 kB\nMemAvailable: 1048576 kB\n")
    diagnosis = found(limits.check_memory(Cgroup(tmp_path), tmp_path / "meminfo"))
    assert "warning little-memory [machine]: 1.0 GiB are free" in str(diagnosis)


@pytest.mark.parametrize(
    ("files", "membership"),
    [
        ({"job/cpu.max": "50000 100000"}, V2),
        ({"cpu,cpuacct/job/cpu.cfs_quota_us": "50000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}, V1),
        ({"cpu/job/cpu.cfs_quota_us": "50000", "cpu/job/cpu.cfs_period_us": "100000"}, V1),
    ],
)
def test_a_quota_of_processors(files: dict[str, str], membership: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a processor is one thread; who has said so already hears nothing."""
    cgroup = group(tmp_path, files, membership)
    assert cgroup.processors() == 0.5
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    diagnosis = found(limits.check_processors(cgroup))
    assert "cpu-quota" in diagnosis and diagnosis.settings == [Setting("cpu-quota", "export OMP_NUM_THREADS=1")]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "cpu-quota" not in found(limits.check_processors(cgroup))


def test_no_quota(tmp_path: Path) -> None:
    """ "max" and -1 are none."""
    assert group(tmp_path, {"job/cpu.max": "max 100000"}).processors() is None
    one = {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}
    assert group(tmp_path, one, V1).processors() is None
    assert group(tmp_path, {"job/pids.max": "max"}).processes() is None


def test_no_memfd_and_small_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container of 64 MiB on an old kernel."""

    def refuse(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("os.memfd_create", refuse)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"total": 64 << 20}))
    diagnosis = found(limits.check_shared_memory())
    assert "no-memfd" in diagnosis and "small-shm" in diagnosis
    assert diagnosis.fix_env() == "export TMPDIR=/dev/shm    # no-memfd"
    monkeypatch.undo()
    assert "not there" in str(found(limits.check_shared_memory(Path("/no/such/shm"))))


def test_what_a_training_takes(run_python) -> None:  # type: ignore[no-untyped-def]
    """The numbers that the limits are held against are no less than what a loader with workers and a pipeline really take."""
    code = """
    import contextlib, glob, os
    import numpy as np, torch, mindspore as ms, dsbridge as dsb
    with contextlib.suppress(SystemError):  # numpy 2: a process's first operation
        ms.Tensor(np.ones(1)) + 1
    data = torch.utils.data.TensorDataset(torch.rand(64, 8))
    loader = dsb.DataLoader(data, batch_size=4, num_workers=2, persistent_workers=True)
    for (batch,) in dsb.to_mindspore(loader).create_tuple_iterator(num_epochs=1):
        ms.ops.matmul(batch, batch.T).asnumpy()
    torch.rand(512, 512) @ torch.rand(512, 512)
    next(it := iter(loader))
    count = lambda pid: len(os.listdir(f"/proc/{pid}/task"))
    workers = [p.split("/")[2] for p in glob.glob("/proc/[0-9]*/comm") if open(p).read() == f"dsb:{os.getpid()}\\n"]
    print(count(os.getpid()), *map(count, workers))
    """
    done = run_python(code, timeout_s=100)
    assert done.returncode == 0, done.stderr
    trainer, *workers = map(int, done.stdout.split())
    assert trainer <= limits.TRAINER_THREADS and len(workers) >= 2 and max(workers) <= limits.WORKER_THREADS
