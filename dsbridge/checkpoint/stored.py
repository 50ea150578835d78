"""Tensors in files, not read yet: what a checkpoint holds, by name, dtype, shape and byte ranges."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dsbridge.errors import CheckpointError
from dsbridge.report import Report
from dsbridge.schema.dtypes import lookup, numpy_dtype

CHUNK_BYTES = 1 << 20
"""How much is read at once: larger buffers leave the cache (measured: 16 MiB is slower than 1 MiB)."""


@dataclass(frozen=True, slots=True)
class Span:
    """``length`` bytes at ``offset`` of a file; ``crc``: their CRC-32 where the file says it, 0 where not.

    >>> Span("model.pth", 64, 16).end
    80
    """

    path: str
    offset: int
    length: int
    crc: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.length

    def check(self, found: int, tensor: str) -> None:
        """Raise ``CheckpointError`` if the bytes that were read have another CRC-32 than the file says."""
        if self.crc and found != self.crc:
            where = f"{self.path}, bytes {self.offset} to {self.end}, of tensor {tensor!r}"
            raise CheckpointError(f"{where}: CRC-32 {found:08x}, expected {self.crc:08x}", hint="it is damaged; fetch it again")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file: little-endian, where its bytes are, and how they lie there.

    ``dtype``: a name of ``dsbridge.schema.dtypes``. ``spans``: the bytes in order. ``strides``: in elements, over the bytes of
    the spans, of a view that is not contiguous (then the spans cover all that it touches); None: C-contiguous, and the
    spans' lengths add up to ``nbytes``. ``tied_to``: an earlier name with the very same bytes, shape and strides; "" if none.

    >>> Stored("w", "float32", (2, 3), (Span("f", 0, 24),)).nbytes
    24
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]
    strides: tuple[int, ...] | None = None
    tied_to: str = ""

    def __post_init__(self) -> None:
        lookup(self.dtype)
        held = sum(span.length for span in self.spans)
        if self.strides is None and held != self.nbytes:
            raise CheckpointError(f"tensor {self.name!r} {self.dtype}{list(self.shape)} has {held} bytes, not {self.nbytes}")

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return numpy_dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor as a contiguous one."""
        return prod(self.shape) * self.itemsize

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes | memoryview]:
        """The contiguous tensor's bytes, ``size`` at a time; a strided one is gathered first (it is read whole).

        Raises ``CheckpointError`` where the file ends early, or is not what its checksum says.
        """
        if self.strides is not None:
            yield self.read().reshape(-1).view(np.uint8).data if self.nbytes else b""
            return
        for span in self.spans:
            with open(span.path, "rb") as file:
                file.seek(span.offset)
                left, crc = span.length, 0
                while left:
                    data = file.read(min(size, left))
                    if not data:
                        raise CheckpointError(f"{span.path} ends inside of tensor {self.name!r}, {left} bytes early")
                    left -= len(data)
                    if span.crc:
                        crc = zlib.crc32(data, crc)
                    if not left:  # before the last piece is handed out
                        span.check(crc, self.name)
                    yield data

    def read(self) -> np.ndarray[Any, Any]:
        """The tensor as an array of its own (bfloat16 and fp8 by ml_dtypes); 0-d stays 0-d."""
        dtype = numpy_dtype(self.dtype)
        held = bytearray(sum(span.length for span in self.spans))
        at = 0
        for span in self.spans:
            with open(span.path, "rb") as file:
                file.seek(span.offset)
                got = file.readinto(memoryview(held)[at : at + span.length])
            if got != span.length:
                raise CheckpointError(f"{span.path} ends inside of tensor {self.name!r}, {span.length - got} bytes early")
            if span.crc:
                span.check(zlib.crc32(memoryview(held)[at : at + span.length]), self.name)
            at += span.length
        flat = np.frombuffer(held, dtype)
        if self.strides is None:
            return flat.reshape(self.shape)
        strides = [step * dtype.itemsize for step in self.strides]
        return np.array(np.lib.stride_tricks.as_strided(flat, self.shape, strides), order="C")


@dataclass(slots=True)
class Checkpoint:
    """What a file or directory holds, by its headers alone.

    ``format``: e.g. "torch-zip". ``tensors``: by name, in the file's order; nested dicts are joined by "." only where the
    format has no nesting of its own, see ``tree``. ``tree``: the whole content as nested dicts and lists with ``Stored`` as
    leaves, for formats that nest (torch's); None otherwise. ``metadata``: text or plain values beside the tensors.
    """

    path: Path
    format: str
    tensors: dict[str, Stored]
    tree: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    report: Report = field(default_factory=lambda: Report("checkpoint"))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, tied ones once."""
        return sum(tensor.nbytes for tensor in self.tensors.values() if not tensor.tied_to)
