"""The rules, one family a module; ``registry`` has all of them, and which keys they are for."""
