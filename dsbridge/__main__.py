"""``python -m dsbridge``: the same as the console script."""

import sys

from dsbridge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
