"""ReduceLROnPlateau on the validation loss, and the best weights kept."""

import copy
from collections import defaultdict

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset


def make_dataset():
    g = torch.Generator().manual_seed(21)
    x = torch.rand(600, 6, generator=g) * 2 - 1
    y = (x[:, 0] * x[:, 1] + x[:, 2].abs() - x[:, 3] ** 2).unsqueeze(1)
    return TensorDataset(x, y + 0.05 * torch.randn(y.shape, generator=g))


def run_epoch(model, loader, loss_fn, optimizer=None):
    training = optimizer is not None
    model.train(training)
    total, count = 0.0, 0
    for x, y in loader:
        with torch.set_grad_enabled(training):
            loss = loss_fn(model(x), y)
        if training:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        total += loss.item() * len(x)
        count += len(x)
    return total / count


def main(epochs=8, lr=0.05, patience=0):
    torch.manual_seed(2)
    dataset = make_dataset()
    train_loader = DataLoader(Subset(dataset, range(480)), batch_size=80, shuffle=True)
    valid_loader = DataLoader(Subset(dataset, range(480, 600)), batch_size=60)
    model = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.LayerNorm(48), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=patience)
    loss_fn = nn.SmoothL1Loss()
    history, best, best_state = defaultdict(list), float("inf"), None
    for epoch in range(epochs):
        history["train"].append(run_epoch(model, train_loader, loss_fn, optimizer))
        valid = run_epoch(model, valid_loader, loss_fn)
        history["valid"].append(valid)
        scheduler.step(valid)
        if valid < best:
            best, best_state = valid, copy.deepcopy(model.state_dict())
        print(f"{epoch}: train {history['train'][-1]:.5f} valid {valid:.5f} lr {optimizer.param_groups[0]['lr']:g}")
    model.load_state_dict(best_state)
    print("best", best)


if __name__ == "__main__":
    main()
