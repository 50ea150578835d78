"""CLIP in small: a learnable temperature (a scalar), a loss with a scalar buffer, a loader made anew for each epoch."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Two views of the same thing, and whether it is a large one."""

    def __init__(self, count=320):
        generator = torch.Generator().manual_seed(6)
        self.left = torch.randn(count, 12, generator=generator)
        self.right = self.left @ torch.randn(12, 9, generator=generator)

    def __len__(self):
        return len(self.left)

    def __getitem__(self, index):
        left = self.left[index] + 0.01 * torch.randn(12)
        return left, self.right[index], (self.left[index].norm() > 3.4).float()


class Clip(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.left, self.right = nn.Linear(12, width), nn.Linear(9, width)
        self.large = nn.Linear(width, 1)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, left, right):
        hidden = self.left(left)
        a, b = F.normalize(hidden, dim=-1), F.normalize(self.right(right), dim=-1)
        return self.logit_scale.exp() * a @ b.t(), self.large(hidden).squeeze(-1)


def main():
    torch.manual_seed(5)
    model = Clip()
    judge = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1.7))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    for epoch in range(4):
        for left, right, large in DataLoader(Pairs(), batch_size=40, shuffle=True):
            logits, size = model(left, right)
            same = torch.arange(len(left))
            loss = (F.cross_entropy(logits, same) + F.cross_entropy(logits.t(), same)) / 2 + judge(size, large)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}, scale {model.logit_scale.exp().item():.2f}")


if __name__ == "__main__":
    main()
