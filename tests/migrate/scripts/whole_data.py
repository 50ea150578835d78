"""All data in each step: a graph network on one graph, as in semi-supervised classification of nodes."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
NODES, CLASSES = 90, 3
labels = torch.randint(0, CLASSES, (NODES,))
same = (labels[:, None] == labels[None]).float()
adjacency = ((torch.rand(NODES, NODES) < 0.02 + 0.1 * same).float() + torch.eye(NODES)).clamp(max=1.0)
adjacency = adjacency / adjacency.sum(1, keepdim=True)
features = torch.randn(NODES, 16) + F.one_hot(labels, 16).float()
train_nodes = torch.arange(30)
test_nodes = torch.arange(30, NODES)


class GraphNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 24), nn.Linear(24, CLASSES)

    def forward(self, x, adj):
        return self.second(adj @ F.relu(self.first(adj @ x)))


model = GraphNet()
optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
epochs = 40

for epoch in range(epochs):
    model.train()
    optimizer.zero_grad()
    output = model(features, adjacency)
    loss = F.cross_entropy(output[train_nodes], labels[train_nodes])
    loss.backward()
    optimizer.step()
    scheduler.step()
    if epoch % 10 == 9:
        model.eval()
        with torch.no_grad():
            right = (model(features, adjacency)[test_nodes].argmax(1) == labels[test_nodes]).float().mean()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {right.item():.3f}")
