"""A torch ResNet and a small transformer become MindSpore source, with their weights, and the proof that they are equal.

Run it: python examples/07_convert_model.py
"""

import mindspore as ms
import torch
from torch import nn

import dsbridge as dsb


class Block(nn.Module):
    def __init__(self, inside, outside, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = None
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        identity = x
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            identity = self.shortcut(x)
        return torch.relu(out + identity)


class ResNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(Block(16, 16), Block(16, 32, stride=2), Block(32, 32))
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.head(x.mean((2, 3)))


class Classifier(nn.Module):
    def __init__(self, vocabulary=100, width=32, classes=4):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


def main():
    torch.manual_seed(0)
    inputs = {"ResNet": (ResNet(), torch.randn(2, 3, 16, 16)), "Classifier": (Classifier(), torch.randint(0, 100, (2, 9)))}
    for name, (model, example) in inputs.items():
        migrated = dsb.model.convert(model, example)
        print(migrated.source)
        logits = migrated.cell(ms.Tensor(example.numpy()))  # live, with the model's weights
        print(f"{name}: {len(migrated.name_map)} tensors, logits of shape {logits.shape}")
        print(migrated.verify(), "\n")  # half a minute: PyNative and graph, eval and train mode, every gradient


if __name__ == "__main__":
    main()
