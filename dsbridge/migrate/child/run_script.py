"""Runs a script as ``python script.py ARGS`` would, and records it: ``run_script.py STEPS RESULT SOCKETS SCRIPT ARGS ...``."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import runpy
import signal
import sys
import traceback
from typing import Any

ENDED, FAILED = "ended", "failed"
PR_SET_PDEATHSIG = 1  # of prctl(2)


def main(steps: str, result: str, sockets: str, script: str, *args: str) -> None:
    """Run it to the end, or to where enough is recorded; the result is a pickle of (recording, how it ended).

    ``sockets``: the folder for those of multiprocessing, in place of one that each worker makes for itself: those that are
    stopped on the way, as most are here, do not take it away.
    """
    from dsbridge.migrate.child.session import Session, Stopped

    multiprocessing.current_process()._config["tempdir"] = sockets  # type: ignore[attr-defined]
    sys.argv = [script, *args]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    session = Session(int(steps))
    ended: tuple[str, str] = ("stopped", "")
    session.start()
    try:
        runpy.run_path(script, run_name="__main__")
        ended = (ENDED, "")
    except Stopped:
        pass
    except SystemExit as exc:
        ended = (ENDED, "") if not exc.code else (FAILED, f"it ended with exit code {exc.code}")
    except Exception as exc:
        ended = (FAILED, f"{type(exc).__name__}: {exc}\n{''.join(traceback.format_tb(exc.__traceback__)[-3:])}")
    made: Any = session.finish()
    with open(result, "wb") as file:
        pickle.dump((made, ended), file, protocol=pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    if sys.platform == "linux":  # if the process that watches is killed, nobody waits for this one
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sys.path.pop(0)  # this file's folder, whose modules are named like others
    sys.path.insert(0, "")
    main(*sys.argv[1:])
