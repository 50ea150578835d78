"""A stream of samples, shared among workers; the training ends after a number of steps."""

import argparse
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


class Stream(IterableDataset):
    """Sums of angles: never the same sample twice."""

    def __init__(self, total, seed):
        super().__init__()
        self.total, self.seed = total, seed

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for i in range(first, self.total, step):
            g = torch.Generator().manual_seed(self.seed * 100_003 + i)
            a, b = 6.28 * torch.rand(2, generator=g)
            yield torch.stack([a.sin(), a.cos(), b.sin(), b.cos()]), torch.stack([(a + b).sin(), (a + b).cos()])


def get_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--num-workers", type=int, default=2)
    return parser.parse_args()


class Multiply(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.a = nn.Linear(4, width)
        self.b = nn.Linear(4, width)
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        return self.out(self.a(x) * torch.sigmoid(self.b(x)))


def main():
    args = get_args()
    torch.manual_seed(3)
    stream = Stream(total=10_000, seed=5)
    loader = DataLoader(stream, batch_size=args.batch_size, num_workers=args.num_workers)
    model = Multiply()
    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-2)
    loss_fn = nn.HuberLoss(delta=0.5)
    for step, (x, y) in enumerate(islice(loader, args.steps), start=1):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"{step:4d} {loss.item():.5f}")


if __name__ == "__main__":
    main()
