"""Several processes and devices."""

from __future__ import annotations

from functools import partial

from dsbridge.migrate.inspect.rules.rule import ATTENTION, UNSUPPORTED, Rule

_rule = partial(Rule, family="distributed", page="guide/mindspore.md")
_DIST = "torch.distributed"


def _dist(*names: str) -> tuple[str, ...]:
    return tuple(f"{_DIST}.{name}" for name in names)


RULES = (
    _rule(
        "MIG701",
        ATTENTION,
        _dist("init_process_group", "destroy_process_group", "new_group"),
        "starts torch's communication",
        "mindspore.communication.init(), started by msrun",
        "torch.distributed.init_process_group('nccl')",
    ),
    _rule(
        "MIG702",
        ATTENTION,
        _dist("get_rank", "get_world_size", "is_initialized", "is_available", "get_backend", "get_node_local_rank"),
        "asks torch's communication",
        "mindspore.communication.get_rank(), get_group_size()",
        "torch.distributed.get_rank()",
    ),
    _rule(
        "MIG703",
        ATTENTION,
        ("torch.nn.parallel.DistributedDataParallel", "torch.nn.parallel.distributed", ".no_sync()"),
        "averages gradients while backward runs",
        "mindspore.nn.DistributedGradReducer on what value_and_grad returns",
        "torch.nn.parallel.DistributedDataParallel(model)",
    ),
    _rule(
        "MIG704",
        ATTENTION,
        ("torch.nn.parallel.DataParallel", "torch.nn.parallel.data_parallel"),
        "splits batches among the devices of one process, which MindSpore does not",
        "convert model.module; one process a device, by msrun",
        "torch.nn.DataParallel(model)",
    ),
    _rule(
        "MIG705",
        UNSUPPORTED,
        _dist("fsdp.*", "_composable.*", "algorithms.*", "optim.*"),
        "shards parameters and optimizer state: a model in parts is not converted",
        "gather the state, then dsb.checkpoint.convert; shard in MindSpore",
        "torch.distributed.fsdp.fully_shard(model)",
        page="guide/checkpoints.md",
    ),
    _rule(
        "MIG706",
        ATTENTION,
        _dist(
            "all_reduce",
            "all_gather",
            "all_gather_into_tensor",
            "all_gather_object",
            "all_to_all",
            "all_to_all_single",
            "barrier",
            "broadcast",
            "broadcast_object_list",
            "gather",
            "gather_object",
            "reduce",
            "reduce_scatter",
            "reduce_scatter_tensor",
            "scatter",
            "scatter_object_list",
            "send",
            "recv",
            "isend",
            "irecv",
            "batch_isend_irecv",
            "monitored_barrier",
            "ReduceOp",
            "ReduceOp.*",
            "nn.*",
        ),
        "is a collective of torch's",
        "mindspore.ops.AllReduce, AllGather, Broadcast, ReduceScatter",
        "torch.distributed.all_reduce(x)",
    ),
    _rule(
        "MIG707",
        UNSUPPORTED,
        _dist("rpc.*", "pipelining.*", "tensor.*", "device_mesh.*", "checkpoint.stateful.*"),
        "divides a model among processes",
        "MindSpore's own parallel modes",
        "torch.distributed.rpc.rpc_sync('b', f)",
    ),
    _rule(
        "MIG708",
        ATTENTION,
        ("torch.nn.SyncBatchNorm", "torch.nn.SyncBatchNorm.*"),
        "becomes a batch norm of each process alone",
        "mindspore.nn.SyncBatchNorm",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)",
        page="guide/models.md",
    ),
    _rule(
        "MIG709",
        ATTENTION,
        tuple(
            f"environment {name}"
            for name in (
                "LOCAL_RANK",
                "RANK",
                "WORLD_SIZE",
                "LOCAL_WORLD_SIZE",
                "MASTER_ADDR",
                "MASTER_PORT",
                "NODE_RANK",
                "GROUP_RANK",
            )
        ),
        "is set by torchrun; msrun sets others (RANK_ID, RANK_SIZE, MS_SCHED_HOST, ...)",
        "mindspore.communication.get_rank()",
        "os.environ['LOCAL_RANK']",
    ),
    _rule(
        "MIG710",
        ATTENTION,
        (
            "torch.multiprocessing.spawn",
            "torch.multiprocessing.start_processes",
            _DIST + ".launcher.*",
            _DIST + ".run.*",
            _DIST + ".elastic.*",
        ),
        "starts the processes of a training",
        "msrun --worker_num=N train.py",
        "torch.multiprocessing.spawn(main)",
    ),
    _rule(
        "MIG711",
        ATTENTION,
        (_DIST + ".*",),
        "belongs to torch's communication: no rule says what becomes of it",
        "mindspore.communication, mindspore.ops",
        "torch.distributed.Store()",
    ),
)
