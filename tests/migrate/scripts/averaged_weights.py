"""Averages of the weights: AveragedModel with an exponential average, updated after each step, evaluated with."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
centres = torch.randn(4, 10)
labels = torch.randint(0, 4, (320,))
inputs = centres[labels] + 0.7 * torch.randn(320, 10)
train_loader = DataLoader(TensorDataset(inputs[:256], labels[:256]), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(inputs[256:], labels[256:]), batch_size=64)

net = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.98))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)


def accuracy(model):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
    return right / len(test_loader.dataset)


for epoch in range(4):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        ema.update_parameters(net)
    print(f"epoch {epoch}: {accuracy(net):.3f}, averaged {accuracy(ema):.3f}")
