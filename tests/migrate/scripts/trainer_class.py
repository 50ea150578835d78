"""A Trainer with fit(), validate() and save()."""

import os
import tempfile

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset, random_split


class Blobs(Dataset):
    def __init__(self, n=640, classes=5, features=20, seed=3):
        g = torch.Generator().manual_seed(seed)
        self.centers = 2 * torch.randn(classes, features, generator=g)
        self.targets = torch.randint(classes, (n,), generator=g)
        self.data = self.centers[self.targets] + torch.randn(n, features, generator=g)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i], self.targets[i]


class MLP(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class Trainer:
    def __init__(self, model, train_loader, val_loader, lr=1e-2, device="cpu", save_dir=None):
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optim.Adam(self.model.parameters(), lr=lr, betas=(0.9, 0.99))
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=3)
        self.save_dir = save_dir
        self.history = {"train": [], "val": []}

    def _step(self, batch):
        inputs, targets = (t.to(self.device) for t in batch)
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(inputs), targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        losses = [self.criterion(self.model(x.to(self.device)), y.to(self.device)).item() for x, y in self.val_loader]
        return sum(losses) / len(losses)

    def fit(self, epochs):
        for epoch in range(1, epochs + 1):
            self.model.train()
            running = 0.0
            for batch in self.train_loader:
                running += self._step(batch)
            self.scheduler.step()
            self.history["train"].append(running / len(self.train_loader))
            self.history["val"].append(self.validate())
            print(f"[{epoch}/{epochs}] train {self.history['train'][-1]:.4f} val {self.history['val'][-1]:.4f}")
            if self.save_dir:
                torch.save(self.model.state_dict(), os.path.join(self.save_dir, f"model_{epoch}.pt"))


def main():
    torch.manual_seed(0)
    train_set, val_set = random_split(Blobs(), [512, 128])
    model = MLP([20, 64, 32, 5])
    with tempfile.TemporaryDirectory() as folder:
        train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
        trainer = Trainer(model, train_loader, DataLoader(val_set, batch_size=128), save_dir=folder)
        trainer.fit(3)


if __name__ == "__main__":
    main()
