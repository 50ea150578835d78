"""A backbone that is frozen (weights and BatchNorm statistics), and a new head that learns."""

import io

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset


def conv_block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(conv_block(3, 8), conv_block(8, 16), conv_block(16, 32))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))

    def forward(self, x):
        return torch.flatten(self.pool(self.layers(x)), 1)


class FineTuned(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x):
        return self.head(self.backbone(x))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self


def pretrained():
    """Stands for a download."""
    torch.manual_seed(11)
    buffer = io.BytesIO()
    torch.save(Backbone().state_dict(), buffer)
    buffer.seek(0)
    backbone = Backbone()
    backbone.load_state_dict(torch.load(buffer))
    return backbone


model = FineTuned(pretrained(), classes=3)
for param in model.backbone.parameters():
    param.requires_grad = False

torch.manual_seed(12)
images = torch.rand(288, 3, 16, 16)
labels = images.mean((2, 3)).argmax(1)
train_loader = DataLoader(TensorDataset(images[:256], labels[:256]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(images[256:], labels[256:]), batch_size=32)

criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=0.01)
exp_lr_scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 3], gamma=0.3)

for epoch in range(4):
    for phase, loader in (("train", train_loader), ("val", val_loader)):
        model.train(phase == "train")
        running_loss, running_corrects = 0.0, 0
        for inputs, targets in loader:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(inputs)
                _, preds = torch.max(outputs, 1)
                loss = criterion(outputs, targets)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            running_loss += loss.item() * inputs.size(0)
            running_corrects += torch.sum(preds == targets.data)
        if phase == "train":
            exp_lr_scheduler.step()
        n = len(loader.dataset)
        print(f"{phase} Loss: {running_loss / n:.4f} Acc: {running_corrects.double() / n:.4f}")
