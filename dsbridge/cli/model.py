"""``dsbridge model module:factory``: a torch model as MindSpore source, with weights and a proof."""

from __future__ import annotations

import argparse

from dsbridge.cli import live
from dsbridge.cli.output import conclude, say, say_progress
from dsbridge.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``dsbridge model``.

    >>> parser = argparse.ArgumentParser(); configure(parser)
    >>> parser.parse_args(["nets:resnet", "--input-shape", "2,3,64,64"]).input_shape
    ['2,3,64,64']
    """
    add = parser.add_argument
    add("model", metavar="MODULE:FACTORY", help="the torch model: a function that makes it, or the model")
    add("--inputs", metavar="MODULE:FACTORY", help="run it on these tensors or arrays (one, a tuple, or a dict by argument)")
    add("--input-shape", action="append", metavar="SHAPE", help="or on random ones: 2,3,224,224 or 2,128:int64; repeatable")
    add("--out", metavar="FOLDER", help="write model.py, weights.safetensors, name_map.json, PARITY.md and verify.py there")
    add(
        "--flavour",
        choices=("nn", "mint"),
        default="nn",
        help="mindspore.nn and ops, or mint, which runs on Ascend only and is not verified",
    )
    add("--fixed-sizes", action="store_true", help="write the sizes of these inputs into the source; else they stay free")
    add("--no-verify", action="store_true", help="leave out the proof, which takes a minute")
    add("--json", action="store_true", help="JSON instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Convert, prove, write; 1 where the proof fails. Raises ``UsageError`` without inputs."""
    if bool(arguments.inputs) == bool(arguments.input_shape):
        raise UsageError("a model is recorded on inputs", hint="give --inputs or --input-shape, one of them")
    from dsbridge.cli.verify import random_inputs
    from dsbridge.model import convert

    given = random_inputs(arguments.input_shape or []) or live.made(arguments.inputs)
    made = convert(live.made(arguments.model), given, dynamic=not arguments.fixed_sizes, flavour=arguments.flavour)
    if not arguments.no_verify and arguments.flavour == "nn":
        say_progress("comparing with torch in float64: eval and train mode, PyNative and graph")
        made.verify()
    if arguments.out and made.ok:
        made.write(arguments.out)
        say_progress(f"written: {arguments.out}/model.py and four more")
    elif not arguments.json:
        say(made.source)
    return conclude(arguments, made)
