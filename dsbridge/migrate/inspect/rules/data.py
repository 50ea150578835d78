"""Datasets, samplers, loaders: dsbridge takes them as they are."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect.rules.conditions import given, outside
from dsbridge.migrate.inspect.rules.rule import ATTENTION, FINE, Rule

_rule = partial(Rule, family="data", page="guide/loaders.md")
_DATA = "torch.utils.data"


def _names(*names: str, prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}{_DATA}.{name}" for name in names)


RULES = (
    _rule(
        "MIG201",
        FINE,
        (*_names("Dataset", prefix="class "), "class torchvision.datasets.*", *_names("Dataset")),
        "runs as it is, torch inside and all",
        "dsb.DataLoader(dataset, ...), dsb.to_mindspore(dataset)",
        "class Images(torch.utils.data.Dataset): pass",
        page="guide/wrap.md",
    ),
    _rule(
        "MIG202",
        ATTENTION,
        (*_names("IterableDataset", prefix="class "), *_names("IterableDataset")),
        "is a stream, which has to shard itself by get_worker_info(), as in torch",
        "dsb.DataLoader(dataset, ...); look for stream-not-sharded in loader.report",
        "class Stream(torch.utils.data.IterableDataset): pass",
        page="guide/workers.md",
    ),
    _rule(
        "MIG203",
        FINE,
        _names("DataLoader"),
        "is read from its parts: the same batches in the same order",
        "dsb.DataLoader.from_torch(loader)",
        "DataLoader(dataset)",
    ),
    _rule(
        "MIG204",
        ATTENTION,
        _names("DataLoader(multiprocessing_context)"),
        "starts workers that are no forks: each imports torch anew",
        'leave it out, or say "fork"',
        "DataLoader(dataset, num_workers=2, multiprocessing_context='spawn')",
        given,
        page="guide/doctor.md",
    ),
    _rule(
        "MIG205",
        FINE,
        _names("DataLoader(collate_fn)", "DataLoader(worker_init_fn)", "DataLoader(batch_sampler)", "DataLoader(generator)"),
        "runs as it is, in the workers; lambdas and partials too",
        "dsb.DataLoader.from_torch(loader)",
        "DataLoader(dataset, collate_fn=lambda rows: rows)",
        given,
    ),
    _rule(
        "MIG206",
        FINE,
        _names("DataLoader(pin_memory)"),
        "is taken over; it pins torch tensors only",
        "dsb.DataLoader.from_torch(loader)",
        "DataLoader(dataset, pin_memory=True)",
        given,
    ),
    _rule(
        "MIG207",
        FINE,
        (
            *_names(
                "Sampler", "SequentialSampler", "RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "BatchSampler"
            ),
            *_names("*", prefix="class "),
        ),
        "is run by dsbridge, in torch's order",
        "dsb.DataLoader.from_torch(loader)",
        "WeightedRandomSampler([1.0, 2.0], 2)",
    ),
    _rule(
        "MIG208",
        FINE,
        _names("DistributedSampler"),
        "cuts the data as it is; dsb.to_mindspore calls set_epoch by itself",
        "dsb.to_mindspore(loader), or num_shards= and shard_id=",
        "DistributedSampler(dataset)",
        page="guide/mindspore.md",
    ),
    _rule(
        "MIG209",
        FINE,
        _names(
            "Subset",
            "random_split",
            "ConcatDataset",
            "StackDataset",
            "TensorDataset",
            "default_collate",
            "default_convert",
            "get_worker_info",
        ),
        "works as in torch",
        "nothing to do",
        "random_split(dataset, [3, 1])",
        page="guide/wrap.md",
    ),
    _rule(
        "MIG210",
        ATTENTION,
        (*_names("ChainDataset", "datapipes.*"), "torchdata.*"),
        "is a pipeline of torch's own: it is one stream for dsbridge, shuffling and sharding are its own",
        "dsb.DataLoader(stream, ...), and compare the batches",
        "torchdata.nodes.Loader(source)",
        page="guide/workers.md",
    ),
    _rule(
        "MIG211",
        FINE,
        ("torchvision.datasets.*",),
        "is a dataset as it is; its transform is translated",
        "dsb.plan(loader)",
        "torchvision.datasets.CIFAR10('.')",
        page="guide/plan.md",
    ),
    _rule(
        "MIG212",
        ATTENTION,
        ("torch.multiprocessing.*",),
        "starts or shares between processes: MindSpore operations after a fork hang",
        "let dsb.DataLoader(num_workers=...) start the workers",
        "torch.multiprocessing.set_sharing_strategy('file_system')",
        page="guide/workers.md",
    ),
    _rule(
        "MIG213",
        FINE,
        ("torch.from_numpy", "torch.frombuffer", "torch.from_file"),
        "makes a tensor of data",
        "in a dataset it stays; elsewhere mindspore.Tensor.from_numpy",
        "torch.from_numpy(array)",
        outside,
        page="guide/wrap.md",
    ),
)
