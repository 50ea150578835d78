# Physics people train in float64: a damped oscillator fitted with RMSprop.
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.manual_seed(9)

t = torch.linspace(0, 4, 240).unsqueeze(1)
displacement = torch.exp(-0.4 * t) * torch.cos(3 * t)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(t, displacement), batch_size=60, shuffle=True)


class Fourier(nn.Module):
    def __init__(self, features=16):
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(0.5, 4, features))
        self.hidden = nn.Linear(2 * features, 32)
        self.last = nn.Linear(32, 1)

    def forward(self, t):
        angles = t * self.frequencies
        return self.last(torch.tanh(self.hidden(torch.cat((angles.sin(), angles.cos()), -1))))


model = Fourier()
optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3, alpha=0.9, momentum=0.5, centered=True)
scheduler = torch.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.95)

for epoch in range(8):
    for tb, xb in loader:
        optimizer.zero_grad()
        loss = ((model(tb) - xb) ** 2).mean()
        loss.backward()
        optimizer.step()
    scheduler.step()
    if epoch % 2 == 1:
        print(f"epoch {epoch}: {loss.item():.3e} ({loss.dtype})")
