"""numpy -> mindspore.Tensor and back, without copies, on numpy 1 and numpy 2."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from typing import Any

import numpy as np

from dsbridge.errors import SampleError, SchemaError
from dsbridge.frameworks.detect import loaded, require_mindspore
from dsbridge.schema.dtypes import lookup


def is_tensor(value: Any) -> bool:
    """Whether a value is a mindspore.Tensor; imports nothing.

    >>> is_tensor(3)
    False
    """
    mindspore = loaded("mindspore")
    return mindspore is not None and isinstance(value, mindspore.Tensor)


@functools.cache
def tensor_type() -> Any:
    """mindspore.Tensor, with the first operation of the process already behind it.

    On numpy 2 MindSpore 2.10 fails in the first operation of a process and never again: its binary was built
    for numpy 1 and imports a module that is gone. So one operation is run and its failure swallowed here.
    """
    mindspore = require_mindspore("output='mindspore'")
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0b1":
        # On a thread of its own: MindSpore keeps the exception, and with it the frames of all callers and what they hold.
        thread = threading.Thread(target=_first_operation, args=(mindspore.Tensor,))
        with _stderr_closed():
            thread.start()
            thread.join()
        _restore_interrupt(mindspore.Tensor)
    return mindspore.Tensor


def _first_operation(tensor: Any) -> None:
    with contextlib.suppress(SystemError, ImportError, RuntimeError):
        _ = tensor(np.ones(1, np.float32)) + 1


def _restore_interrupt(tensor: Any) -> None:
    """Undo what the first operation does to SIGINT: MindSpore's own handler kills the process with SIGTERM.

    It is installed once, on a thread of the runtime, so an operation has to be over before Python's is put back.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        (tensor(np.ones(1, np.float32)) + 1).asnumpy()
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _stderr_closed() -> Any:
    # The failure is printed by C code past sys.stderr, in 40 lines no user can act on.
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def from_numpy(array: np.ndarray[Any, Any]) -> Any:
    """A mindspore.Tensor over the array's memory; it keeps the array alive as long as it lives itself.

    The array must be C-contiguous, native-endian and owned by the caller: MindSpore takes others silently
    and reads wrong bytes, or writes through a read-only array. Raises ``SampleError`` for fp8, which
    MindSpore on a CPU cannot hold, and for dtypes that are no tensor's.

    >>> from_numpy(np.zeros((2, 3), np.float32)).shape
    (2, 3)
    """
    _check(array.dtype)
    return tensor_type().from_numpy(array)


@functools.cache
def _check(dtype: np.dtype[Any]) -> None:
    try:
        row = lookup(dtype)
    except SchemaError:
        raise SampleError("mindspore.Tensor has no such dtype", got=dtype.name, hint="cast it first") from None
    if row.name.startswith("float8"):
        raise SampleError("mindspore.Tensor cannot hold fp8", got=row.name, hint="use output='numpy' or cast it first")


def to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """The values of a mindspore.Tensor as numpy; bfloat16 comes as ``ml_dtypes.bfloat16``, exactly.

    >>> import mindspore
    >>> to_numpy(from_numpy(np.arange(3)))
    array([0, 1, 2])
    """
    if str(tensor.dtype) == "BFloat16":  # .asnumpy() of it fails on numpy 2; float32 holds every bf16 value
        mindspore = loaded("mindspore")
        wide = tensor.astype(mindspore.float32).asnumpy()  # type: ignore[union-attr]
        return wide.astype(lookup("bfloat16").numpy)  # type: ignore[no-any-return]
    return tensor.asnumpy()  # type: ignore[no-any-return]


def assign(parameter: Any, array: np.ndarray[Any, Any]) -> None:
    """Write an array of the parameter's own shape and dtype into a mindspore.Parameter, in place.

    Not by ``set_data``: an optimizer that has run a step keeps the old storage, and trains that one from then on, in silence
    (measured on MindSpore 2.10 with every ``mindspore.nn`` optimizer but Adadelta). ``array`` is the caller's to give away.

    >>> import mindspore
    >>> weight = mindspore.Parameter(from_numpy(np.zeros(2, np.float32)), name="w")
    >>> assign(weight, np.ones(2, np.float32)); weight.asnumpy().tolist()
    [1.0, 1.0]
    """
    value = from_numpy(array)
    mindspore = require_mindspore("assign")
    on_cpu = mindspore.get_context("device_target") == "CPU"
    if array.size == 0 or (on_cpu and str(parameter.dtype) == "BFloat16"):  # no Assign for them, so no optimizer either
        parameter.set_data(value)
    else:
        mindspore.ops.assign(parameter, value)
