"""A target is there whole or as it was: errors, full disks, kills at any line, strays, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dsbridge.checkpoint import atomic
from dsbridge.checkpoint.atomic import SUFFIX, clean, replacing
from dsbridge.errors import CheckpointError

KILLED = """
    # Children write a target and kill themselves at a seeded line of the modules named.
    import os, random, signal, sys
    from pathlib import Path
    from dsbridge.checkpoint import atomic

    target = Path(sys.argv[1])
    OLD, NEW = b"old" * 50_000, b"new" * 100_000

    def write():
        with atomic.replacing(target, nbytes=len(NEW)) as pending:
            for at in range(0, len(NEW), 10_000):
                pending.file.write(NEW[at : at + 10_000])

    def child(last):
        pid = os.fork()
        if pid:
            return pid
        lines = 0
        def trace(frame, event, argument):
            nonlocal lines
            if frame.f_code.co_filename not in (atomic.__file__, __file__):
                return None
            lines += event == "line"
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        write()
        sys.settrace(None)
        os.write(writable, b"%d" % lines)
        os._exit(0)

    readable, writable = os.pipe()
    os.waitpid(child(-1), 0)
    total = int(os.read(readable, 20))
    results = {"old": 0, "new": 0}
    for seed in range(50):
        target.write_bytes(OLD)
        _, status = os.waitpid(child(random.Random(seed).randint(1, total)), 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        content = target.read_bytes()
        assert content in (OLD, NEW), (seed, len(content))
        results["new" if content == NEW else "old"] += 1
        write()
        assert target.read_bytes() == NEW
        assert os.listdir(target.parent) == [target.name], (seed, os.listdir(target.parent))
    print(results["old"], results["new"])
"""


def put(target: Path, data: bytes, **options: Any) -> None:
    with replacing(target, **options) as pending:
        pending.file.write(data)


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_target_appears_whole_with_mode_0644(tmp_path: Path) -> None:
    target = tmp_path / "a.ckpt"
    target.write_bytes(b"old")
    target.chmod(0o400)  # as MindSpore leaves its files
    umask = os.umask(0o077)
    try:
        with replacing(target) as pending:
            pending.file.write(b"new")
            pending.sync()
            assert pending.path.read_bytes() == b"new"
            assert target.read_bytes() == b"old"
    finally:
        os.umask(umask)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_bytes_are_on_the_disk_before_the_name_and_the_old_file_is_there_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync of the file, rename, fsync of the folder; nothing is removed in between."""
    target = tmp_path / "a.ckpt"
    target.write_bytes(b"old")
    calls: list[Any] = []
    fsync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        calls.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def renamed(source: Any, place: Any) -> None:
        calls.append((Path(source).read_bytes(), Path(place).read_bytes()))
        rename(source, place)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    put(target, b"new")
    assert calls == [f"{target}.{os.getpid()}{SUFFIX}", (b"new", b"old"), str(tmp_path)]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), CheckpointError("x")], ids=lambda e: type(e).__name__)
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.ckpt"
    target.write_bytes(b"old")

    def fail() -> None:
        with replacing(target) as pending:
            pending.file.write(b"new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.ckpt"]
    put(target, b"newer")  # and the next one is not blocked
    assert target.read_bytes() == b"newer"


