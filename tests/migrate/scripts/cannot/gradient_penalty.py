"""A classifier whose gradient at the inputs is kept small: the loss has a gradient in it."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def penalty(model, x):
    x = x.clone().requires_grad_(True)
    out = model(x).sum()
    (grad,) = torch.autograd.grad(out, x, create_graph=True)  # here
    return (grad.norm(2, dim=1) - 1).pow(2).mean()


def main(lambda_gp=0.1):
    torch.manual_seed(2)
    x = torch.randn(384, 4)
    y = (x[:, 0] * x[:, 1] > 0).float().unsqueeze(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=48, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 48), nn.Softplus(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(4):
        for xb, yb in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(model(xb), yb) + lambda_gp * penalty(model, xb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"{epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    main()
