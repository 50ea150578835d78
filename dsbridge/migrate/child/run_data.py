"""Fetches batches from a written data.py, in a process of its own: ``python run_data.py FOLDER JOB RESULT``.

JOB is a pickle of (how many batches of each epoch, the generators' states when each began); RESULT one of the batches.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from itertools import islice
from typing import Any

from dsbridge.migrate.generators import restore


def main(folder: str, job_file: str, result_file: str) -> None:
    """Fetch them; an error is the result."""
    sys.path.insert(0, folder)
    with open(job_file, "rb") as file:
        counts, states = pickle.load(file)
    try:
        data = importlib.import_module("data")
        loader = data.loader()
        result: Any = []
        for number, (count, state) in enumerate(zip(counts, states, strict=True)):
            if number:  # the first is data.py's to set; the script's training drew from them since
                restore(loader, state)
            result += [[one.asnumpy() for one in batch] for batch in islice(data.batches(loader), count)]
    except Exception as exc:
        result = f"{type(exc).__name__}: {exc}"
    with open(result_file, "wb") as file:
        pickle.dump(result, file)


if __name__ == "__main__":
    sys.path.pop(0)
    main(*sys.argv[1:])
