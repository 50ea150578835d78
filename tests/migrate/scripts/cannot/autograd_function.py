"""A gradient written by hand: weights are binary in the forward pass, and the gradient passes straight through."""

import torch
from torch import nn
from torch.autograd import Function
from torch.utils.data import DataLoader, TensorDataset


class Binarize(Function):
    @staticmethod
    def forward(ctx, weight):
        ctx.save_for_backward(weight)
        return weight.sign() * weight.abs().mean()

    @staticmethod
    def backward(ctx, grad_output):
        (weight,) = ctx.saved_tensors
        return grad_output * (weight.abs() <= 1)


class BinaryLinear(nn.Linear):
    def forward(self, x):
        weight = Binarize.apply(self.weight)  # here
        return nn.functional.linear(x, weight, self.bias)


def main():
    torch.manual_seed(4)
    x = torch.randn(400, 12)
    y = (x[:, :6].sum(1) > x[:, 6:].sum(1)).long()
    loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
    model = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.Hardtanh(), BinaryLinear(32, 32), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(3):
        for xb, yb in loader:
            loss = nn.functional.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
