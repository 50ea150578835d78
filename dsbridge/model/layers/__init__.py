"""torch.nn's layers: one entry each, with its conditions. Every entry is tested by what it computes (tests/model/layers)."""
