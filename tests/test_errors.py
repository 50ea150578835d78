"""Every error of the library: exported, picklable, carrying its data, with a message that says what to do."""

from __future__ import annotations

import copy
import pickle

import pytest

import dsbridge as dsb
from dsbridge import errors

EXAMPLES = [
    (dsb.DsbridgeError("plain"), {}, "plain"),
    (
        dsb.SampleError("dtype differs", index=3, column="label", expected="int64", got="float64", hint="convert it"),
        {"index": 3, "column": "label", "expected": "int64", "got": "float64", "hint": "convert it"},
        "sample 3, column 'label': dtype differs (expected int64, got float64). Hint: convert it",
    ),
    (dsb.SampleError("odd", index=[1, 2]), {"index": [1, 2], "column": None}, "samples [1, 2]: odd"),
    (
        dsb.SchemaError("2 names for 3 columns", hint="name each"),
        {"hint": "name each"},
        "2 names for 3 columns. Hint: name each",
    ),
    (
        dsb.WorkerDiedError(17, 9, [4, 5]),
        {"pid": 17, "signal": 9, "indices": [4, 5]},
        "worker 17 was killed by signal 9 while working on samples [4, 5]. Hint: often the kernel's out-of-memory "
        "killer (see dmesg); use fewer workers or smaller batches",
    ),
    (
        dsb.WorkerTimeoutError(17, [4], "File x.py, line 3"),
        {"pid": 17, "indices": [4], "stack": "File x.py, line 3"},
        "worker 17 is stuck on samples [4]; its stack:\nFile x.py, line 3",
    ),
    (dsb.TransformError("no kernel"), {}, "no kernel"),
    (dsb.ModelError("no"), {}, "no"),
    (
        dsb.Unsupported("layer1.0", "roll", "net.py:12", "no equivalent", "register one"),
        {"path": "layer1.0", "op": "roll", "where": "net.py:12", "reason": "no equivalent"},
        "layer1.0: roll: no equivalent (net.py:12). Hint: register one",
    ),
    (
        dsb.CheckpointError("left over", unmatched=["a"], missing=["b"], candidates={"a": ["b"]}, hint="rename"),
        {"unmatched": ["a"], "missing": ["b"], "candidates": {"a": ["b"]}},
        "left over. Hint: rename",
    ),
    (dsb.MigrationError("no step", hint="run it alone"), {"hint": "run it alone"}, "no step. Hint: run it alone"),
    (dsb.VerificationError("differs"), {}, "differs"),
    (dsb.UsageError("no workload", hint="one of f32"), {"hint": "one of f32"}, "no workload. Hint: one of f32"),
    (
        dsb.MissingDependencyError("pyarrow", "reading Parquet"),
        {"package": "pyarrow", "pip": "pip install pyarrow"},
        "reading Parquet needs the package pyarrow. Run: pip install pyarrow",
    ),
]
NAMES = [type(error).__name__ for error, _, _ in EXAMPLES]


def test_every_error_has_an_example() -> None:
    """The list above covers every error class of dsbridge.errors."""
    classes = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.DsbridgeError)}
    assert classes == set(NAMES)


@pytest.mark.parametrize(("error", "data", "message"), EXAMPLES, ids=NAMES)
def test_errors_carry_data_and_survive_pickling(error: Exception, data: dict, message: str) -> None:
    """Message, type, attributes and what was set later (dsb_index) are the same after pickle and copy."""
    assert str(error) == message
    error.dsb_index = 5  # type: ignore[attr-defined]
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == message
        assert {name: getattr(twin, name) for name in data} == data
        assert twin.dsb_index == 5


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_exported_at_top_level(name: str) -> None:
    """dsb.X is dsb.errors.X, derives from DsbridgeError, and is listed."""
    assert getattr(dsb, name) is getattr(dsb.errors, name)
    assert issubclass(getattr(dsb, name), dsb.DsbridgeError)
    assert name in dsb.__all__
    assert name in dir(dsb)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("SampleError", RuntimeError),
        ("SchemaError", ValueError),
        ("WorkerDiedError", RuntimeError),
        ("Unsupported", dsb.ModelError),
        ("VerificationError", AssertionError),
        ("MissingDependencyError", ImportError),
    ],
)
def test_errors_are_caught_by_code_written_for_torch(name: str, builtin: type) -> None:
    """Each error is also of the builtin class that torch code catches."""
    assert issubclass(getattr(dsb, name), builtin)


def test_a_sample_error_can_be_placed_later() -> None:
    """``at`` gives the same error with the index, which is known only further up."""
    error = dsb.SampleError("is odd", column="x", got="3", hint="make it even").at(7)
    assert str(error) == "sample 7, column 'x': is odd (got 3). Hint: make it even"


def test_unknown_names_are_attribute_errors() -> None:
    """The lazy module raises AttributeError, so that hasattr and from-imports behave."""
    assert not hasattr(dsb, "no_such_name")
    with pytest.raises(ImportError):
        from dsbridge import no_such_name  # noqa: F401
