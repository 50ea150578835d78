"""What a torch pickle said, as a tree of tensors that lie in a file: names, places, ties, and what there is to report."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from dsbridge.checkpoint.formats.pickles import Draft, Loaded, Stub
from dsbridge.checkpoint.formats.torch_words import FULL, KNOWN, UNREAL, Refused, StorageRef, TensorRef
from dsbridge.checkpoint.stored import Checkpoint, Span, Stored
from dsbridge.errors import CheckpointError
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup

MAX_DEPTH, MAX_NODES, MAX_NAME = 100, 4_000_000, 4096
Locate = Callable[[StorageRef], Span]


@dataclass(slots=True)
class Collector:
    """Walks what a pickle said: a tree with ``Stored`` leaves, the tensors by flat names, and what there is to report."""

    where: str
    locate: Locate
    tensors: dict[str, Stored] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report("checkpoint"))
    _first: dict[Any, str] = field(default_factory=dict)
    _open: dict[int, str] = field(default_factory=dict)
    _left: int = MAX_NODES

    def checkpoint(self, path: Path, form: str, loaded: Loaded, trust: bool) -> Checkpoint:
        """The whole of it; findings: "unknown-global", "dropped-attributes", "cycle", and the codes of ``Refused``."""
        if loaded.unknown:
            names = ", ".join(loaded.unknown[:20]) + (", ..." if len(loaded.unknown) > 20 else "")
            what = "they were imported and called" if trust else "nothing of them was run, they are stubs"
            hint = "" if trust else "trust=True builds them, for a file whose author you trust"
            self.report.add("unknown-global", "info" if trust else "warning", path.name, f"{names}: {what}", hint)
        tree = self.walk(loaded.value, "")
        return Checkpoint(path, form, self.tensors, tree, self.metadata, self.report)

    def walk(self, value: Any, path: str) -> Any:
        """A value with all tensors below it described; containers are copied."""
        if isinstance(value, (TensorRef, Refused, StorageRef)):
            return self.tensor(value, path or "tensor")
        if isinstance(value, Draft):
            return self.walk(value.value, path)
        inside = isinstance(value, (dict, list, tuple, Stub)) or hasattr(value, "__dict__")
        if not inside or isinstance(value, (type, ModuleType, FunctionType)):
            return value
        if id(value) in self._open:
            self.report.add("cycle", "warning", path, f"the same object as {self._open[id(value)] or 'the whole'}: left out")
            return Stub("cycle")
        self._left -= 8 + (len(value) if isinstance(value, (dict, list, tuple)) else 0)
        if len(self._open) >= MAX_DEPTH or self._left < 0:
            limit = f"{MAX_DEPTH} levels" if self._left >= 0 else f"{MAX_NODES} values, a container as eight,"
            raise CheckpointError(f"{self.where}: more than {limit} at {path[:200]!r}", hint=UNREAL)
        self._open[id(value)] = path
        try:
            return self.inside(value, path)
        finally:
            del self._open[id(value)]

    def inside(self, value: Any, path: str) -> Any:
        """The same for what holds others. An unknown class adds nothing to the names: a module has its state_dict's."""
        if isinstance(value, dict):
            if (versions := getattr(value, "_metadata", None)) is not None:
                self.metadata[f"{path}._metadata".lstrip(".")] = self.walk(versions, f"{path}._metadata")
            pairs = ((key, self.walk(item, _join(path, key, at))) for at, (key, item) in enumerate(value.items()))
            return OrderedDict(pairs) if isinstance(value, OrderedDict) else dict(pairs)
        if isinstance(value, (list, tuple)):
            items = (self.walk(item, _join(path, at, at)) for at, item in enumerate(value))
            return list(items) if isinstance(value, list) else tuple(items)
        if isinstance(value, Stub):
            if value.name.rsplit(".", 1)[-1] in ("ShardedTensor", "DTensor"):
                return self.tensor(Refused("partial", f"a {value.name}, of which this file holds one rank's part", FULL), path)
            pairs_of = [(key, self.walk(item, _join(path, key, at))) for at, (key, item) in enumerate(value.items)]
            args, elements = self.walk(value.args, _join(path, "args", 0)), self.walk(value.elements, path)
            return Stub(value.name, args, self.walk(value.state, path), pairs_of, elements)
        self.walk(vars(value), path)
        return value  # an object that trusted code made

    def tensor(self, ref: TensorRef | Refused | StorageRef, path: str) -> Any:
        """The stored tensor, under its name; or, with a finding, what it is instead."""
        if isinstance(ref, StorageRef):
            ref = Refused("bare-storage", f"a storage of {ref.count} elements, not a tensor", "save tensors")
        if isinstance(ref, TensorRef) and (len(ref.shape) > 32 or ref.dtype not in KNOWN):
            ref = Refused(
                "dtype", f"a tensor of {ref.dtype or 'bytes'} in {len(ref.shape)} dimensions", "cast it before saving"
            )
        if isinstance(ref, Refused):
            if ref.code == "partial":
                raise CheckpointError(f"{self.where}: {path!r} is {ref.reason}", hint=ref.hint)
            self.report.add(ref.code, "error", path, f"{ref.reason}: not read", ref.hint)
            return ref
        if ref.dropped:
            self.report.add("dropped-attributes", "info", path, f"its attributes are not read: {', '.join(ref.dropped)}")
        same = (ref.storage.key, ref.storage.start, ref.offset, ref.shape, ref.strides, ref.dtype)
        stored = self.stored(ref, path, self._first.setdefault(same, path))
        if path in self.tensors:
            raise CheckpointError(f"{self.where}: two tensors have the flat name {path!r}", hint="rename a key")
        self.tensors[path] = stored
        return stored

    def stored(self, ref: TensorRef, path: str, first: str) -> Stored:
        """Where the bytes are; strides only if they are not C-contiguous."""
        span, itemsize = self.locate(ref.storage), lookup(ref.dtype).numpy.itemsize
        tied = first if first != path else ""
        if 0 in ref.shape:
            return Stored(path, ref.dtype, ref.shape, (), tied_to=tied)
        touched = (1 + sum((size - 1) * step for size, step in zip(ref.shape, ref.strides, strict=True))) * itemsize
        begin = ref.storage.nbytes(ref.storage.start) + ref.offset * itemsize
        if begin + touched > span.length:
            what = f"needs bytes {begin} to {begin + touched} of its storage {ref.storage.key!r}, which has {span.length}"
            raise CheckpointError(f"{self.where}: tensor {path!r} {list(ref.shape)} {what}", hint="the file is damaged")
        nbytes = prod(ref.shape) * itemsize
        if nbytes > max(1 << 28, 1024 * touched):
            what = f"claims {nbytes} bytes by repeating {touched}"
            raise CheckpointError(f"{self.where}: tensor {path!r} {what}", hint="save .clone() of an expanded tensor's source")
        plain, expected = True, 1
        for size, step in zip(reversed(ref.shape), reversed(ref.strides), strict=True):
            plain &= size == 1 or step == expected
            expected *= size
        place = (span if touched == span.length else Span(span.path, span.offset + begin, touched),)
        return Stored(path, ref.dtype, ref.shape, place, None if plain else ref.strides, tied)


def _join(path: str, key: Any, position: int) -> str:
    if key in ("_parameters", "_buffers", "_modules"):  # nn.Module's own dicts
        return path
    name = str(key) if isinstance(key, (str, int, float, bool, type(None))) else f"({type(key).__name__} {position})"
    if len(path) + len(name) > MAX_NAME:
        raise CheckpointError(f"a name of {len(path) + len(name)} characters: {path[:80]}...", hint=UNREAL)
    return f"{path}.{name}" if path else name
