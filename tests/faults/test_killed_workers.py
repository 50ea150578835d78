"""Workers that are killed, or kill themselves: nothing is lost, nothing comes twice, and a poison sample has a name."""

from __future__ import annotations

from typing import Any

import pytest

KILLED = """
    from scenes import *
    rng, in_order, persistent, seed = sys.argv[1], sys.argv[2] == "True", sys.argv[3] == "True", int(sys.argv[4])
    def make():
        return numpy_loader(Augmented(4000, 0.0011), batch_size=4, shuffle=True, rng=rng, seed=5, in_order=in_order,
                            persistent_workers=persistent, prefetch_factor=3)
    epochs = 2 if persistent else 1
    calm = undisturbed(make, epochs)
    found, killer = run_killed(make, 100, 0.014, seed, epochs)
    assert killer.killed == 100, killer.killed
    assert 60 <= killer.loader.stats().restarts <= 100, killer.loader.stats()
    if not in_order and rng == "torch":  # as in torch, who makes a batch depends on time, and random numbers on who
        calm, found = ([[pair for pair in batch if pair[0] in ("index", "name")] for batch in run] for run in (calm, found))
    if not in_order:
        calm, found = sorted(calm), sorted(found)
    assert len(found) == len(calm), (len(found), len(calm))
    wrong = [i for i, (a, b) in enumerate(zip(found, calm)) if a != b]
    assert not wrong, wrong[:10]
    assert no_children()
    print("fine")
"""


