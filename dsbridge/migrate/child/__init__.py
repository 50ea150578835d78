"""Runs in the script's process: hooks, the tape, and what is handed back."""
