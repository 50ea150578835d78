"""A second set of weights follows the first, updated by hand after every step; it is what is evaluated and saved."""

import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@torch.no_grad()
def update_ema(ema_model, model, decay):
    for ema_param, param in zip(ema_model.parameters(), model.parameters()):
        ema_param.mul_(decay).add_(param, alpha=1 - decay)  # here


def main(decay=0.9):
    torch.manual_seed(29)
    x = torch.randn(400, 9)
    y = (x[:, 0] > x[:, 1:].mean(1)).long()
    loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
    model = nn.Sequential(nn.Linear(9, 40), nn.ReLU(), nn.Linear(40, 2))
    ema_model = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for epoch in range(3):
        for xb, yb in loader:
            loss = nn.functional.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            update_ema(ema_model, model, decay)
        with torch.no_grad():
            accuracy = (ema_model(x).argmax(1) == y).float().mean().item()
        print(f"epoch {epoch}: loss {loss.item():.4f}, accuracy of the average {accuracy:.3f}")


if __name__ == "__main__":
    main()
