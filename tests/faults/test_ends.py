"""How an iteration ends: on purpose, by accident, with the trainer. Nothing is left, and nothing is said."""

from __future__ import annotations

from typing import Any

import pytest


def test_leaving_the_loop(scene: Any) -> None:
    """break, an exception in the loop, garbage collection (in a cycle, too) and close: the workers are gone at once."""
    scene(
        """
        from scenes import *
        import gc
        class Sleepy(Ones):
            def __getitem__(self, index):
                if index > 20:
                    time.sleep(60)
                return super().__getitem__(index)
        def loader(**more):
            return numpy_loader(Sleepy(400, 8), batch_size=2, **more)
        def leave(rng):
            for batch in loader(rng=rng):
                break
            assert no_children(), "break"
            def fail():
                for batch in loader(rng=rng):
                    raise ValueError("of the trainer")
            raises(ValueError, fail)
            assert no_children(), "exception"
            it = iter(loader(rng=rng))
            next(it)
            del it
            assert no_children(), "del"
            cycle = [iter(loader(rng=rng))]
            cycle.append(cycle)
            next(cycle[0])
            del cycle
            gc.collect()
            assert no_children(), "cycle"
            with loader(rng=rng, persistent_workers=True) as persistent:
                for batch in persistent:
                    break
                assert len(workers()) == 2
            assert no_children(), "close"
            persistent = loader(rng=rng, persistent_workers=True)
            it = iter(persistent)
            first = next(it)
            persistent.close()
            exc = raises(RuntimeError, lambda: list(it))
            assert "closed" in str(exc), exc
            assert first[1, 0] == 1
            for persistent_workers in (False, True):  # held on to, as a traceback does
                with loader(rng=rng, persistent_workers=persistent_workers) as left:
                    held = iter(left)
                    first = next(held)
                assert no_children(), "close of an iteration under way"
                for _ in range(2):
                    exc = raises(RuntimeError, lambda: next(held))
                    assert "closed" in str(exc), exc
                assert first[1, 0] == 1
        start = time.monotonic()
        for rng in ("torch", "sample"):
            leave(rng)
        assert time.monotonic() - start < 10
        print("fine")
        """
    )


def test_interpreter_exit_with_a_live_iterator(scene: Any) -> None:
    """The interpreter ends, by itself or by sys.exit, while workers sleep: quiet, at once, with the right exit code."""
    code = """
        from scenes import *
        import sys
        class Sleepy(Ones):
            def __getitem__(self, index):
                if index > 20:
                    time.sleep(60)
                return super().__getitem__(index)
        loader = numpy_loader(Sleepy(400, 8), batch_size=2, persistent_workers=sys.argv[1] == "persistent")
        it = iter(loader)
        batch = next(it)
        other = numpy_loader(Ones(400, 8), batch_size=2, rng="sample")
        other_it = iter(other)
        next(other_it)
        print("fine", flush=True)
        sys.exit(int(sys.argv[2]))
    """
    scene(code, "persistent", "0", timeout_s=20)
    scene(code, "not", "4", timeout_s=20, exit_code=4)


TRAINER_KILLED = """
    from scenes import *
    import subprocess, sys
    class Sleepy(Ones):
        def __getitem__(self, index):
            if index > 20:
                time.sleep(60)
            return super().__getitem__(index)
    if sys.argv[1:]:  # the trainer
        loaders = [numpy_loader(Sleepy(400, 8), batch_size=2, rng=rng) for rng in ("torch", "sample")]
        loaders.append(numpy_loader(Ones(10**6, 8), batch_size=2))
        its = [iter(loader) for loader in loaders]
        stranger = None
        if sys.argv[1] == "stranger":  # a process that inherited everything and lives on
            stranger = os.fork()
            if stranger == 0:
                time.sleep(8)
                os._exit(0)
        batches = [next(it) for it in its]
        pids = [w.pid for w in workers() if w.pid != stranger]
        print(*pids, flush=True)
        for batch in its[2]:
            pass
    else:
        for mode in ("alone", "stranger"):
            trainer = subprocess.Popen([sys.executable, __file__, mode], stdout=subprocess.PIPE, text=True)
            pids = [int(pid) for pid in trainer.stdout.readline().split()]
            assert len(pids) == 6, pids
            time.sleep(0.3)
            trainer.kill()
            trainer.wait()
            def alive():
                return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
            assert until(lambda: not alive(), 3), (mode, alive())
            trainer.stdout.close()
        mark = os.environ["DSB_FAULT_TEST"]
        def left():
            marked = [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("DSB_FAULT_TEST") == mark]
            return [p for p in marked if p.pid != os.getpid()]
        assert until(lambda: not left()), left()
        print("fine")
"""


