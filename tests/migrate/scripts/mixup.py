"""Mixup in the loop, as in the paper's code."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

seed, alpha, lr, epochs = 20170922, 1.0, 0.05, 3
torch.manual_seed(seed)
np.random.seed(seed)


class Net(nn.Module):
    def __init__(self, num_classes=6):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.linear = nn.Linear(32, num_classes)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = F.avg_pool2d(out, 6)
        return self.linear(out.view(out.size(0), -1))


def mixup_data(x, y, alpha=1.0):
    """Returns mixed inputs, pairs of targets, and lambda"""
    lam = np.random.beta(alpha, alpha) if alpha > 0 else 1
    index = torch.randperm(x.size()[0])
    mixed_x = lam * x + (1 - lam) * x[index, :]
    y_a, y_b = y, y[index]
    return mixed_x, y_a, y_b, lam


def mixup_criterion(criterion, pred, y_a, y_b, lam):
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


g = torch.Generator().manual_seed(0)
targets = torch.randint(6, (320,), generator=g)
inputs = torch.randn(320, 3, 12, 12, generator=g)
inputs[torch.arange(320), targets % 3] += 0.5 + 0.5 * (targets // 3).view(-1, 1, 1)
trainloader = DataLoader(TensorDataset(inputs, targets), batch_size=32, shuffle=True)

net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)


def train(epoch):
    net.train()
    train_loss, correct, total = 0, 0, 0
    for x, y in trainloader:
        x, y_a, y_b, lam = mixup_data(x, y, alpha)
        outputs = net(x)
        loss = mixup_criterion(criterion, outputs, y_a, y_b, lam)
        train_loss += loss.item()
        predicted = torch.max(outputs.data, 1)[1]
        total += y.size(0)
        correct += (lam * predicted.eq(y_a.data).sum().float() + (1 - lam) * predicted.eq(y_b.data).sum().float()).item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Epoch {epoch}: Loss {train_loss / len(trainloader):.3f} | Acc {100 * correct / total:.1f}%")


def adjust_learning_rate(optimizer, epoch):
    """decrease the learning rate at the last epoch"""
    rate = lr / 10 if epoch >= 2 else lr
    for param_group in optimizer.param_groups:
        param_group["lr"] = rate


for epoch in range(epochs):
    adjust_learning_rate(optimizer, epoch)
    train(epoch)
