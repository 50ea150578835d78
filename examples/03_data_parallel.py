"""Two ranks, each with its shard: every sample seen exactly once an epoch, in torch's order.

Run: python examples/03_data_parallel.py            (starts both ranks as plain processes)
     msrun --worker_num=2 --local_worker_num=2 examples/03_data_parallel.py   (ranks from MindSpore's launcher)
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, DistributedSampler

import dsbridge as dsb

RANKS, EPOCHS = 2, 2


class Digits(Dataset):
    def __init__(self) -> None:
        self.images = load_digits().images.astype(np.float32)[:1796]  # divisible by two: no padding

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return {"image": torch.from_numpy(self.images[index]), "index": index}


def rank_main(rank: int) -> None:
    dataset = Digits()

    # The torch way: a DistributedSampler in the loader. Its set_epoch is called for you, on time.
    sampler = DistributedSampler(dataset, num_replicas=RANKS, rank=rank, seed=7)
    loaded = dsb.to_mindspore(DataLoader(dataset, batch_size=64, sampler=sampler))
    # The MindSpore way: num_shards and shard_id. The same order.
    sharded = dsb.to_mindspore(dataset, shuffle=True, seed=7, num_shards=RANKS, shard_id=rank, batch_size=64)

    for name, data in (("sampler", loaded), ("num_shards", sharded)):
        batches = data.create_dict_iterator(num_epochs=EPOCHS, output_numpy=True)
        for epoch in range(EPOCHS):
            seen = [index for batch in batches for index in batch["index"].tolist()]
            print(name, epoch, rank, *seen)


def main() -> None:
    rank = os.environ.get("DSBRIDGE_RANK", os.environ.get("RANK_ID"))
    if rank is not None:
        rank_main(int(rank))
        return
    command = [sys.executable, __file__]
    ranks = [
        subprocess.Popen(command, env={**os.environ, "DSBRIDGE_RANK": str(r)}, stdout=subprocess.PIPE, text=True)
        for r in range(RANKS)
    ]
    lines = [line.split() for process in ranks for line in process.communicate()[0].splitlines()]
    seen = {(name, int(epoch), int(rank)): list(map(int, indices)) for name, epoch, rank, *indices in lines}
    for name in ("sampler", "num_shards"):
        for epoch in range(EPOCHS):
            parts = [seen[name, epoch, rank] for rank in range(RANKS)]
            once = sorted(parts[0] + parts[1]) == list(range(1796))
            print(f"{name}, epoch {epoch}: {len(parts[0])} + {len(parts[1])} samples, each exactly once: {once}")
    print("both ways give the same order:", all(seen["sampler", e, 0] == seen["num_shards", e, 0] for e in range(EPOCHS)))
    print("a new order every epoch:", seen["sampler", 0, 0] != seen["sampler", 1, 0])


if __name__ == "__main__":
    main()
