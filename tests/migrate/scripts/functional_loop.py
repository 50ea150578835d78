# No function, no class: everything at module level, two spirals told apart.
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)

t = torch.linspace(0.1, 1.0, 192)
angle = t * 2 * math.pi
spirals = torch.cat([torch.stack([t * angle.cos(), t * angle.sin()], 1), torch.stack([-t * angle.cos(), -t * angle.sin()], 1)])
x = spirals + 0.02 * torch.randn_like(spirals)
y = torch.arange(2).repeat_interleave(192)

loader = DataLoader(TensorDataset(x, y), batch_size=48, shuffle=True)

net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
opt = torch.optim.Adam(net.parameters(), lr=5e-3)

losses = []
for epoch in range(6):
    for xb, yb in loader:
        loss = F.cross_entropy(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    with torch.no_grad():
        right = (net(x).argmax(dim=1) == y).float().mean()
    print(f"epoch {epoch} loss {loss.item():.4f} accuracy {right.item():.3f}")

print("best loss", min(losses))
