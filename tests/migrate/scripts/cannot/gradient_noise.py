"""Noise is added to the gradients between backward and step."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(sigma=0.01, max_norm=1.0):
    torch.manual_seed(43)
    x = torch.randn(400, 6)
    y = (x[:, 0] - x[:, 1] > 0.3).float()
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for epoch in range(4):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(xb), yb)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            for p in model.parameters():
                p.grad.add_(torch.randn_like(p), alpha=sigma)  # here
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    train()
