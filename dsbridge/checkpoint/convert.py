"""``dsbridge.checkpoint.plan`` and ``convert``: files and live models in, a plan or a converted file out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dsbridge.checkpoint.execute import ConvertReport, Job, execute
from dsbridge.checkpoint.execution import Execution, execution
from dsbridge.checkpoint.formats.base import Writer
from dsbridge.checkpoint.formats.registry import open_checkpoint
from dsbridge.checkpoint.plan import CheckpointPlan
from dsbridge.checkpoint.plan import plan as plan_trees
from dsbridge.checkpoint.rules import RuleSet
from dsbridge.checkpoint.sharded import INDEX, execute_sharded, size_of
from dsbridge.checkpoint.stored import Checkpoint
from dsbridge.checkpoint.training import carry_over
from dsbridge.checkpoint.trees import Tree, tree_of
from dsbridge.errors import CheckpointError

_FORMATS = "dsbridge.checkpoint.formats"
WRITERS = {
    ".safetensors": (f"{_FORMATS}.safetensors_format", "SafetensorsWriter"),
    ".ckpt": (f"{_FORMATS}.mindspore_ckpt", "MindSporeWriter"),
    ".pth": (f"{_FORMATS}.torch_writer", "TorchWriter"),
    ".pt": (f"{_FORMATS}.torch_writer", "TorchWriter"),
    ".bin": (f"{_FORMATS}.torch_writer", "TorchWriter"),
}
"""The suffix of a target says what is written; what a source is, its content says."""

DEFAULT_SHARD_SIZE = "5GB"

Rules = RuleSet | Mapping[str, Any] | str | Path


def writer_for(target: str | os.PathLike[str]) -> Writer:
    """A fresh writer for a target's suffix; ``CheckpointError`` for one that is not known.

    >>> type(writer_for("model.ckpt")).__name__
    'MindSporeWriter'
    """
    suffix = Path(target).suffix.lower()
    if suffix not in WRITERS:
        raise CheckpointError(f"no format is written to {target}", hint=f"end its name in one of {', '.join(WRITERS)}")
    module, name = WRITERS[suffix]
    make: Callable[[], Writer] = getattr(import_module(module), name)
    return make()


def plan(
    source: str | os.PathLike[str] | Checkpoint,
    target: str | os.PathLike[str] | None = None,
    *,
    model: Any = None,
    network: Any = None,
    inputs: Any = None,
    rules: Rules = "auto",
    key: str = "",
    dtypes: str = "target",
    trust: bool = False,
) -> CheckpointPlan:
    """What ``convert`` would do: a row for each tensor, nothing is loaded.

    ``source``: a checkpoint of any format. ``target``: where it would go; its suffix says the format. ``model``, ``network``:
    the live torch model and MindSpore network: layers are matched by their classes on equal paths. A source that holds the
    network's names is planned the way back, to torch's. Without them names and layouts stay, unless ``rules`` (a TOML file
    or {source: target}) say otherwise. ``key``: the dict in the file that is meant. ``inputs``: what both models are run on
    once, in eval mode: what no rule places is then proposed by the order of execution instead of that of definition.
    ``dtypes``: cast to the network's ("target"; what would lose bits is "lossy" and stops), or "keep" the file's.

    Raises ``CheckpointError`` for a source that cannot be read as weights.

    >>> import json, tempfile
    >>> header = json.dumps({"w": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(len(header).to_bytes(8, "little") + header + b"ab"); file.flush()
    ...     print(plan(file.name))
    plan: 1 exact
      exact          w -> w  int8[2]  [kept]
    """
    if inputs is not None and (model is None or network is None):
        raise CheckpointError("inputs= is for running both models", hint="give model= and network= as well, or leave it out")
    if target is not None:
        writer_for(str(target).removesuffix(INDEX))
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source, trust=trust)
    torch_tree = None if model is None else tree_of(model)
    cells = None if network is None else tree_of(network)
    order = None if inputs is None else execution(model, network, inputs)
    if torch_tree is not None and cells is not None and leads_back(checkpoint, torch_tree, cells):
        return _way_back(checkpoint, torch_tree, cells, rules, order)
    return plan_trees(checkpoint, cells, model=torch_tree, rules=rules, key=key, dtypes=dtypes, order=order)


def leads_back(checkpoint: Checkpoint, model: Any, network: Any) -> bool:
    """Whether a file holds the network's names rather than the model's, so that it is planned the way back to torch."""
    return _holds(checkpoint, tree_of(network)) and not _holds(checkpoint, tree_of(model))


def _holds(checkpoint: Checkpoint, tree: Tree) -> bool:
    """Whether the file's names are this tree's: most of its parameters are there, by path or by name."""
    names = set(checkpoint.tensors)
    found = sum(leaf.path in names or leaf.name in names for leaf in tree.leaves.values())
    return 2 * found > len(tree.leaves)


def _way_back(checkpoint: Checkpoint, model: Tree, network: Tree, rules: Rules, order: Execution | None) -> CheckpointPlan:
    by_path = sum(leaf.path in checkpoint.tensors for leaf in network.leaves.values())
    by_name = sum(leaf.name in checkpoint.tensors for leaf in network.leaves.values())
    spelling = "path" if by_path > by_name else "name"
    there = plan_trees(model, network, model=model, rules=rules, spelling=spelling, dtypes="keep", order=order)
    return there.inverse()


def convert(
    source: str | os.PathLike[str] | Checkpoint,
    target: str | os.PathLike[str],
    *,
    model: Any = None,
    network: Any = None,
    inputs: Any = None,
    rules: Rules = "auto",
    key: str = "",
    dtypes: str = "target",
    accept_guesses: bool = False,
    strict: bool = True,
    progress: bool = True,
    read_back: bool = True,
    max_shard_size: int | str | None = None,
    trust: bool = False,
) -> ConvertReport:
    """Convert a checkpoint as ``plan`` says, tensor by tensor, whole or not at all, and read it back.

    Arguments as for ``plan``. ``accept_guesses``: carry out rows that are only proposed. ``strict=False``: leave tensors out
    that nothing takes, and say so in the report. ``progress``: a bar on stderr. ``read_back``: compare every tensor written.
    A target named ``model.safetensors.index.json`` (or ``.bin.index.json``) is written in parts of at most ``max_shard_size``
    (bytes, or text as "5GB", which is the default), and the index last. What a training checkpoint holds beside the weights
    goes to ``<target>.training.json`` where it is plain data, and into the report where not.

    Raises ``CheckpointError`` where a row is not sure, the target cannot hold a tensor, or the disk is full; the target is then
    as it was.

    >>> import json, tempfile, os
    >>> header = json.dumps({"w": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(len(header).to_bytes(8, "little") + header + b"ab")
    ...     report = convert(path, os.path.join(folder, "b.pth"), progress=False)
    >>> report.tensors, report.read_back
    (1, True)
    """
    if max_shard_size is not None and not str(target).endswith(INDEX):
        hint = f"name an index, e.g. model.safetensors{INDEX}"
        raise CheckpointError(f"max_shard_size= is for targets in parts, {target} is one file", hint=hint)
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source, trust=trust)
    found = plan(checkpoint, target, model=model, network=network, inputs=inputs, rules=rules, key=key, dtypes=dtypes)
    left_out = [] if strict else [row for row in found.rows if row.status == "unmatched"]
    kept = [row for row in found.rows if row not in left_out]
    CheckpointPlan(kept, found.sources, found.report, found.paths).raise_if_failed(accept_guesses=accept_guesses)
    job = Job(kept, checkpoint, open_checkpoint, progress=progress, read_back=read_back, accept_guesses=accept_guesses)
    if str(target).endswith(INDEX):
        report = execute_sharded(job, Path(target), writer_for, size_of(max_shard_size or DEFAULT_SHARD_SIZE))
    else:
        report = execute(job, writer_for(target), Path(target))
    carry_over(checkpoint, key, Path(target), report)
    report.extend((*checkpoint.report.findings, *found.findings))
    for row in left_out:
        report.add("left-out", "warning", ", ".join(row.sources), "nothing takes it, and strict=False", "write a rule for it")
    return report
