"""DistributedDataParallel; run without torchrun it is one process of one."""

import os
import tempfile

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


def setup(store):
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    method = "env://" if "MASTER_ADDR" in os.environ else f"file://{store}"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=world_size)  # here
    return rank


def main():
    with tempfile.TemporaryDirectory() as folder:
        rank = setup(os.path.join(folder, "store"))
        torch.manual_seed(1)
        x = torch.randn(384, 8)
        dataset = TensorDataset(x, x.pow(2).sum(1, keepdim=True))
        sampler = DistributedSampler(dataset, shuffle=True, seed=1)
        loader = DataLoader(dataset, batch_size=32, sampler=sampler)
        model = DDP(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            for xb, yb in loader:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(xb), yb)
                loss.backward()
                optimizer.step()
            if rank == 0:
                print(f"epoch {epoch}: {loss.item():.4f}")
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
