"""``dsbridge verify SRC DST``: is a converted checkpoint what its source says, and do both models give the same outputs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from dsbridge.cli import live
from dsbridge.cli.arguments import there
from dsbridge.cli.output import say, say_json
from dsbridge.errors import UsageError
from dsbridge.report import Report

_INTEGERS = 10  # random integers are 0 to 9: small enough for any vocabulary


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge verify``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["a.pth", "b.ckpt", "--input-shape", "2,3", "--input-shape", "2,8:int64"]).input_shape
    ['2,3', '2,8:int64']
    """
    add = parser.add_argument
    live.configure(parser)
    add("source", metavar="SRC", help="the checkpoint that was converted")
    add("target", metavar="DST", help="what it was converted to")
    add("--inputs", metavar="MODULE:FACTORY", help="run both models on these arrays (one, a tuple, or a dict by argument)")
    add("--input-shape", action="append", metavar="SHAPE", help="or on random ones: 2,3,224,224 or 2,128:int64; repeatable")
    add("--rtol", type=float, default=1e-4, metavar="X", help="largest difference of outputs allowed, relative (default 1e-4)")
    add("--json", action="store_true", help="JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Compare bit for bit, then (with both models and inputs) audit and run; 1 if anything differs."""
    there(arguments.source, arguments.target)
    if arguments.inputs and arguments.input_shape:
        raise UsageError("--inputs and --input-shape are two ways to say the same", hint="give one of them")
    wants_run = bool(arguments.inputs or arguments.input_shape)
    if wants_run and not (arguments.model and arguments.network):
        raise UsageError("running both models needs both", hint="give --model and --network, or leave the inputs out")
    drawn = random_inputs(arguments.input_shape or [])
    from dsbridge.checkpoint import audit, compare
    from dsbridge.checkpoint.formats.registry import open_checkpoint

    options = live.plan_options(arguments)
    inputs = drawn or live.made(arguments.inputs)
    source = open_checkpoint(arguments.source, trust=arguments.trust)
    compared = compare(source, arguments.target, progress=sys.stderr.isatty(), **options)
    reports: dict[str, Report] = {"tensors": compared}
    model, network = options["model"], options["network"]
    if model is not None and network is not None:
        reports["audit"] = audit(model, network, compared.module_paths)
        if wants_run:
            reports["outputs"] = _outputs(arguments, source, model, network, inputs, compared.module_paths)
    ok = all(report.ok for report in reports.values())
    if arguments.json:
        say_json({"ok": ok, **{name: report.to_dict() for name, report in reports.items()}})
    else:
        say("\n".join(map(str, reports.values())))
    return 0 if ok else 1


def _outputs(
    arguments: argparse.Namespace, source: Any, model: Any, network: Any, inputs: Any, paths: Mapping[str, str]
) -> Any:
    """Each file in its model, then both on the same inputs."""
    from dsbridge.checkpoint import load, load_torch, verify
    from dsbridge.checkpoint.convert import leads_back

    back = leads_back(source, model, network)
    load_torch(arguments.target if back else source, model, key="" if back else arguments.key)
    load(source if back else arguments.target, network)
    return verify(model, network, inputs, rtol=arguments.rtol, paths=paths)


def random_inputs(shapes: list[str]) -> tuple[Any, ...]:
    """Seeded arrays of the shapes that a command line says: normal floats, integers from 0 to 9.

    >>> [(array.shape, str(array.dtype)) for array in random_inputs(["2,3", "4:int64"])]
    [((2, 3), 'float32'), ((4,), 'int64')]
    """
    import numpy as np

    rng = np.random.default_rng(0)
    found = []
    for text in shapes:
        size, _, dtype = text.partition(":")
        try:
            shape, kind = tuple(int(length) for length in size.split(",")), np.dtype(dtype or "float32")
        except (ValueError, TypeError) as exc:
            raise UsageError(f"--input-shape {text!r}: {exc}", hint="e.g. 2,3,224,224 or 2,128:int64") from exc
        values = rng.integers(0, _INTEGERS, shape) if kind.kind in "iu" else rng.standard_normal(shape)
        found.append(values.astype(kind))
    return tuple(found)
