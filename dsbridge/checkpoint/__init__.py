"""Checkpoints of torch and MindSpore: read without running anything, planned, converted as streams, proven."""