def test_trainer_killed(scene: Any) -> None:
    """SIGKILL of the trainer: no worker after 3 s, those asleep in __getitem__ included, whoever else has the pipes."""
    scene(TRAINER_KILLED)


def test_control_c(scene: Any) -> None:
    """SIGINT to the whole process group, at any moment: KeyboardInterrupt in the trainer, not a word from workers."""
    scene(
        """
        from scenes import *
        import subprocess, sys
        class Sleepy(Ones):
            def __getitem__(self, index):
                if index > 20:
                    time.sleep(60)
                return super().__getitem__(index)
        if sys.argv[1:]:
            mode = sys.argv[1]
            import warnings
            warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes")  # torch's advice
            # Imports first: CPython ends with -SIGINT if the interrupt came through exec(), of which @dataclass is made.
            dsb.DataLoader([1])
            print("ready", flush=True)
            try:
                while mode == "starting":
                    for batch in numpy_loader(Ones(40, 8), batch_size=20, num_workers=4):
                        pass
                for batch in numpy_loader(Sleepy(400, 8), batch_size=2):
                    pass
            except KeyboardInterrupt:
                if mode == "uncaught":
                    raise
                print("interrupted", flush=True)
        else:
            random.seed(3)
            moments = [("waiting", 0.5), ("uncaught", 0.5)] + [("starting", 0.2 + random.random() / 3) for _ in range(4)]
            started = [subprocess.Popen([sys.executable, __file__, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, start_new_session=True) for mode, _ in moments]
            for (mode, moment), trainer in zip(moments, started):
                assert trainer.stdout.readline() == "ready\\n"
                time.sleep(moment)
                os.killpg(trainer.pid, signal.SIGINT)
                out, err = trainer.communicate(timeout=20)
                if mode == "uncaught":
                    assert trainer.returncode == -signal.SIGINT, trainer.returncode
                    assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt"), err
                else:
                    assert (trainer.returncode, out, err) == (0, "interrupted\\n", ""), (mode, trainer.returncode, out, err)
            print("fine")
        """,
        timeout_s=150,  # seven processes import torch, ten seconds each on a slow machine; after the signal each has 20
    )


CYCLES = """
    from scenes import *
    import gc, sys
    process = psutil.Process()
    def cycle(number):
        rng, persistent = ("torch", "sample")[number % 2], number % 4 > 1
        loader = numpy_loader(Ones(40, 1000), batch_size=4, rng=rng, persistent_workers=persistent)
        for count, batch in enumerate(loader):
            if count == number % 12:
                break
        loader.close()
    for number in range(8):
        cycle(number)
    gc.collect()
    gc.disable()  # nothing may depend on it
    fds, threads, memory = process.num_fds(), process.num_threads(), process.memory_info().vms
    rss = process.memory_info().rss
    for number in range(int(sys.argv[1])):
        cycle(number)
    assert no_children()
    assert process.num_fds() <= fds, (fds, process.num_fds())
    assert process.num_threads() <= threads
    assert process.memory_info().rss < rss + (20 << 20), (rss, process.memory_info().rss)
    assert process.memory_info().vms < memory + (1 << 30), "mappings"
    print("fine")
"""


def test_a_hundred_cycles_leak_nothing(scene: Any) -> None:
    """Open, iterate a bit, close: descriptors, processes, threads, memory and address space stay."""
    scene(CYCLES, "100")


@pytest.mark.slow
def test_a_thousand_cycles_leak_nothing(scene: Any) -> None:
    """The same a thousand times."""
    scene(CYCLES, "1000", timeout_s=115)
