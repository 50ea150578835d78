"""LBFGS calls the loss as often as it likes."""

import torch
from torch import nn

torch.manual_seed(5)
t = torch.linspace(-1, 1, 100).unsqueeze(1)
target = torch.sin(4 * t) + 0.3 * t

model = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1))
criterion = nn.MSELoss()
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=8)  # here

for step in range(24):

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(t), target)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    if step % 8 == 0:
        print(f"step {step}: {loss.item():.6f}")
