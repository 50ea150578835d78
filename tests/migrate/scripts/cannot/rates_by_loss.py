"""The learning rate is halved by hand where the loss of an epoch is not lower."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)
x = torch.randn(128, 6)
loader = DataLoader(TensorDataset(x, x.sin().sum(1, keepdim=True)), batch_size=32, shuffle=True)
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
rate, best = 0.05, float("inf")

for epoch in range(8):
    total = 0.0
    for inputs, targets in loader:
        loss = nn.functional.mse_loss(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    if total >= best:
        rate *= 0.5
    best = min(best, total)
    for group in optimizer.param_groups:
        group["lr"] = rate  # here
    print(f"{epoch}: {total:.4f}, rate {rate:g}")
