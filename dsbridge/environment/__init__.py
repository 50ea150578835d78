"""The doctor: what this machine and its packages are, what is wrong with them, and what mends it."""
