"""Mixed precision for GPUs, which is off on a CPU: autocast, GradScaler, pinned memory, channels last, a device everywhere."""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--no-amp", action="store_true")
    return parser.parse_args()


def build_model(classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, classes),
    )  # fmt: skip


def train_one_epoch(model, loader, criterion, optimizer, scaler, device, use_amp):
    model.train()
    running = 0.0
    for images, targets in loader:
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        targets = targets.to(device, non_blocking=True)
        with torch.autocast(device_type=device.type, dtype=torch.float16 if use_amp else torch.bfloat16, enabled=use_amp):
            outputs = model(images)
            loss = criterion(outputs, targets)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
        scaler.step(optimizer)
        scaler.update()
        running += loss.item() * images.size(0)
    return running / len(loader.dataset)


def main():
    args = parse_args()
    torch.manual_seed(11)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    use_amp = device.type == "cuda" and not args.no_amp
    labels = torch.randint(0, 4, (240,))
    images = torch.randn(240, 3, 8, 8) + torch.randn(4, 3, 1, 1)[labels]
    loader = DataLoader(TensorDataset(images, labels), args.batch_size, shuffle=True, pin_memory=device.type == "cuda")
    model = build_model(4).to(device, memory_format=torch.channels_last)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=use_amp)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 2], gamma=0.1)
    for epoch in range(args.epochs):
        loss = train_one_epoch(model, loader, criterion, optimizer, scaler, device, use_amp)
        scheduler.step()
        print(f"epoch {epoch + 1}: loss {loss:.4f}, rate {scheduler.get_last_lr()[0]:g}")
        torch.save({"model": model.state_dict(), "scaler": scaler.state_dict()}, "last.pt")


if __name__ == "__main__":
    main()
