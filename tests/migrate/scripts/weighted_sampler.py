"""Rare classes are drawn as often as frequent ones, by a WeightedRandomSampler."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def set_seed(seed: int):
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def imbalanced(n: int = 500):
    labels = np.random.choice(3, size=n, p=[0.8, 0.15, 0.05])
    centers = np.array([[0, 0], [2, 2], [-2, 2]])
    points = centers[labels] + np.random.normal(scale=0.7, size=(n, 2))
    return torch.FloatTensor(points), torch.LongTensor(labels)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(2, 24)
        self.fc2 = nn.Linear(24, 24)
        self.fc3 = nn.Linear(24, 3)
        self.act = nn.PReLU()

    def forward(self, x):
        x = self.act(self.fc1(x))
        x = self.act(self.fc2(x))
        return torch.log_softmax(self.fc3(x), dim=1)


def main():
    set_seed(2024)
    points, labels = imbalanced()
    counts = torch.bincount(labels)
    sample_weights = (1.0 / counts.float())[labels]
    sampler = WeightedRandomSampler(sample_weights, num_samples=len(labels), replacement=True)
    loader = DataLoader(TensorDataset(points, labels), batch_size=50, sampler=sampler)

    model = Net()
    class_weights = torch.tensor([1.0, 1.5, 2.0])
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.8, dampening=0.1)
    scheduler = optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.02, max_lr=0.2, step_size_up=10, cycle_momentum=False)
    for epoch in range(3):
        seen = torch.zeros(3, dtype=torch.long)
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(x), y, weight=class_weights)
            loss.backward()
            optimizer.step()
            scheduler.step()
            seen += torch.bincount(y, minlength=3)
        print(epoch, round(loss.item(), 4), "classes seen:", seen.tolist())


if __name__ == "__main__":
    main()
