"""An autoencoder; Adam with amsgrad, batches cut from a permutation, gradients set to zeros instead of None."""

import torch
import torch.nn as nn

torch.manual_seed(101)


class Autoencoder(nn.Module):
    def __init__(self, inputs=24, code=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, 16), nn.ELU(), nn.Linear(16, code))
        self.decoder = nn.Sequential(nn.Linear(code, 16), nn.ELU(), nn.Linear(16, inputs), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


basis = torch.rand(6, 24)
samples = (torch.rand(512, 6) @ basis / 6).clamp(0, 1)

model = Autoencoder()
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, amsgrad=True, weight_decay=1e-6)

for epoch in range(4):
    permutation = torch.randperm(len(samples))
    epoch_loss = 0.0
    for i in range(0, len(samples), 64):
        batch = samples[permutation[i : i + 64]]
        optimizer.zero_grad(set_to_none=False)
        loss = criterion(model(batch), batch)
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * batch.size(0)
    print(f"Epoch {epoch:02d} | reconstruction {epoch_loss / len(samples):.6f}")
