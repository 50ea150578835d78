"""Train a small ResNet on scikit-learn's handwritten digits: a torch script as people write them.

Run it: python examples/08_migrate_script/train.py --epochs 2
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

sys.path.append(str(Path(__file__).resolve().parent.parent))
import torchvision_on_cpu  # noqa: F401  not needed where torchvision imports by itself
from torchvision import transforms

WARMUP = 10  # steps
NORMALIZE = transforms.Normalize((0.305,), (0.376,))
TRAIN = transforms.Compose([transforms.RandomCrop(8, padding=1), transforms.ToTensor(), NORMALIZE])
TEST = transforms.Compose([transforms.ToTensor(), NORMALIZE])


class Digits(Dataset):
    def __init__(self, train, transform):
        pixels, labels = load_digits(return_X_y=True)
        rows = slice(0, 1536) if train else slice(1536, None)
        self.images = np.clip(pixels[rows].reshape(-1, 8, 8) * 16, 0, 255).astype(np.uint8)
        self.labels, self.transform = labels[rows], transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        project = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = project if stride != 1 or inputs != outputs else nn.Identity()

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, width=16, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.layers = nn.Sequential(BasicBlock(width, width), BasicBlock(width, 32, 2), BasicBlock(32, 64, 2))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.layers(self.stem(x)), 1).flatten(1))


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hits = sum((model(images).argmax(1) == labels).sum().item() for images, labels in loader)
    return hits / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("checkpoints"))
    args = parser.parse_args()

    torch.manual_seed(0)
    train = DataLoader(Digits(True, TRAIN), args.batch_size, shuffle=True, num_workers=args.workers, drop_last=True)
    test = DataLoader(Digits(False, TEST), 256, num_workers=args.workers)
    model = ResNet()
    decay = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]  # norms and biases
    optimizer = torch.optim.AdamW([{"params": decay}, {"params": others, "weight_decay": 0.0}], lr=args.lr, weight_decay=0.05)
    steps = args.epochs * len(train)

    def rate(step):
        if step < WARMUP:
            return (step + 1) / WARMUP
        return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    args.output.mkdir(parents=True, exist_ok=True)

    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for images, labels in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(train):.4f}, test accuracy {evaluate(model, test):.4f}")
        state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"scheduler": scheduler.state_dict()}, args.output / f"epoch{epoch}.pth")


if __name__ == "__main__":
    main()
