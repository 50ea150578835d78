"""A file written whole or not at all: beside the target first, then synced and renamed over it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dsbridge.errors import CheckpointError

SUFFIX = ".dsb-tmp"
MODE = 0o644
"""Whatever the umask and the old file: MindSpore's own 0400 makes the next writer fail."""

_mine: set[Path] = set()  # temporaries of this process that are being written


@dataclass(frozen=True, slots=True)
class Pending:
    """A target on its way: ``file`` to write to, ``path`` where its bytes are until the block ends."""

    target: Path
    path: Path
    file: BinaryIO

    def sync(self) -> None:
        """Bring what was written to the disk; then ``path`` can be read back."""
        self.file.flush()
        os.fsync(self.file.fileno())


@contextlib.contextmanager
def replacing(target: Path, *, nbytes: int = 0, sources: Iterable[str | Path] = ()) -> Iterator[Pending]:
    """Write ``target`` in a block: it appears, mode 0644, when the block ends without an error, and is untouched otherwise.

    ``nbytes``: what will be written, checked against the free space first. ``sources``: files that are read meanwhile; a
    target that is one of them, by whatever name, is refused. A target that is a link is written where it leads. Temporary
    files next to the target whose writers have died are removed. Raises ``CheckpointError`` for what the system refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.bin")) as pending:
    ...         _ = pending.file.write(b"abc")
    ...     Path(folder, "a.bin").read_bytes()
    b'abc'
    """
    target = Path(target)
    place = target.resolve()
    _refuse(target, place, sources)
    try:
        clean(place)
        _check_space(target, place, nbytes)
        path, file = _create(place)
    except OSError as exc:
        raise _failed(target, exc, "check that the folder exists and can be written to") from exc
    pending = Pending(target, path, file)
    try:
        with _removed_unless_renamed(pending):
            yield pending
            pending.sync()
            os.replace(path, place)
            _sync_folder(place.parent)
    except OSError as exc:
        raise _failed(target, exc, "free some space, or write to another disk; the file that was there is untouched") from exc


def clean(target: Path) -> list[Path]:
    """Remove the temporary files of ``target`` whose writers have died, and return them.

    One is left alone while its process lives, or while its lock is held (by a process of another container or machine).

    >>> clean(Path("no_such_folder/a.ckpt"))
    []
    """
    pattern = re.compile(re.escape(target.name) + r"\.(\d+)" + re.escape(SUFFIX))
    found = []
    names = os.listdir(target.parent) if target.parent.is_dir() else []
    for name in sorted(names):
        match = pattern.fullmatch(name)
        path = target.parent / name
        if match and path not in _mine and not _alive(int(match[1])) and _remove_if_unlocked(path):
            found.append(path)
    return found


def _alive(pid: int) -> bool:
    if pid == os.getpid():  # and not in _mine: an earlier process had the same number
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove_if_unlocked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # gone, not readable, or no plain file
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _refuse(target: Path, place: Path, sources: Iterable[str | Path]) -> None:
    if place.is_dir():
        raise CheckpointError(f"{target} is a folder, not a file", hint="name the file to be written in it")
    for source in dict.fromkeys(map(str, sources)):
        same = os.path.realpath(source) == str(place)
        if same or (place.exists() and os.path.exists(source) and os.path.samefile(source, place)):
            raise CheckpointError(
                f"{target} is the source itself ({source})", hint="write to another name and rename it afterwards"
            )


def _check_space(target: Path, place: Path, nbytes: int) -> None:
    system = os.statvfs(place.parent)
    free = system.f_bavail * system.f_frsize
    if free < nbytes:
        raise CheckpointError(
            f"{target} needs {nbytes:,} bytes, {free:,} are free in {place.parent}",
            hint="the old file stays until the new one is whole, so both must fit; write to another disk",
        )


def _create(place: Path) -> tuple[Path, BinaryIO]:
    path = place.with_name(f"{place.name}.{os.getpid()}{SUFFIX}")
    if path in _mine:
        raise CheckpointError(f"{place} is being written by another thread of this process")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(handle, MODE)
        file = os.fdopen(handle, "w+b")
    except BaseException:
        os.close(handle)
        path.unlink()
        raise
    _mine.add(path)
    return path, file


@contextlib.contextmanager
def _removed_unless_renamed(pending: Pending) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            pending.path.unlink()
        raise
    finally:
        _mine.discard(pending.path)
        with contextlib.suppress(OSError):  # what is left in the buffer belongs to a file that is gone
            pending.file.close()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failed(target: Path, exc: OSError, hint: str) -> CheckpointError:
    return CheckpointError(f"cannot write {target}: {exc.strerror or exc}", hint=hint)
