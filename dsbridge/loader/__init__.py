"""dsbridge.DataLoader: torch's DataLoader with MindSpore tensors out."""
