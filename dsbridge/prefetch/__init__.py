"""Memory that is recycled instead of allocated: bytes, slots and leases; knows no torch, no mindspore."""
