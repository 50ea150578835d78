"""Sentences of a toy language, padded by a collate function, classified by an LSTM."""

import random

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD, UNK = 0, 1
GOOD = "good great fine lovely happy".split()
BAD = "bad awful poor nasty sad".split()
OTHER = "the a film was and it very plot actor scene of with".split()


class Reviews(Dataset):
    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.samples = []
        for i in range(n):
            label = i % 2
            words = rng.choices(OTHER, k=rng.randint(4, 12)) + rng.choices(GOOD if label else BAD, k=2)
            rng.shuffle(words)
            self.samples.append((words, label))
        self.vocab = {w: i + 2 for i, w in enumerate(sorted(set(GOOD + BAD + OTHER)))}

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, idx):
        words, label = self.samples[idx]
        return torch.tensor([self.vocab.get(w, UNK) for w in words]), label


def collate(batch):
    texts, labels = zip(*batch)
    return pad_sequence(texts, batch_first=True, padding_value=PAD), torch.tensor(labels, dtype=torch.float32)


class LSTMClassifier(nn.Module):
    def __init__(self, vocab_size, embed=16, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed, padding_idx=PAD)
        self.lstm = nn.LSTM(embed, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, 1)

    def forward(self, tokens):
        mask = (tokens != PAD).unsqueeze(-1).float()
        states, _ = self.lstm(self.embedding(tokens))
        pooled = (states * mask).sum(1) / mask.sum(1)
        return self.out(pooled).squeeze(-1)


def accuracy(model, loader):
    model.eval()
    hits = total = 0
    with torch.no_grad():
        for tokens, labels in loader:
            hits += ((model(tokens) > 0).float() == labels).sum().item()
            total += len(labels)
    return hits / total


random.seed(0)
torch.manual_seed(0)

train_set, test_set = Reviews(320, seed=1), Reviews(64, seed=2)
train_loader = DataLoader(train_set, batch_size=32, shuffle=True, collate_fn=collate)
test_loader = DataLoader(test_set, batch_size=64, collate_fn=collate)

model = LSTMClassifier(len(train_set.vocab) + 2)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(3):
    model.train()
    for tokens, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(tokens), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy(model, test_loader):.3f}")
