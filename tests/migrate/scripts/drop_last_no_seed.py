"""Depthwise convolutions on series; no seed at all, drop_last, model.zero_grad()."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Series(Dataset):
    def __init__(self, n=250, length=40):
        self.n, self.length = n, length

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        kind = i % 3
        time = torch.linspace(0, 6.28, self.length)
        wave = [torch.sin, torch.cos, lambda t: torch.sign(torch.sin(2 * t))][kind](time + torch.rand(1))
        return wave.unsqueeze(0) + 0.2 * torch.randn(1, self.length), kind


class Separable(nn.Module):
    def __init__(self, i, o, k=5):
        super().__init__()
        self.depth = nn.Conv1d(i, i, k, padding=k // 2, groups=i, bias=False)
        self.point = nn.Conv1d(i, o, 1)
        self.bn = nn.BatchNorm1d(o)

    def forward(self, x):
        return nn.functional.hardswish(self.bn(self.point(self.depth(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(1, 12, 5, stride=2)
        self.blocks = nn.Sequential(*[Separable(12, 12) for _ in range(2)])
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean(-1))


def main(argv):
    epochs = int(argv[1]) if len(argv) > 1 else 4
    loader = DataLoader(Series(), batch_size=32, shuffle=True, drop_last=True)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for epoch in range(epochs):
        for x, y in loader:
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            optimizer.step()
        print(f"epoch {epoch} {loss.item():.4f}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
