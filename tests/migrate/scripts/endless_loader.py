"""while step < max_steps, with a loader that never ends."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MAX_STEPS = 36


def cycle(loader):
    while True:
        yield from loader


def polynomial(step, power=0.9):
    return (1 - step / MAX_STEPS) ** power


class ResidualMLP(nn.Module):
    def __init__(self, dim=16, depth=3):
        super().__init__()
        self.inp = nn.Linear(10, dim)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.Mish(), nn.Linear(2 * dim, dim)))
        self.out = nn.Linear(dim, 3)
        self.scale = nn.Parameter(torch.ones(depth))

    def forward(self, x):
        x = self.inp(x)
        for scale, block in zip(self.scale, self.blocks):
            x = x + scale * block(x)
        return self.out(x)


def main():
    torch.manual_seed(77)
    x = torch.randn(200, 10)
    y = (x[:, :3] ** 2).argmax(-1)
    batches = cycle(DataLoader(TensorDataset(x, y), batch_size=25, shuffle=True))
    model = ResidualMLP()
    optimizer = torch.optim.RAdam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, polynomial)
    loss_fn = nn.CrossEntropyLoss()

    step, ema = 0, None
    while step < MAX_STEPS:
        inputs, targets = next(batches)
        loss = loss_fn(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        ema = loss.item() if ema is None else 0.9 * ema + 0.1 * loss.item()
        step += 1
        if not step % 12:
            print(f"step {step}: smoothed loss {ema:.4f}")


if __name__ == "__main__":
    main()
