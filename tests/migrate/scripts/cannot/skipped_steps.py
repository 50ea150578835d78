"""Batches with a large loss are left out, as people do when labels are dirty."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    torch.manual_seed(13)
    x = torch.randn(480, 5)
    y = x @ torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])
    y[::40] += 60  # dirty
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    skipped = 0
    for epoch in range(2):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb).squeeze(1), yb)
            if loss > 100:  # here
                skipped += 1
                continue
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, {skipped} batches skipped")


if __name__ == "__main__":
    main()
