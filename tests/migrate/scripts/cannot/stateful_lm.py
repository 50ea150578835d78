"""A language model whose state goes on from batch to batch (truncated backpropagation through time)."""

import torch
from torch import nn

BPTT, BATCH, VOCAB = 12, 8, 11


class RNNModel(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.encoder = nn.Embedding(VOCAB, 16)
        self.rnn = nn.LSTM(16, hidden, num_layers=1)
        self.decoder = nn.Linear(hidden, VOCAB)

    def forward(self, tokens, state):
        out, state = self.rnn(self.encoder(tokens), state)
        return self.decoder(out), state

    def init_hidden(self, batch):
        weight = next(self.parameters())
        return weight.new_zeros(1, batch, 32), weight.new_zeros(1, batch, 32)


def repackage_hidden(h):
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)  # here


def batchify(data, batch):
    rows = data.numel() // batch
    return data[: rows * batch].view(batch, rows).t().contiguous()


torch.manual_seed(1111)
steps = torch.arange(2800)
corpus = batchify((steps * steps // 3 + steps // 7) % VOCAB, BATCH)
model = RNNModel()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

hidden = model.init_hidden(BATCH)
for batch, i in enumerate(range(0, corpus.size(0) - 1, BPTT)):
    length = min(BPTT, corpus.size(0) - 1 - i)
    data, targets = corpus[i : i + length], corpus[i + 1 : i + 1 + length].reshape(-1)
    optimizer.zero_grad()
    hidden = repackage_hidden(hidden)
    output, hidden = model(data, hidden)
    loss = criterion(output.view(-1, VOCAB), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
    if batch % 10 == 0:
        print(f"batch {batch}: loss {loss.item():.3f}")
