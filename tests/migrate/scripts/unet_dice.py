"""Segments discs with a small UNet; dice and binary cross entropy are written by hand."""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Discs(Dataset):
    def __init__(self, count, size=24):
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        g = torch.Generator().manual_seed(99)
        self.images, self.masks = [], []
        for _ in range(count):
            cy, cx = torch.randint(6, size - 6, (2,), generator=g).tolist()
            r = torch.randint(3, 7, (1,), generator=g).item()
            mask = ((rows - cy) ** 2 + (columns - cx) ** 2 <= r * r).float()
            self.images.append((mask + 0.5 * torch.randn(size, size, generator=g)).unsqueeze(0))
            self.masks.append(mask.unsqueeze(0))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


class DoubleConv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(
            nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
            nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
        )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.down1, self.down2 = DoubleConv(1, base), DoubleConv(base, 2 * base)
        self.bottom = DoubleConv(2 * base, 4 * base)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(4 * base, 2 * base, 2, stride=2)
        self.conv2 = DoubleConv(4 * base, 2 * base)
        self.up1 = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.conv1 = DoubleConv(2 * base, base)
        self.head = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.bottom(self.pool(b))
        d = self.conv2(torch.cat([self.up2(c), b], dim=1))
        e = self.conv1(torch.cat([self.up1(d), a], dim=1))
        return self.head(e)


def bce(logits, target):
    return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).mean()


def dice(logits, target, smooth=1.0):
    p = torch.sigmoid(logits).flatten(1)
    t = target.flatten(1)
    inter = (p * t).sum(1)
    return 1 - ((2 * inter + smooth) / (p.sum(1) + t.sum(1) + smooth)).mean()


if __name__ == "__main__":
    torch.manual_seed(5)
    loader = DataLoader(Discs(96), batch_size=8, shuffle=True)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(2):
        model.train()
        for images, masks in loader:
            logits = model(images)
            loss = 0.5 * bce(logits, masks) + 0.5 * dice(logits, masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = 1 - dice(model(images), masks, smooth=0.0)
        print(f"epoch {epoch}: loss {loss:.3f} dice {score:.3f}")
