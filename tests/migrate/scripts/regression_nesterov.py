# Linear-ish regression with plain SGD, momentum and nesterov, no scheduler and no seed.
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Housing(Dataset):
    def __init__(self, n=400):
        rng = np.random.RandomState(0)
        self.X = rng.randn(n, 8).astype(np.float32)
        w = rng.randn(8).astype(np.float32)
        self.y = self.X @ w + 0.5 * np.sin(3 * self.X[:, 0]) + 0.1 * rng.randn(n).astype(np.float32)
        self.y = self.y.astype(np.float32)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]  # numpy: the default collate makes tensors


train_loader = DataLoader(Housing(), batch_size=50, shuffle=True)

model = nn.Sequential(
    nn.Linear(8, 32),
    nn.ReLU(),
    nn.Linear(32, 32),
    nn.ReLU(),
    nn.Linear(32, 1),
)
loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)


def train(dataloader, model, loss_fn, optimizer):
    size = len(dataloader.dataset)
    for batch, (X, y) in enumerate(dataloader):
        pred = model(X)
        loss = loss_fn(pred.squeeze(1), y)

        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

        if batch % 4 == 0:
            print(f"loss: {loss.item():>7f}  [{(batch + 1) * len(X):>5d}/{size:>5d}]")


for t in range(4):
    print(f"Epoch {t + 1}\n-------------------------------")
    train(train_loader, model, loss_fn, optimizer)
print("Done!")
