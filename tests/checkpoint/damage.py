"""Seeded damage to files: what a disk, a network or a hand does to them."""

from __future__ import annotations

import random


def damaged(whole: bytes, rng: random.Random) -> bytearray:
    """The bytes cut short, with one bit flipped, or with a piece of themselves put in."""
    data = bytearray(whole)
    match rng.randrange(3):
        case 0:
            del data[rng.randrange(len(data)) :]
        case 1:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case _:
            at, other = rng.randrange(len(data)), rng.randrange(len(data))
            data[at:at] = data[other : other + rng.randrange(1, 200)]
    return data
