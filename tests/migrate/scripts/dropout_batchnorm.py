"""A convolutional network with BatchNorm and two kinds of dropout, Adagrad and ExponentialLR."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(31)


class Net(nn.Module):
    def __init__(self, p=0.25):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8, momentum=0.05)
        self.drop1 = nn.Dropout2d(p)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc1 = nn.Linear(16 * 25, 32)
        self.bn3 = nn.BatchNorm1d(32)
        self.drop2 = nn.Dropout(p)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = self.drop1(self.bn1(self.conv1(x)).relu())
        x = self.bn2(self.conv2(x)).relu()
        x = x.reshape(x.shape[0], -1)
        x = self.drop2(self.bn3(self.fc1(x)).relu())
        return self.fc2(x)


def data(n):
    g = torch.Generator().manual_seed(n)
    y = torch.randint(10, (n,), generator=g)
    x = torch.randn(n, 1, 10, 10, generator=g)
    x[torch.arange(n), 0, y] += 1.5  # a bright row
    return TensorDataset(x, y)


def test(model, loader):
    model.eval()
    loss, correct = 0, 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += nn.functional.cross_entropy(out, y, reduction="sum").item()
            correct += (out.argmax(1) == y).type(torch.float).sum().item()
    n = len(loader.dataset)
    print(f"  test: average loss {loss / n:.4f}, accuracy {100 * correct / n:.1f}%")


model = Net()
print(sum(p.numel() for p in model.parameters()), "parameters")
optimizer = torch.optim.Adagrad(model.parameters(), lr=0.03)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
train_loader = DataLoader(data(600), batch_size=64, shuffle=True)  # the last batch is smaller
test_loader = DataLoader(data(200), batch_size=100)

for epoch in range(3):
    model.train()
    for step, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 5 == 0:
            print(f"epoch {epoch} [{step}/{len(train_loader)}] loss {loss.item():.4f}")
    scheduler.step()
    test(model, test_loader)