@pytest.mark.parametrize(("rng", "seed"), [("torch", 1), pytest.param("sample", 2, marks=pytest.mark.slow)])
def test_a_hundred_killed_workers_change_nothing(scene: Any, rng: str, seed: int) -> None:
    """100 SIGKILLs at random moments: every batch once, in order, equal to an undisturbed run, random numbers included."""
    scene("import sys" + KILLED.replace("\n    ", "\n"), rng, "True", "False", str(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rng", ["torch", "sample"])
@pytest.mark.parametrize(("in_order", "persistent"), [(True, False), (True, True), (False, False)])
def test_a_hundred_killed_workers_in_every_mode(scene: Any, rng: str, in_order: bool, persistent: bool, seed: int) -> None:
    """The same with other moments, out of order, and over two epochs of persistent workers."""
    scene("import sys" + KILLED.replace("\n    ", "\n"), rng, str(in_order), str(persistent), str(10 + seed), timeout_s=110)


def test_streams_go_on_exactly(scene: Any) -> None:
    """IterableDataset: the successor of a killed worker repeats nothing and loses nothing, in later epochs, too."""
    scene(
        """
        from scenes import *
        for rng in ("torch", "sample"):
            for persistent in (False, True):
                def make():
                    return numpy_loader(Stream(300, 0.002), batch_size=4, rng=rng, seed=3, persistent_workers=persistent)
                calm = undisturbed(make, 3)
                found, killer = run_killed(make, 12, 0.03, 4, 3)
                assert killer.loader.stats().restarts >= 3, killer.loader.stats()
                assert found == calm, (rng, persistent, [i for i, (a, b) in enumerate(zip(found, calm)) if a != b][:9])
        assert no_children()
        print("fine")
        """
    )


def test_streams_that_fail_go_on_exactly(scene: Any) -> None:
    """A batch that raised in a stream counts for the successor of a killed worker."""
    scene(
        """
        from scenes import *
        class Failing(torch.utils.data.IterableDataset):
            def __iter__(self):
                return self
            def __init__(self):
                self.n = -1
            def __next__(self):
                self.n += 1
                time.sleep(0.002)
                if self.n % 7 == 3:
                    raise ValueError(f"no {self.n}")
                if self.n > 100:
                    raise StopIteration
                return self.n, random.random()
        def run(disturb):
            it = iter(numpy_loader(Failing(), num_workers=1, batch_size=3, seed=1))
            found = []
            while True:
                try:
                    found.append(flat(next(it)))
                except ValueError as exc:
                    found.append(str(exc))
                except StopIteration:
                    return found
                if disturb and len(found) in (5, 11, 20):
                    os.kill(workers()[0].pid, signal.SIGKILL)
        assert run(True) == run(False)
        print("fine")
        """
    )


def test_signals_and_exits_in_the_dataset(scene: Any) -> None:
    """SIGTERM, os._exit(3) and sys.exit in a dataset, once: the batch is made again, and the log says what happened."""
    done = scene(
        """
        from scenes import *
        import sys, tempfile
        class Once(Ones):
            def __init__(self, act, path):
                super().__init__(40, 8)
                self.act, self.path = act, path
            def __getitem__(self, index):
                if index == 17 and not os.path.exists(self.path):
                    open(self.path, "w").close()
                    self.act()
                return super().__getitem__(index)
        acts = {
            "exit": lambda: os._exit(3),
            "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
            "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        }
        with tempfile.TemporaryDirectory() as folder:
            for name, act in acts.items():
                for rng in ("torch", "sample"):
                    loader = numpy_loader(Once(act, f"{folder}/{name}{rng}"), batch_size=4, rng=rng)
                    assert [int(b[0, 0]) for b in loader] == list(range(0, 40, 4))
                    assert loader.stats().restarts == 1
                    assert "restarts: 1" in str(loader.stats())
        loader = numpy_loader(Augmented(120, 0.005), batch_size=4, seed=1)  # somebody else sends SIGTERM
        found, killer = run_killed(lambda: loader, 3, 0.03, 1)
        assert len(found) == 30 and loader.stats().restarts >= 1
        print("fine")
        """
    )
    assert "exit code 3" in done.stderr
    assert "SIGTERM" in done.stderr
    assert "SIGSEGV" in done.stderr


def test_a_poison_sample_is_named(scene: Any) -> None:
    """A sample that kills each worker: WorkerDiedError with pid, signal and indices, after all batches before it."""
    scene(
        """
        from scenes import *
        class Poison(Ones):
            def __getitem__(self, index):
                if index == 21:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__getitem__(index)
        for rng in ("torch", "sample"):
            for persistent in (False, True):
                loader = numpy_loader(Poison(40, 8), batch_size=4, rng=rng, persistent_workers=persistent, max_restarts=3)
                start, got = time.monotonic(), []
                exc = raises(dsb.WorkerDiedError, lambda: got.extend(int(b[0, 0]) for b in loader))
                assert time.monotonic() - start < 5
                assert exc.signal == 9 and exc.indices == [20, 21, 22, 23] and exc.pid > 0
                for word in (str(exc.pid), "signal 9", "[20, 21, 22, 23]"):
                    assert word in str(exc), exc
                assert got == list(range(0, 20, 4))[: len(got)], got
                assert no_children()
                raises(dsb.WorkerDiedError, lambda: list(loader))  # the loader can be used again, and says the same
                assert no_children()
        single = numpy_loader(Poison(40, 8), batch_size=None, num_workers=1)
        assert raises(dsb.WorkerDiedError, lambda: list(single)).indices == [21]
        print("fine")
        """
    )


def test_raise_instead_of_restart(scene: Any) -> None:
    """on_worker_death="raise": the first death ends the iteration; a worker that never starts ends it as well."""
    scene(
        """
        from scenes import *
        for rng in ("torch", "sample"):
            loader = numpy_loader(Augmented(400, 0.005), batch_size=4, rng=rng, on_worker_death="raise")
            it = iter(loader)
            next(it)
            victim = workers()[0].pid
            os.kill(victim, signal.SIGKILL)
            exc = raises(dsb.WorkerDiedError, lambda: list(it))
            assert exc.pid == victim and exc.signal == 9
            assert no_children()
        def never(worker):
            os._exit(7)
        start = time.monotonic()
        exc = raises(dsb.WorkerDiedError, lambda: list(numpy_loader(Ones(40, 8), worker_init_fn=never, max_restarts=2)))
        assert exc.signal is None and time.monotonic() - start < 5
        assert no_children()
        print("fine")
        """
    )


def test_idle_workers_may_all_be_killed(scene: Any) -> None:
    """Workers that were killed while they had nothing to do are replaced, however many they are."""
    scene(
        """
        from scenes import *
        import warnings
        warnings.filterwarnings("ignore", "This DataLoader will create 6 worker processes")  # torch's advice
        for rng in ("torch", "sample"):
            loader = numpy_loader(Ones(96, 8), batch_size=4, num_workers=6, rng=rng, prefetch_factor=1)
            it = iter(loader)
            got = [int(next(it)[0, 0])]
            time.sleep(0.5)
            for worker in workers():
                os.kill(worker.pid, signal.SIGKILL)
            got += [int(b[0, 0]) for b in it]
            assert got == list(range(0, 96, 4)), got
        print("fine")
        """
    )


def test_far_ahead_out_of_order(scene: Any) -> None:
    """in_order=False with one slow batch and a worker killed in it: other tasks are not mixed up with it."""
    scene(
        """
        from scenes import *
        import tempfile
        class Slow(Ones):
            def __init__(self, path):
                super().__init__(400, 4)
                self.path = path
            def __getitem__(self, index):
                if index == 0 and not os.path.exists(self.path):
                    time.sleep(60)
                return super().__getitem__(index)
        for rng, persistent in (("sample", False), ("sample", True), ("torch", False)):
            with tempfile.TemporaryDirectory() as folder:
                loader = numpy_loader(Slow(folder + "/go"), batch_size=1, in_order=False, rng=rng, prefetch_factor=10,
                                      persistent_workers=persistent)
                it, got = iter(loader), []
                got += [int(next(it)[0, 0]) for _ in range(9)]
                if rng == "sample":
                    got += [int(next(it)[0, 0]) for _ in range(250)]
                open(folder + "/go", "w").close()
                for worker in workers():
                    os.kill(worker.pid, signal.SIGKILL)
                got += [int(b[0, 0]) for b in it]
                assert sorted(got) == list(range(400)), (rng, sorted(set(range(400)) - set(got)), len(got))
                loader.close()
        print("fine")
        """
    )


@pytest.mark.slow
def test_every_start_method_survives_a_second(scene: Any) -> None:
    """Workers of forkserver and spawn live on, are replaced when killed, and go when the loader goes."""
    scene(
        """
        from scenes import *
        if __name__ == "__main__":
            for method in ("forkserver", "spawn"):
                loader = numpy_loader(Augmented(60, 0.06), batch_size=2, seed=1, multiprocessing_context=method)
                calm = undisturbed(lambda: numpy_loader(Augmented(60), batch_size=2, seed=1))
                it = iter(loader)
                found = [flat(next(it))]
                found += [flat(batch) for batch in it]
                assert loader.stats().restarts == 0, loader.stats()
                assert found == calm
            loader = numpy_loader(Augmented(60, 0.02), batch_size=2, seed=1, multiprocessing_context="spawn")
            it = iter(loader)
            found = [flat(next(it))]
            for worker in [w for w in workers() if "spawn_main" in " ".join(w.cmdline())][:1]:
                os.kill(worker.pid, signal.SIGKILL)
            found += [flat(batch) for batch in it]
            assert found == calm and loader.stats().restarts == 1
            print("fine")
        """
    )
