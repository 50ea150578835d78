"""Samples and batches are dicts; the model takes some of the keys and returns a dict."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Items(Dataset):
    def __init__(self, n, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.numeric = torch.randn(n, 6, generator=g)
        self.category = torch.randint(0, 10, (n, 2), generator=g)
        self.price = 10 + self.numeric[:, 0] * 2 + self.category[:, 0] * 0.3

    def __len__(self):
        return len(self.price)

    def __getitem__(self, i):
        return {
            "id": f"item-{i}",
            "features": {"numeric": self.numeric[i], "category": self.category[i]},
            "label": self.price[i],
            "weight": 2.0 if i % 5 == 0 else 1.0,
        }


class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(10, 4), nn.Embedding(10, 4)])
        self.mlp = nn.Sequential(nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, numeric, category):
        embedded = [e(category[:, i]) for i, e in enumerate(self.embeddings)]
        hidden = torch.cat([numeric, *embedded], dim=-1)
        return {"prediction": self.mlp(hidden).squeeze(-1)}


def to_device(batch, device):
    return {
        k: v.to(device) if torch.is_tensor(v) else to_device(v, device) if isinstance(v, dict) else v for k, v in batch.items()
    }


def main():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(8)
    loader = DataLoader(Items(320), batch_size=32, shuffle=True)
    model = Tabular().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=30)
    loss_fn = nn.MSELoss(reduction="none")

    for epoch in range(3):
        model.train()
        for batch in loader:
            batch = to_device(batch, device)
            output = model(**batch["features"])
            loss = (loss_fn(output["prediction"], batch["label"]) * batch["weight"].float()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        print({"epoch": epoch, "loss": round(loss.item(), 4), "last": batch["id"][-1]})


if __name__ == "__main__":
    main()
