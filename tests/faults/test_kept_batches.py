"""Batches that somebody keeps: never overwritten, never a deadlock, whatever the limits."""

from __future__ import annotations

from typing import Any

import pytest


def test_three_hundred_kept_batches_with_few_descriptors(scene: Any) -> None:
    """ulimit -n 256 and 320 kept batches, more than there are slots: all valid, also when the loader is gone."""
    scene(
        """
        from scenes import *
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        for rng, in_order in (("torch", True), ("sample", True), ("sample", False)):
            data = Ones(1280, 2000)
            loader = numpy_loader(data, batch_size=4, rng=rng, in_order=in_order, prefetch_factor=8)
            kept = list(loader)
            assert len(kept) == 320
            firsts = [int(b[0, 0]) for b in kept]
            assert (firsts if in_order else sorted(firsts)) == list(range(0, 1280, 4))
            for batch, first in zip(kept, firsts):
                assert (batch == np.arange(first, first + 4)[:, None]).all()
            assert loader.stats().spilled_batches > 0
            more = list(loader)
            del loader
            for batch, first in zip(kept, firsts):
                assert (batch == np.arange(first, first + 4)[:, None]).all()
            del kept, more
        assert no_children()
        print("fine")
        """
    )


def test_one_kept_batch_of_each_epoch_costs_no_descriptor(scene: Any) -> None:
    """A user who keeps the last batch of every epoch keeps no pipe with it."""
    scene(
        """
        from scenes import *
        loader = numpy_loader(Ones(16, 2000), batch_size=4)
        kept = [list(loader)[-1]]
        before = psutil.Process().num_fds()
        kept += [list(loader)[-1] for _ in range(20)]
        assert psutil.Process().num_fds() <= before, (before, psutil.Process().num_fds())
        assert all((batch == np.arange(12, 16)[:, None]).all() for batch in kept)
        print("fine")
        """
    )


def test_keep_first_every_or_none_with_little_memory(scene: Any) -> None:
    """max_memory of a few batches: kept ones stay as they are, the rest is copied out and counted, nothing hangs."""
    scene(
        """
        from scenes import *
        nbytes = 16 * 20000 * 4
        for output in ("numpy", "mindspore"):
            for rng in ("torch", "sample"):
                for keep in ("first", "every", "none", "third"):
                    # the batch before, three of a worker that is ahead, one of the other: with these nothing is copied out
                    limit = {"first": 6, "none": 5}.get(keep, 3) * nbytes
                    loader = numpy_loader(Ones(16 * 60, 20000), batch_size=16, rng=rng, output=output, max_memory=limit)
                    kept = {}
                    for number, batch in enumerate(loader):
                        array = batch if output == "numpy" else batch.asnumpy()
                        assert int(array[0, 0]) == 16 * number
                        if keep == "every" or (keep == "first" and number == 0) or (keep == "third" and number % 3 == 0):
                            kept[number] = batch
                        del array
                    assert number == 59
                    for number, batch in kept.items():
                        array = batch if output == "numpy" else batch.asnumpy()
                        assert (array == np.arange(16 * number, 16 * number + 16)[:, None]).all(), (keep, number)
                    spilled = loader.stats().spilled_batches
                    assert (spilled >= 40) if keep == "every" else (spilled >= 5) if keep == "third" else spilled == 0, (
                        output, rng, keep, spilled)
                    batch = array = kept = None
        assert no_children()
        print("fine")
        """
    )


@pytest.mark.slow
def test_everything_prefetched_far_ahead(scene: Any) -> None:
    """A prefetch_factor beyond what pipes and slots hold neither hangs nor mixes anything up."""
    scene(
        """
        from scenes import *
        for rng in ("torch", "sample"):
            for prefetch_factor in (200, 3000):
                loader = numpy_loader(Ones(4000, 8), batch_size=1, rng=rng, prefetch_factor=prefetch_factor)
                assert [int(b[0, 0]) for b in loader] == list(range(4000))
        print("fine")
        """
    )


def test_shared_memory_of_64_mib(scene: Any) -> None:
    """A small /dev/shm, as containers have it, is no limit: batches do not live there."""
    scene(
        """
        from scenes import *
        import subprocess, sys
        if sys.argv[1:]:
            free = os.statvfs("/dev/shm")
            assert free.f_blocks * free.f_frsize == 64 << 20
            kept = list(numpy_loader(Ones(64, 600_000), batch_size=8))
            assert [int(batch[0, 0]) for batch in kept] == list(range(0, 64, 8))
        else:
            small = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
            done = subprocess.run(["unshare", "-mr", "bash", "-c", small, "-", sys.executable, __file__, "small"],
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        print("fine")
        """
    )
