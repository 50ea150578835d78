"""Every exception dsbridge raises on its own account.

    DsbridgeError
    ├── SampleError             a sample, a column or a batch is not what it should be (also a RuntimeError)
    ├── SchemaError             column names, dtypes or sizes do not fit together (also a ValueError)
    ├── WorkerDiedError         a worker process was killed
    ├── WorkerTimeoutError      a worker process is stuck
    ├── TransformError          a transform cannot be translated or applied
    ├── ModelError              a model cannot be converted
    │   └── Unsupported         ... because an operation has no equivalent
    ├── MigrationError          a training script cannot be captured, or its setup not be migrated
    ├── CheckpointError         a checkpoint cannot be read, matched or written
    ├── VerificationError       two sides that must agree do not
    ├── UsageError              a command line or a name on it makes no sense (also a ValueError)
    └── MissingDependencyError  an optional package is needed (also an ImportError)

Every error carries its data as attributes and survives pickling. ``SampleError`` is a
``RuntimeError`` because that is what ``torch.utils.data.default_collate`` raises for batches it
cannot stack: code written for torch keeps catching it.
"""

from __future__ import annotations

from typing import Any


class DsbridgeError(Exception):
    """Base class of all errors that dsbridge raises on its own account.

    >>> issubclass(SampleError, DsbridgeError)
    True
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors take more than ``args`` holds, so rebuild from the state instead.
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    exc = cls.__new__(cls, *args)
    exc.args = args
    exc.__dict__.update(state)
    return exc


def _sentence(what: str, where: str = "", hint: str = "") -> str:
    text = f"{where}: {what}" if where else what
    return f"{text}. Hint: {hint}" if hint else text


class SampleError(DsbridgeError, RuntimeError):
    """A sample, one of its columns, or a batch made of samples cannot be used.

    ``index`` is the dataset index (the position for an iterable, a list for a whole batch),
    ``column`` the column's name, ``expected`` and ``got`` what differs; each may be None.

    >>> raise SampleError("dtype differs", index=3, column="label", expected="int64", got="float64")
    Traceback (most recent call last):
    ...
    dsbridge.errors.SampleError: sample 3, column 'label': dtype differs (expected int64, got float64)
    """

    def __init__(
        self,
        what: str,
        *,
        index: Any = None,
        column: str | None = None,
        expected: Any = None,
        got: Any = None,
        hint: str = "",
    ) -> None:
        self.index, self.column, self.expected, self.got, self.hint = index, column, expected, got, hint
        self.what = what
        place = []
        if index is not None:
            place.append(f"samples {index}" if isinstance(index, (list, tuple)) else f"sample {index!r}")
        if column is not None:
            place.append(f"column {column!r}")
        details = [f"{word} {value}" for word, value in (("expected", expected), ("got", got)) if value is not None]
        if details:
            what = f"{what} ({', '.join(details)})"
        super().__init__(_sentence(what, ", ".join(place), hint))

    def at(self, index: Any, column: str | None = None) -> SampleError:
        """The same error, naming ``index`` (and ``column``); used where they are known only further up."""
        return SampleError(
            self.what,
            index=index,
            column=column or self.column,
            expected=self.expected,
            got=self.got,
            hint=self.hint,
        )


class SchemaError(DsbridgeError, ValueError):
    """Column names, dtypes, sizes or lengths do not fit together.

    >>> raise SchemaError("2 column names for 3 columns", hint="name each column once")
    Traceback (most recent call last):
    ...
    dsbridge.errors.SchemaError: 2 column names for 3 columns. Hint: name each column once
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(_sentence(what, hint=hint))


class WorkerDiedError(DsbridgeError, RuntimeError):
    """A worker process died; ``pid``, ``signal`` and the sample ``indices`` it was working on.

    >>> raise WorkerDiedError(17, 9, [4, 5])
    Traceback (most recent call last):
    ...
    dsbridge.errors.WorkerDiedError: worker 17 was killed by signal 9 while working on samples [4, 5]. Hint: ...
    """

    def __init__(self, pid: int, signal: int | None, indices: list[Any]) -> None:
        self.pid, self.signal, self.indices = pid, signal, indices
        how = "ended by itself" if signal is None else f"was killed by signal {signal}"
        when = f"while working on samples {indices}" if indices else "before it took a batch"
        hint = _DEATH_HINTS.get(signal, "") if signal is not None else "look for os._exit or sys.exit in the dataset"
        super().__init__(_sentence(f"worker {pid} {how} {when}", hint=hint))


