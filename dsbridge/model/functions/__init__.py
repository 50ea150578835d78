"""torch's functions and methods: one entry each, with its conditions, as MindSpore expressions.

An entry has torch's parameter names and defaults, so that calling it binds a recorded call; what it does not take is refused.
"""
