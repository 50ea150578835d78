"""The command line: one module a command, listed in ``main.COMMANDS``. Results on stdout, progress on stderr."""
