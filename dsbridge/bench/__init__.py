"""``dsbridge bench``: how fast batches arrive, against other loaders, on this machine.

    workloads.py   what is loaded: a table; datasets.py has the torch Datasets behind it
    contenders.py  who loads it: a table; loaders.py, mindspore_loaders.py and peers.py have the code behind it
    child.py       one contender's process: opens it, runs epochs (epoch.py), answers in JSON lines
    process.py     the parent's end of that process; memory.py samples what its process tree holds
    runner.py      who runs when: contenders take turns, rounds are repeated
    results.py     what was measured; tables.py, page.py and plot.py show it, targets.py judges it
    own.py         the user's own loader as a workload, and the verdict on it

Importing any of these but datasets.py is light: frameworks are loaded in the contenders' processes.
"""
