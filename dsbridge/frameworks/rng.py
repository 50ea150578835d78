"""The global random generators of torch, numpy and Python: snapshots, restoring, seeding by key."""

from __future__ import annotations

import contextlib
import ctypes
import pickle
import random
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from dsbridge.frameworks.detect import loaded


@dataclass(frozen=True, slots=True)
class RngState:
    """A snapshot of the global generators; ``torch`` is None in a process without torch.

    >>> state = RngState.capture(); a = random.random(); state.restore(); a == random.random()
    True
    """

    python: Any
    numpy: Any
    torch: Any

    @classmethod
    def capture(cls) -> RngState:
        """The states as they are now."""
        return cls(random.getstate(), np.random.get_state(), _torch_state())

    def restore(self) -> None:
        """Put the global generators back into these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch = loaded("torch")
        if torch is not None and self.torch is not None:
            torch.set_rng_state(self.torch)

    def is_current(self) -> bool:
        """Whether nobody has drawn or seeded since."""
        if not self.is_current_beside_torch():
            return False
        now = _torch_state()
        if self.torch is None or now is None:
            return self.torch is now
        return bool((self.torch == now).all())

    def is_current_beside_torch(self) -> bool:
        """The same of Python's and numpy's generators alone.

        >>> state = RngState.capture(); drawn = random.random()
        >>> state.is_current_beside_torch()
        False
        """
        numpy: Any = np.random.get_state()
        return self.python == random.getstate() and all(map(np.array_equal, self.numpy, numpy))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON or a checkpoint; ``from_dict`` reads it back.

        >>> state = RngState.capture()
        >>> RngState.from_dict(state.to_dict()).is_current()
        True
        """
        name, keys, *rest = self.numpy
        return {
            "python": [self.python[0], list(self.python[1]), self.python[2]],
            "numpy": [name, keys.tolist(), *rest],
            "torch": None if self.torch is None else generator_hex(self.torch),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RngState:
        """The snapshot that ``to_dict`` wrote."""
        version, words, gauss = data["python"]
        name, keys, *rest = data["numpy"]
        torch = None if data["torch"] is None else generator_state(data["torch"])
        return cls((version, tuple(words), gauss), (name, np.array(keys, np.uint32), *rest), torch)


def _torch_state() -> Any:
    torch = loaded("torch")
    return None if torch is None else torch.get_rng_state()


class RngRecorder:
    """Writes the global generators' states down as bytes, again and again: in 7 us where ``RngState`` takes 60.

    numpy takes 45 us to say where its generator stands, so it is asked only if the generator's memory has changed (or a
    second Gaussian is in store, which may be taken without a change). Python takes 20 us, so its generator's memory is
    read, if it is laid out as expected.

    >>> recorder = RngRecorder(); state = recorder.record(); a = np.random.rand()
    >>> RngRecorder.restore(state); a == np.random.rand()
    True
    """

    _WORDS = struct.Struct("<625I")
    _HEAD = struct.Struct("<qq?d")  # lengths of the parts for numpy and torch, Python's second Gaussian

    def __init__(self) -> None:
        self._generator: Any = None
        self._address = 0
        self._memory = b""
        self._numpy = b""
        self._python = _python_generator()

    def record(self) -> bytes:
        """The states as they are now."""
        torch = loaded("torch")
        tensor = b"" if torch is None else torch.get_rng_state().numpy().tobytes()
        words, gauss = self._python_state()
        ours = self._numpy_state()
        head = self._HEAD.pack(len(ours), len(tensor), gauss is not None, gauss or 0.0)
        return b"".join((head, words, ours, tensor))

    def _python_state(self) -> tuple[bytes, float | None]:
        if self._python is not None:
            return _words_of(self._python), self._python.gauss_next
        _, words, gauss = random.getstate()
        return self._WORDS.pack(*words), gauss

    def _numpy_state(self) -> bytes:
        generator = np.random.get_bit_generator()  # the one numpy has, which a user may have replaced
        if generator is not self._generator:
            self._generator, self._memory = generator, b""
            self._address = int(generator.ctypes.state_address) if type(generator) is np.random.MT19937 else 0
        memory = ctypes.string_at(self._address, _MT19937_BYTES) if self._address else b""
        if not memory or memory != self._memory:
            state: Any = np.random.get_state()
            self._memory = b"" if state[3] else memory
            self._numpy = pickle.dumps(state, protocol=5)
        return self._numpy

    @classmethod
    def restore(cls, record: bytes) -> None:
        """Put the global generators back into the states that ``record`` gave."""
        numpy_bytes, torch_bytes, has_gauss, gauss = cls._HEAD.unpack_from(record)
        at = cls._HEAD.size
        words = cls._WORDS.unpack_from(record, at)
        at += cls._WORDS.size
        random.setstate((random.Random.VERSION, words, gauss if has_gauss else None))
        np.random.set_state(pickle.loads(record[at : at + numpy_bytes]))
        at += numpy_bytes
        if torch_bytes:
            loaded("torch").set_rng_state(generator_state(record[at : at + torch_bytes].hex()))  # type: ignore[union-attr]


_MT19937_BYTES = 625 * 4  # 624 words of state and the position in them


def _python_generator() -> Any:
    """The global generator of ``random``; None where its words do not lie in memory as ``_words_of`` expects."""
    generator = getattr(random.getstate, "__self__", None)
    if type(generator) is not random.Random or sys.implementation.name != "cpython" or sys.byteorder != "little":
        return None
    return generator if _words_of(generator) == RngRecorder._WORDS.pack(*random.getstate()[1]) else None


def _words_of(generator: random.Random) -> bytes:
    memory = ctypes.string_at(id(generator) + object.__basicsize__, _MT19937_BYTES)  # the position comes first
    return memory[4:] + memory[:4]


def generator_hex(state: Any) -> str:
    """A torch generator's state (a uint8 tensor) as a hexadecimal string."""
    return bytes(state.numpy()).hex()


def generator_state(text: str) -> Any:
    """The inverse of ``generator_hex``."""
    torch = loaded("torch")
    assert torch is not None
    return torch.from_numpy(np.frombuffer(bytes.fromhex(text), np.uint8).copy())


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Run a block and leave the global generators as they were before it.

    >>> state = RngState.capture()
    >>> with untouched():
    ...     _ = random.random()
    >>> state.is_current()
    True
    """
    state = RngState.capture()
    try:
        yield
    finally:
        state.restore()


def key_of(*parts: Any) -> int:
    """A 64-bit number that depends on the parts alone: the same in every process and on every machine.

    >>> key_of(1, "sample", 2) == key_of(1, "sample", 2) != key_of(1, "sample", 3)
    True
    """
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def seed_all(key: int) -> None:
    """Seed the global generators of Python, numpy and (if loaded) torch from a 64-bit key.

    >>> seed_all(7); a = np.random.rand(); seed_all(7); a == np.random.rand()
    True
    """
    random.seed(key)
    np.random.seed((key & 0xFFFFFFFF, key >> 32))
    torch = loaded("torch")
    if torch is not None:
        torch.default_generator.manual_seed(key)  # 1 us; torch.manual_seed takes 75 us for devices that are not here
