"""Run a loader and write down everything it does; compare two such records bit for bit."""

from __future__ import annotations

import dataclasses
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import deviations
import mindspore
import numpy as np
import torch

from dsbridge import SampleError
from dsbridge.frameworks import mindspore_tensors

FP8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


class Mismatch(AssertionError):
    """The two differ; the message says where and how."""


@dataclasses.dataclass
class Record:
    """What a loader gave (batches and exceptions, in order) and the generators afterwards."""

    length: Any
    events: list[Any]
    generators: list[bytes]


def record(loader: Any, epochs: int, seed: int) -> Record:
    """Iterate a loader ``epochs`` times from seeded global generators; after an exception the iteration goes on."""
    seed_globals(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events: list[Any] = []
        for epoch in range(epochs):
            if hasattr(loader.sampler, "set_epoch"):
                loader.sampler.set_epoch(epoch)
            one_epoch(loader, events)
        return Record(_length(loader), events, states(loader.generator))


def seed_globals(seed: int) -> None:
    """Seed torch, numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def one_epoch(loader: Any, events: list[Any], leave_after: int | None = None) -> None:
    """Iterate once and note what happens; leave after so many events as by a break."""
    try:
        iterator = iter(loader)
    except Exception as exc:
        events.append(exc)
        return
    for count in range(100):
        if count == leave_after:
            return
        try:
            events.append(next(iterator))
        except StopIteration:
            events.append("end of epoch")
            return
        except Exception as exc:
            events.append(exc)
    raise AssertionError("an epoch of 100 events does not end")


def _length(loader: Any) -> Any:
    try:
        return len(loader)
    except Exception as exc:
        return exc


def states(generator: Any) -> list[bytes]:
    """The states of the global generators and of a loader's own."""
    own = [bytes(generator.get_state().numpy())] if isinstance(generator, torch.Generator) else []
    world = [bytes(torch.get_rng_state().numpy()), repr(np.random.get_state()).encode(), repr(random.getstate()).encode()]
    return [*world, *own]


def same_records(expected: Record, got: Record, output: str) -> None:
    """Raise ``Mismatch`` unless ``got`` is what ``expected`` becomes with this output."""
    same_event(expected.length, got.length, output, "len")
    for number, (old, new) in enumerate(zip(expected.events, got.events, strict=False)):
        same_event(old, new, output, f"event {number}")
    if len(expected.events) != len(got.events):
        raise Mismatch(f"{len(expected.events)} events expected, got {len(got.events)}")
    for name, old, new in zip(("torch", "numpy", "random", "own"), expected.generators, got.generators, strict=False):
        if old != new:
            raise Mismatch(f"the {name} generator's state differs afterwards")


def same_event(expected: Any, got: Any, output: str, where: str) -> None:
    """Raise ``Mismatch`` unless a batch or exception is the other one."""
    if isinstance(expected, Exception):
        if not isinstance(got, Exception):
            raise Mismatch(f"{where}: expected {expected!r}, got {got!r}")
        same_exception(expected, got, where)
    elif output != "torch" and _refused(expected, output):
        if not isinstance(got, SampleError):
            raise Mismatch(f"{where}: expected SampleError for a batch that {output} cannot hold, got {got!r}")
    elif isinstance(got, Exception):
        raise Mismatch(f"{where}: raised {got!r}") from got
    else:
        same(expected, got, output, where)


def same_exception(expected: Exception, got: Exception, where: str) -> None:
    """The same type (SampleError counts for RuntimeError), and the text of a user's exception in it."""
    old, new = type(expected), type(got)
    if isinstance(got, SampleError) and old in (RuntimeError, deviations.Refused):
        return
    if not isinstance(got, old) or (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
        raise Mismatch(f"{where}: expected {expected!r}, got {got!r}") from got
    if str(expected.args[0] if len(expected.args) == 1 else expected) not in str(got) and "default_collate" not in str(
        expected
    ):
        raise Mismatch(f"{where}: the message {str(expected)!r} is not in {str(got)!r}")


def _refused(batch: Any, output: str) -> bool:
    """Whether a batch has a leaf (or a nesting) that this output cannot hold."""
    if isinstance(batch, torch.nn.utils.rnn.PackedSequence):
        return True
    if isinstance(batch, torch.Tensor):
        dense = batch.layout is torch.strided and not batch.is_nested and not batch.is_quantized
        if not dense or batch.device.type == "meta":
            return True
        return output == "mindspore" and str(batch.dtype).removeprefix("torch.") in FP8
    if isinstance(batch, np.ma.MaskedArray):
        return True
    if isinstance(batch, np.ndarray):
        return output == "mindspore" and batch.dtype in (np.longdouble, np.clongdouble)
    return any(_refused(part, output) for _, part in _parts(batch))


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return []


def same(expected: Any, got: Any, output: str, where: str) -> None:
    """Raise ``Mismatch`` unless a batch is the other one with this output's leaves: types, dtypes, shapes, bits."""
    if isinstance(expected, torch.Tensor):
        _same_tensor(expected, got, output, where)
        return
    if isinstance(expected, np.ndarray):
        _same_array(expected, got, output, where)
        return
    if type(expected) is not type(got):
        raise Mismatch(f"{where}: expected {type(expected)}, got {type(got)}")
    old, new = _parts(expected), _parts(got)
    if [key for key, _ in old] != [key for key, _ in new]:
        raise Mismatch(f"{where}: expected {expected!r}, got {got!r}")
    for (key, a), (_, b) in zip(old, new, strict=True):
        same(a, b, output, f"{where}, {key!r}")
    if not old and not (expected == got or (expected != expected and got != got)):
        raise Mismatch(f"{where}: expected {expected!r}, got {got!r}")


def _same_tensor(expected: torch.Tensor, got: Any, output: str, where: str) -> None:
    if output == "torch":
        for name in ("dtype", "shape", "requires_grad", "layout", "device"):
            if getattr(expected, name) != getattr(got, name, None):
                raise Mismatch(f"{where}: {name} {getattr(expected, name)} expected, got {getattr(got, name, got)}")
        if type(expected) is not type(got) or expected.is_conj() != got.is_conj():
            raise Mismatch(f"{where}: expected {type(expected)}, got {type(got)}")
        if expected.layout is torch.strided and expected.stride() != got.stride():
            raise Mismatch(f"{where}: strides {expected.stride()} expected, got {got.stride()}")
        if expected.device.type != "meta" and torch_bits(expected) != torch_bits(got):
            raise Mismatch(f"{where}: expected {expected}, got {got}")
        return
    name = str(expected.dtype).removeprefix("torch.")
    _same_values(name, tuple(expected.shape), torch_bits(expected), got, output, where)


def _same_array(expected: np.ndarray[Any, Any], got: Any, output: str, where: str) -> None:
    if output == "torch" or expected.dtype.kind in "OUSmM" or expected.dtype.names:
        same_type = type(expected) is type(got) and expected.dtype == got.dtype and expected.shape == got.shape
        same_type = same_type and expected.strides == got.strides
        if not same_type or expected.tolist() != got.tolist():
            raise Mismatch(f"{where}: expected {expected!r}, got {got!r}")
        return
    native = expected.astype(expected.dtype.newbyteorder("="))
    _same_values(native.dtype.name, native.shape, native.tobytes(), got, output, where)


def _same_values(name: str, shape: tuple[int, ...], bits: bytes, got: Any, output: str, where: str) -> None:
    wanted = mindspore.Tensor if output == "mindspore" else np.ndarray
    if not isinstance(got, wanted):
        raise Mismatch(f"{where}: expected a {wanted}, got {type(got)}")
    if output == "mindspore":
        if str(got.dtype).lower() != name:
            raise Mismatch(f"{where}: expected {name}, got {got.dtype}")
        got = mindspore_tensors.to_numpy(got)
    if got.dtype.name != name or got.shape != shape:
        raise Mismatch(f"{where}: expected {name}{shape}, got {got.dtype}{got.shape}")
    if not (got.flags.c_contiguous and got.dtype.isnative):
        raise Mismatch(f"{where}: not contiguous or not native: {got.flags}, {got.dtype}")
    if got.tobytes() != bits:
        raise Mismatch(f"{where}: {name}{shape} differs in its values: {got}")


def torch_bits(tensor: torch.Tensor) -> bytes:
    """The bytes of a tensor's values."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    dense = tensor.detach().resolve_conj().resolve_neg().contiguous().flatten()
    return bytes(dense.view(torch.uint8).numpy().tobytes())
