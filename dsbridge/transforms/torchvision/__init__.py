"""Readers and pins for torchvision's transforms, v1 and v2, one family a file; torchvision itself is never imported."""
