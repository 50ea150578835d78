"""Workers that stand still: the time limit names where, the batch is tried again, nothing is lost."""

from __future__ import annotations

from typing import Any

STACK = r"was stuck for|Stack \(most|File \"|Current thread|Thread 0x|no stack"


def test_a_stopped_worker_is_replaced(scene: Any) -> None:
    """SIGSTOP, as a hanging network file system does it: after batch_timeout the worker is killed, its batch made again."""
    scene(
        """
        from scenes import *
        for rng in ("torch", "sample"):
            def make():
                return numpy_loader(Augmented(80, 0.004), batch_size=4, seed=1, rng=rng, batch_timeout=0.5)
            calm = undisturbed(make)
            loader = make()
            it = iter(loader)
            found = [flat(next(it))]
            os.kill(workers()[0].pid, signal.SIGSTOP)
            start = time.monotonic()
            found += [flat(batch) for batch in it]
            assert found == calm and time.monotonic() - start < 10
            assert loader.stats().restarts == 1, loader.stats()
        assert no_children()
        print("fine")
        """,
        stderr=STACK,
    )


def test_a_sample_that_never_returns(scene: Any) -> None:
    """Stuck once: the batch comes all the same. Stuck twice: WorkerTimeoutError with pid, indices and the Python stack."""
    done = scene(
        """
        from scenes import *
        import tempfile
        class Hanging(Ones):
            def __init__(self, path):
                super().__init__(24, 8)
                self.path = path
            def __getitem__(self, index):
                if index == 9 and not os.path.exists(self.path):
                    if self.path.endswith("once"):
                        open(self.path, "w").close()
                    self.sleep_here()
                return super().__getitem__(index)
            def sleep_here(self):
                time.sleep(60)
        with tempfile.TemporaryDirectory() as folder:
            for rng in ("torch", "sample"):
                once = numpy_loader(Hanging(f"{folder}/{rng}once"), batch_size=4, rng=rng, batch_timeout=0.4)
                assert [int(b[0, 0]) for b in once] == list(range(0, 24, 4))
                assert once.stats().restarts == 1
                always = numpy_loader(Hanging(f"{folder}/never"), batch_size=4, rng=rng, batch_timeout=0.4)
                exc = raises(dsb.WorkerTimeoutError, lambda: list(always))
                assert exc.indices == [8, 9, 10, 11] and exc.pid > 0 and "sleep_here" in exc.stack, exc
                assert "sleep_here" in str(exc)
                exc = None
        assert no_children()
        print("fine")
        """,
        stderr=STACK,
    )
    assert "sleep_here" in done.stderr
