"""One trunk, a class and a value to predict, two losses with weights; SequentialLR of a warm-up and a cosine."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

LAMBDA_CLS, LAMBDA_REG = 1.0, 0.5


class TwoHeads(nn.Module):
    def __init__(self, inputs=16, hidden=48, classes=4):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1))
        self.cls = nn.Linear(hidden, classes)
        self.reg = nn.Linear(hidden, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.cls(h), self.reg(h).squeeze(1)


torch.manual_seed(17)
x = torch.randn(512, 16)
label = x[:, :4].argmax(1)
value = x[:, 4:8].pow(2).sum(1).sqrt()
loader = DataLoader(TensorDataset(x, label, value), batch_size=64, shuffle=True)

model = TwoHeads()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, weight_decay=1e-4)
warmup = LinearLR(optimizer, start_factor=0.1, total_iters=8)
cosine = CosineAnnealingLR(optimizer, T_max=24, eta_min=1e-5)
scheduler = SequentialLR(optimizer, schedulers=[warmup, cosine], milestones=[8])

for epoch in range(4):
    for xb, label_b, value_b in loader:
        optimizer.zero_grad()
        logits, predicted = model(xb)
        loss_cls = F.cross_entropy(logits, label_b)
        loss_reg = F.l1_loss(predicted, value_b)
        loss = LAMBDA_CLS * loss_cls + LAMBDA_REG * loss_reg
        loss.backward()
        optimizer.step()
        scheduler.step()
    print(f"epoch {epoch}: cls {loss_cls.item():.4f} reg {loss_reg.item():.4f} total {loss.item():.4f}")
