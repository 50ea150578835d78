"""Two learning rates: the features slow, the classifier fast; both divided by ten after every second epoch."""

from __future__ import annotations

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset

EPOCHS = 5
BATCH = 40


class Stripes(Dataset):
    """Stripes at one of four angles, with noise."""

    def __init__(self, size: int = 240) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index >= self.size:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(1000 + index)
        label = index % 4
        rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        angle = torch.tensor(label * torch.pi / 4)
        stripes = torch.sin(rows * angle.cos() + columns * angle.sin())
        return (stripes + 0.3 * torch.randn(16, 16, generator=generator))[None].expand(3, -1, -1).clone(), label


class Classifier(nn.Module):
    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Linear(16 * 16, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).view(x.size(0), -1))


def main() -> None:
    torch.manual_seed(7)
    loader = DataLoader(Stripes(), BATCH, shuffle=True, num_workers=1)
    net = Classifier()
    optimizer = torch.optim.SGD(
        [{"params": net.features.parameters(), "lr": 0.01}, {"params": net.classifier.parameters()}],
        lr=0.05,
        momentum=0.9,
        weight_decay=5e-4,
    )
    scheduler = StepLR(optimizer, step_size=2, gamma=0.1)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        net.train()
        correct = 0
        for x, y in loader:
            optimizer.zero_grad()
            out = net(x)
            loss = loss_fn(out, y)
            loss.backward()
            optimizer.step()
            correct += out.argmax(1).eq(y).sum().item()
        print(epoch, scheduler.get_last_lr(), correct / len(loader.dataset))
        scheduler.step()


if __name__ == "__main__":
    main()
