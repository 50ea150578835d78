"""``data.py``: the script's batches; torch's own order by default, MindSpore's own pipeline by a flag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

import dsbridge
from dsbridge.migrate.forward import Program
from dsbridge.migrate.missing import Missing
from dsbridge.migrate.source import filled, literal

Arrays = dict[str, "np.ndarray[Any, Any]"]

HEAD = '''"""{title}

``loader()`` gives torch's batches bit for bit: its dataset, order and random numbers, through dsbridge. ``loader(native=True)``
gives MindSpore's own pipeline{native_note}.

Written by dsbridge {version}.
"""

{imports}

HERE = Path(__file__).resolve().parent
'''

WHOLE_HEAD = '''"""{title}

All of it in each step, as the script has it.

Written by dsbridge {version}.
"""

{imports}

HERE = Path(__file__).resolve().parent
'''

EXACT = '''
def loader(native=False):
    """The batches of each epoch."""{missing}
    if native:
        return native_loader()
    import dsbridge as dsb
    import torch

    original = unpickled()
    restore(original, torch)
    return dsb.DataLoader.from_torch(original)


def unpickled():
    """The script's loader, as it was before its first epoch."""{prepare}
    return pickle.loads((HERE / "loader.pkl").read_bytes())


def restore(original, torch):
    """The generators as they were when the script's first epoch began."""
    states = pickle.loads((HERE / "generators.pkl").read_bytes())
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["random"])
    owners = (original, original.sampler, original.batch_sampler)
    for owner, state in zip(owners, states["own"], strict=True):
        if state is not None:
            owner.generator.set_state(state)


def batches(loader):
    """The arguments of a training step, batch by batch."""
    for batch in loader:
        yield {arguments}
'''

SIZE = '''
def size(loader):
    """Batches an epoch, None where nobody knows."""
    try:
        return len(loader)
    except TypeError:
        return None
'''

STATES = '''
def state_of(loader):
    """Where torch's order stands; None for MindSpore's own pipeline."""
    return loader.state_dict() if hasattr(loader, "state_dict") else None


def load_state(loader, state):
    """Go on from there."""
    if state is not None:
        loader.load_state_dict(state)
'''

PLAN = '''
def native_loader():
    """The same samples through mindspore.dataset; the order is drawn by MindSpore's seed."""
    import dsbridge as dsb

    return Dataset(dsb.plan(unpickled()).build())
'''

ARRAYS = '''
def native_loader():
    """The same rows through mindspore.dataset, without torch; the order is drawn by MindSpore's seed."""
    import mindspore.dataset as ds

    arrays = np.load(HERE / "arrays.npz")
    columns = {name: arrays[name] for name in arrays.files}
    dataset = ds.NumpySlicesDataset(columns, shuffle={shuffle})
    return Dataset(dataset.batch({batch_size}, drop_remainder={drop_last}))
'''

DATASET = '''
class Dataset:
    """Iterates a mindspore.dataset any number of times, as the loader's batches."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        return self.dataset.create_tuple_iterator(num_epochs=1)

    def __len__(self):
        return self.dataset.get_dataset_size()
'''

NOTHING = '''
def loader(native=False):
    """The batches of each epoch."""{missing}


def batches(loader):
    """The arguments of a training step, batch by batch: {names}."""
    yield from loader
'''


WHOLE = '''STEPS = {steps}  # an epoch


def loader(native=False):
    """All data in each step; ``native`` makes no difference."""
    arrays = np.load(HERE / "arrays.npz")
    return [tuple(ms.Tensor(arrays[name]) for name in {names})] * STEPS


def batches(loader):
    """The arguments of a training step, step by step: {arguments}."""
    yield from loader


def size(loader):
    """Steps an epoch."""
    return len(loader)
'''


def whole_source(title: str, program: Program, inputs: Sequence[torch.Tensor], steps: int) -> tuple[str, Arrays]:
    """The text of the file and the arrays beside it, for a script that takes the same ``inputs`` in each step.

    ``steps``: how many are to be an epoch.
    """
    imports = "from pathlib import Path\n\nimport mindspore as ms\nimport numpy as np"
    head = filled(WHOLE_HEAD, title=title, version=dsbridge.__version__, imports=imports)
    body = filled(WHOLE, steps=steps, names=literal(tuple(program.inputs)), arguments=", ".join(program.inputs))
    arrays = {name: tensor.numpy() for name, tensor in zip(program.inputs, inputs, strict=True)}
    return f"{head}{body}\n{STATES}", arrays


def data_source(
    title: str, program: Program, loader: Any, missing: Missing, modules: Sequence[tuple[str, str]] = ()
) -> tuple[str, Arrays]:
    """The text of the file and the arrays beside it. ``loader``: the live torch loader, None where there is none.

    ``modules``: (name, folder) of those of the script that must be imported before the loader can be unpickled.
    """
    if loader is None:
        names = ", ".join(program.inputs) or "none were seen"
        stops = missing.block("data", "    ") or '\n    raise NotImplementedError("no loader was seen")'
        head = filled(HEAD, title=title, version=dsbridge.__version__, imports="from pathlib import Path", native_note="")
        return head + "\n" + filled(NOTHING, missing=stops, names=names) + "\n" + SIZE + "\n" + STATES, {}
    arrays = _arrays(loader)
    native = PLAN
    if arrays:
        native = filled(
            ARRAYS,
            shuffle=isinstance(loader.sampler, torch.utils.data.RandomSampler),
            batch_size=loader.batch_size,
            drop_last=loader.drop_last,
        )
    arguments = ", ".join("batch" + "".join(f"[{part!r}]" for part in path or ()) for path in program.paths)
    arguments = arguments.replace("'", '"')
    arguments = f"({arguments},)" if len(program.paths) == 1 else arguments
    prepare = "".join(
        f"\n    sys.path.append({json.dumps(folder)})\n    import {name}  # noqa: F401 - the script's own: it prepares others\n"
        for name, folder in modules
    )
    body = filled(EXACT, prepare=prepare, missing=missing.block("data", "    "), arguments=arguments)
    standard = ["import pickle", "import random", *(["import sys"] if modules else []), "from pathlib import Path"]
    imports = "\n".join([*standard, "", "import numpy as np"])
    head = filled(
        HEAD, title=title, version=dsbridge.__version__, imports=imports, native_note=", without torch" if arrays else ""
    )
    return "\n".join([head, body, SIZE, STATES, native, DATASET]), arrays


def _arrays(loader: Any) -> Arrays:
    """The columns of a dataset that is nothing but tensors, loaded in order or shuffled, with torch's own collate."""
    data = torch.utils.data
    plain = type(loader.sampler) in (data.SequentialSampler, data.RandomSampler) and loader.batch_size is not None
    if type(loader.dataset) is not data.TensorDataset or loader.collate_fn is not data.default_collate or not plain:
        return {}
    return {f"column{number}": tensor.numpy() for number, tensor in enumerate(loader.dataset.tensors)}
