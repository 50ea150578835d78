"""Pictures in folders, one folder a class; they are painted here first, if they are not there."""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.utils.data import DataLoader, Dataset


def paint(root, each=60, size=20):
    rng = random.Random(0)
    for shape in ("disc", "square", "cross"):
        (root / shape).mkdir(parents=True)
        for i in range(each):
            image = Image.new("RGB", (size, size), tuple(rng.randrange(100) for _ in "rgb"))
            draw, color = ImageDraw.Draw(image), tuple(rng.randrange(150, 256) for _ in "rgb")
            x, y, r = rng.randint(6, 13), rng.randint(6, 13), rng.randint(3, 6)
            box = (x - r, y - r, x + r, y + r)
            if shape == "disc":
                draw.ellipse(box, fill=color)
            elif shape == "square":
                draw.rectangle(box, fill=color)
            else:
                draw.line(box, fill=color, width=2)
                draw.line((box[0], box[3], box[2], box[1]), fill=color, width=2)
            image.save(root / shape / f"{i:03d}.png")


class Folder(Dataset):
    def __init__(self, root, transform=None):
        self.classes = sorted(p.name for p in root.iterdir() if p.is_dir())
        self.samples = [(path, k) for k, name in enumerate(self.classes) for path in sorted((root / name).glob("*.png"))]
        self.transform = transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, target = self.samples[index]
        with open(path, "rb") as f:
            image = Image.open(f).convert("RGB")
        return (self.transform(image) if self.transform else image), target


def transform(image):
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    array = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)
    return (array.permute(2, 0, 1) - 0.4) / 0.25


def main(root):
    if not root.exists():
        paint(root)
    random.seed(1)
    torch.manual_seed(1)
    dataset = Folder(root, transform)
    loader = DataLoader(dataset, batch_size=20, shuffle=True, num_workers=2, persistent_workers=True)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.InstanceNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(24, len(dataset.classes)),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(3):
        for images, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), targets)
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(epoch, f"{loss.item():.4f}")


if __name__ == "__main__":
    main(Path("shapes").resolve())
