"""The learning rate is set by hand before every step, as DETR, MAE and many others do."""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def adjust_learning_rate(optimizer, epoch, args):
    """Half-cycle cosine after warm-up; epoch is a float."""
    if epoch < args["warmup_epochs"]:
        lr = args["lr"] * epoch / args["warmup_epochs"]
    else:
        progress = (epoch - args["warmup_epochs"]) / (args["epochs"] - args["warmup_epochs"])
        lr = args["min_lr"] + (args["lr"] - args["min_lr"]) * 0.5 * (1.0 + math.cos(math.pi * progress))
    for g in optimizer.param_groups:
        g["lr"] = lr * g.get("lr_scale", 1.0)
    return lr


def main(args):
    torch.manual_seed(args["seed"])
    x = torch.randn(480, 3, 8, 8)
    y = (x.mean((1, 2, 3)) * 40).clamp(-2, 2).round().long() + 2
    loader = DataLoader(TensorDataset(x, y), batch_size=48, shuffle=True, drop_last=True)

    patch = nn.Conv2d(3, 32, kernel_size=4, stride=4)
    body = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
    head = nn.Linear(32, 5)
    nn.init.zeros_(head.bias)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.body, self.head = patch, body, head

        def forward(self, images):
            tokens = self.patch(images).flatten(2).transpose(1, 2)
            tokens = tokens + self.body(tokens)
            return self.head(tokens.mean(1))

    model = Model()
    optimizer = torch.optim.AdamW(
        [
            {"params": list(patch.parameters()) + list(body.parameters()), "lr_scale": 0.5},
            {"params": head.parameters(), "lr_scale": 1.0},
        ],
        lr=args["lr"],
        betas=(0.9, 0.95),
    )
    loss_function = nn.CrossEntropyLoss()
    for epoch in range(args["epochs"]):
        for it, (images, labels) in enumerate(loader):
            lr = adjust_learning_rate(optimizer, it / len(loader) + epoch, args)
            loss = loss_function(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: lr {lr:.5f} loss {loss.item():.4f}")


if __name__ == "__main__":
    main({"epochs": 3, "warmup_epochs": 1, "lr": 1e-2, "min_lr": 1e-5, "seed": 0})
