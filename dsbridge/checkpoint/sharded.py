"""A plan carried out into several files under an index: ``*.index.json``, as transformers' ``save_pretrained`` writes them."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsbridge.checkpoint.atomic import replacing
from dsbridge.checkpoint.execute import ConvertReport, Job, Target
from dsbridge.checkpoint.formats.base import Writer
from dsbridge.checkpoint.formats.shards import grouped, index_text, parts_of
from dsbridge.checkpoint.rows import Row
from dsbridge.errors import CheckpointError

INDEX = ".index.json"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def size_of(text: int | str) -> int:
    """A size in bytes: a number, or text with a unit.

    >>> size_of("5GB"), size_of("1.5 MiB"), size_of(7)
    (5000000000, 1572864, 7)
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", str(text))
    try:
        found = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    except (ValueError, KeyError):
        found = 0
    if found < 1:
        raise CheckpointError(f"max_shard_size={text!r} is no size", hint='a number of bytes, or text as "5GB" or "512MiB"')
    return found


@dataclass(frozen=True, slots=True)
class Part:
    """One file of several: its name, the rows that go into it, and what they write."""

    name: str
    rows: list[Row]
    targets: list[Target]


def execute_sharded(job: Job, index: Path, make_writer: Callable[[str], Writer], most_bytes: int) -> ConvertReport:
    """Write ``index`` and its parts: all parts are whole and read back before the index takes its name.

    Parts get names that no file has yet, so that an old index and its parts stay as they were until the new index is there;
    parts of the old one, by names that are given here, are then removed. ``make_writer``: a fresh writer for a file name.
    """
    stem, _, suffix = index.name.removesuffix(INDEX).rpartition(".")
    if not stem:
        raise CheckpointError(f"{index} does not say the format of its parts", hint="e.g. model.safetensors.index.json")
    parts = _parts(job, most_bytes, index.parent, stem, suffix)
    old = [path for path in parts_of(index) if _is_part(path.name, stem, suffix)]
    with _gone_on_error([index.parent / part.name for part in parts]), job.bar() as advance, contextlib.ExitStack() as stack:
        # Entered first, so that it takes its name last.
        pending = stack.enter_context(replacing(index, nbytes=job.room, sources=job.files))
        pending.file.write(index_text({part.name: part.targets for part in parts}, job.metadata).encode())
        for part in parts:
            file = stack.enter_context(replacing(index.parent / part.name, sources=job.files))
            job.fill(file, part.rows, part.targets, make_writer(part.name), advance)
    for path in old:
        if str(path) not in job.files:
            path.unlink(missing_ok=True)
    return job.told(index)


def _parts(job: Job, most_bytes: int, folder: Path, stem: str, suffix: str) -> list[Part]:
    by_name = {one.name: one for one in job.targets}
    written = [[by_name[name] for name in row.targets] for row in job.rows]
    groups = grouped([sum(one.nbytes for one in made) for made in written], most_bytes)
    names = _free_names(folder, stem, suffix, len(groups))
    return [
        Part(name, [job.rows[at] for at in group], [one for at in group for one in written[at]])
        for name, group in zip(names, groups, strict=True)
    ]


def _free_names(folder: Path, stem: str, suffix: str, count: int) -> list[str]:
    for version in itertools.count(1):
        tag = f".v{version}" if version > 1 else ""
        names = [f"{stem}{tag}-{at:05d}-of-{count:05d}.{suffix}" for at in range(1, count + 1)]
        if not any((folder / name).exists() for name in names):
            break
    return names


def _is_part(name: str, stem: str, suffix: str) -> bool:
    """Whether a file has a name that is given here: an index may name anything."""
    return bool(re.fullmatch(rf"{re.escape(stem)}(\.v\d+)?-\d{{5}}-of-\d{{5}}\.{re.escape(suffix)}", name))


@contextlib.contextmanager
def _gone_on_error(paths: Sequence[Path]) -> Iterator[None]:
    """Files that were not there before, and are not to stay if a block fails: parts that had their names already."""
    try:
        yield
    except BaseException:
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
