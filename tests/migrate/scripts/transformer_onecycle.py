"""A transformer encoder sorts out which of two digits is more frequent; OneCycleLR moves every step."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=64):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[:, : x.size(1)]


class Encoder(nn.Module):
    def __init__(self, vocab=8, d_model=32, heads=4, layers=2, classes=2):
        super().__init__()
        self.d_model = d_model
        self.embed = nn.Embedding(vocab, d_model)
        self.position = PositionalEncoding(d_model)
        layer = nn.TransformerEncoderLayer(d_model, heads, dim_feedforward=64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, classes)

    def forward(self, src):
        x = self.position(self.embed(src) * math.sqrt(self.d_model))
        return self.head(self.norm(self.encoder(x)).mean(dim=1))


def build_loader(n=512, length=15, batch_size=64, seed=0):
    g = torch.Generator().manual_seed(seed)
    src = torch.randint(0, 8, (n, length), generator=g)
    target = ((src == 3).sum(1) > (src == 5).sum(1)).long()
    return DataLoader(TensorDataset(src, target), batch_size=batch_size, shuffle=True, generator=g)


def train(epochs=4, max_lr=5e-3):
    torch.manual_seed(1234)
    loader = build_loader()
    model = Encoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    scheduler = OneCycleLR(optimizer, max_lr=max_lr, epochs=epochs, steps_per_epoch=len(loader), pct_start=0.25)
    criterion = nn.CrossEntropyLoss()
    step = 0
    for _ in range(epochs):
        for src, target in loader:
            optimizer.zero_grad()
            logits = model(src)
            loss = criterion(logits, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            if step % 8 == 0:
                print(f"step {step:3d} lr {scheduler.get_last_lr()[0]:.5f} loss {loss:.4f}")
            step += 1


if __name__ == "__main__":
    train()
