"""Weights are pulled back into a box after every step (as the first WGAN and many physics models do)."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(41)
x = torch.rand(320, 5)
y = (x @ torch.tensor([[0.1], [0.9], [2.0], [0.0], [0.4]])).tanh()
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 1))  # monotone where weights are positive
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(3):
    for xb, yb in loader:
        loss = nn.functional.mse_loss(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for layer in (model[0], model[2]):
            layer.weight.data.clamp_(0.0, 1.0)  # here
    print(epoch, loss.item())