def test_a_users_file_called_tmp_is_left_alone(tmp_path: Path) -> None:
    """MindSpore's save_checkpoint deletes an unrelated x.tmp next to x.ckpt."""
    others = ["a.tmp", "a.ckpt.tmp", f"a.ckpt.x{SUFFIX}", f"b.ckpt.{dead_pid()}{SUFFIX}", f"a.ckpt.1{SUFFIX}.bak"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    put(tmp_path / "a.ckpt", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a.ckpt"])


def test_strays_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    stray = tmp_path / f"a.ckpt.{dead_pid()}{SUFFIX}"
    own = tmp_path / f"a.ckpt.{os.getpid()}{SUFFIX}"  # of an earlier process with our number, as in containers
    living = tmp_path / f"a.ckpt.{os.getppid()}{SUFFIX}"
    huge = tmp_path / f"a.ckpt.{10**30}{SUFFIX}"
    for path in (stray, own, living, huge):
        path.write_bytes(b"x")
    assert set(clean(tmp_path / "a.ckpt")) == {stray, own, huge}
    assert os.listdir(tmp_path) == [living.name]


def test_a_locked_stray_stays_though_its_process_is_not_of_this_machine(tmp_path: Path) -> None:
    import fcntl

    stray = tmp_path / f"a.ckpt.{dead_pid()}{SUFFIX}"
    with open(stray, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert clean(tmp_path / "a.ckpt") == []
        assert stray.exists()
    assert clean(tmp_path / "a.ckpt") == [stray]


def test_a_temporary_file_is_locked_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another container, to which our process seems dead, would do."""
    with replacing(tmp_path / "a.ckpt") as pending:
        pending.file.write(b"new")
        monkeypatch.setattr(atomic, "_mine", set())
        assert clean(tmp_path / "a.ckpt") == []
        monkeypatch.undo()
    assert (tmp_path / "a.ckpt").read_bytes() == b"new"


def test_two_threads_do_not_write_one_target(tmp_path: Path) -> None:
    caught: list[BaseException] = []

    def other() -> None:
        try:
            put(tmp_path / "a.ckpt", b"other")
        except CheckpointError as exc:
            caught.append(exc)

    with replacing(tmp_path / "a.ckpt") as pending:
        pending.file.write(b"new")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another thread" in str(caught[0])
    assert (tmp_path / "a.ckpt").read_bytes() == b"new"


def test_target_equal_to_source_is_refused_by_any_name(tmp_path: Path) -> None:
    source = tmp_path / "a.ckpt"
    source.write_bytes(b"old")
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "hard")
    (tmp_path / "folder").mkdir()
    for target in (source, tmp_path / "link", tmp_path / "hard", tmp_path / "folder" / ".." / "a.ckpt"):
        with pytest.raises(CheckpointError, match=r"is the source itself.*Hint"):
            put(target, b"new", sources=[source])
    assert source.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.ckpt", "folder", "hard", "link"]


def test_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "a.ckpt")
    put(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "a.ckpt").read_bytes() == b"new"


def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    target = tmp_path / "a.ckpt"
    target.write_bytes(b"old")
    with pytest.raises(CheckpointError, match=r"needs 1,152,921,504,606,846,976 bytes, [\d,]+ are free in .*Hint"):
        put(target, b"new", nbytes=1 << 60)
    assert os.listdir(tmp_path) == ["a.ckpt"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("target", ["", "missing/a.ckpt", "file/a.ckpt"])
def test_impossible_targets_are_checkpoint_errors(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"Hint"):
        put(tmp_path / target, b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_disk_full_keeps_the_old_file(tmp_path: Path, run_python: Any) -> None:
    """By a limit on the size of files; MindSpore's save_checkpoint leaves no old file and half of a new one."""
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "a.ckpt"
    target.write_bytes(b"old")
    done = run_python(
        """
        import resource, sys
        from pathlib import Path
        from dsbridge.checkpoint.atomic import replacing
        from dsbridge.errors import CheckpointError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for size in (1_000, 1 << 20):  # 1_000: all of it is in the buffer until the file is flushed
            try:
                with replacing(Path(sys.argv[1])) as pending:
                    for _ in range(200_000 // size + 1):
                        pending.file.write(bytes(size))
            except CheckpointError as exc:
                print(exc)
        """,
        str(target),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"cannot write {target}: File too large. Hint: free some space") == 2
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["a.ckpt"]


def test_read_only_folder_is_a_checkpoint_error(run_python: Any) -> None:
    done = run_python(
        """
        import os, tempfile
        from pathlib import Path
        from dsbridge.checkpoint.atomic import replacing
        from dsbridge.errors import CheckpointError
        folder = Path(tempfile.mkdtemp())
        (folder / "a.ckpt").write_bytes(b"old")
        folder.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            with replacing(folder / "a.ckpt"):
                print("not reached")
        except CheckpointError as exc:
            print(exc)
        print((folder / "a.ckpt").read_bytes(), os.listdir(folder))
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o755)
        (folder / "a.ckpt").unlink()
        folder.rmdir()
        """
    )
    assert done.returncode == 0, done.stderr
    assert "Permission denied. Hint: check that the folder exists and can be written to" in done.stdout
    assert done.stdout.endswith("b'old' ['a.ckpt']\n")


def test_sigkill_at_50_seeded_lines(tmp_path: Path, run_python: Any) -> None:
    """The old target is intact or the new one whole, and the next run leaves no stray."""
    (tmp_path / "out").mkdir()
    done = run_python(KILLED, str(tmp_path / "out" / "a.ckpt"))
    assert done.returncode == 0, done.stderr
    old, new = map(int, done.stdout.split())
    assert old >= 30 and old + new == 50