_DEATH_HINTS = {
    7: "memory ran out under a shared file; make batches smaller",
    9: "often the kernel's out-of-memory killer (see dmesg); use fewer workers or smaller batches",
    11: "a crash in native code; loader.replay(index) runs the sample in this process",
}


class WorkerTimeoutError(DsbridgeError, RuntimeError):
    """A worker made no progress within the time limit; ``stack`` is where its Python code stood.

    >>> WorkerTimeoutError(17, [4], "File x.py, line 3").pid
    17
    """

    def __init__(self, pid: int, indices: list[Any], stack: str) -> None:
        self.pid, self.indices, self.stack = pid, indices, stack
        super().__init__(f"worker {pid} is stuck on samples {indices}; its stack:\n{stack}")


class TransformError(DsbridgeError, ValueError):
    """A transform cannot be read, translated or applied.

    >>> issubclass(TransformError, ValueError)
    True
    """


class ModelError(DsbridgeError, RuntimeError):
    """A model cannot be converted.

    >>> issubclass(Unsupported, ModelError)
    True
    """


class Unsupported(ModelError):
    """An operation or module has no verified equivalent.

    ``path``: of the module (empty: the model itself); ``op``; ``where``: source file and line; ``reason``.

    >>> str(Unsupported("layer1.0", "roll", "net.py:12", "no equivalent"))
    'layer1.0: roll: no equivalent (net.py:12)'
    """

    def __init__(self, path: str, op: str, where: str, reason: str, hint: str = "") -> None:
        self.path, self.op, self.where, self.reason = path, op, where, reason
        place = f" ({where})" if where else ""
        super().__init__(_sentence(f"{op}: {reason}{place}", path or "the model", hint))


class MigrationError(DsbridgeError, RuntimeError):
    """A training script cannot be captured, or its setup cannot be migrated at all.

    >>> raise MigrationError("train.py ended before an optimizer stepped", hint="run it by itself first")
    Traceback (most recent call last):
    ...
    dsbridge.errors.MigrationError: train.py ended before an optimizer stepped. Hint: run it by itself first
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(_sentence(what, hint=hint))


class CheckpointError(DsbridgeError, RuntimeError):
    """A checkpoint cannot be read, matched or written.

    >>> CheckpointError("2 parameters have no source", unmatched=["a", "b"]).unmatched
    ['a', 'b']
    """

    def __init__(
        self,
        what: str,
        *,
        unmatched: list[str] | None = None,
        missing: list[str] | None = None,
        candidates: dict[str, list[str]] | None = None,
        hint: str = "",
    ) -> None:
        self.unmatched, self.missing, self.candidates = unmatched or [], missing or [], candidates or {}
        super().__init__(_sentence(what, hint=hint))


class VerificationError(DsbridgeError, AssertionError):
    """Two sides that must agree do not; raised by the ``raise_if`` methods of reports.

    >>> issubclass(VerificationError, AssertionError)
    True
    """


class UsageError(DsbridgeError, ValueError):
    """A command line, or a name on it, makes no sense; ``dsbridge`` ends with exit code 2.

    >>> raise UsageError("no workload 'f23'", hint="did you mean f32?")
    Traceback (most recent call last):
    ...
    dsbridge.errors.UsageError: no workload 'f23'. Hint: did you mean f32?
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.hint = hint
        super().__init__(_sentence(what, hint=hint))


class MissingDependencyError(DsbridgeError, ImportError):
    """An optional package is needed; the message ends in the line that installs it.

    >>> str(MissingDependencyError("pyarrow", "reading Parquet"))
    'reading Parquet needs the package pyarrow. Run: pip install pyarrow'
    """

    def __init__(self, package: str, purpose: str, pip: str = "") -> None:
        self.package, self.pip = package, pip or f"pip install {package}"
        super().__init__(f"{purpose} needs the package {package}. Run: {self.pip}")
