"""dsbridge's own transforms: frozen dataclasses without torch, each proven bit-equal to torchvision's, one family a file."""
