"""A GAN on a ring of points. Two networks, two optimizers, one loop."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
angle = torch.rand(512) * 6.2832
real_points = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(512, 2)
loader = DataLoader(TensorDataset(real_points), batch_size=64, shuffle=True, drop_last=True)

G = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))  # here
optimizer_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))

for epoch in range(4):
    for (real,) in loader:
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

        D.zero_grad()
        fake = G(torch.randn(len(real), 8))
        loss_d = criterion(D(real), ones) + criterion(D(fake.detach()), zeros)
        loss_d.backward()
        optimizer_d.step()

        G.zero_grad()
        loss_g = criterion(D(fake), ones)
        loss_g.backward()
        optimizer_g.step()
    print(f"[{epoch}] Loss_D: {loss_d.item():.4f} Loss_G: {loss_g.item():.4f}")
