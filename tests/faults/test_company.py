"""Loaders beside other loaders, other threads and both frameworks' own thread pools."""

from __future__ import annotations

from typing import Any


def test_t30_a_backward_pass_before_forking(scene: Any) -> None:
    """The trainer used torch's and numpy's threads; workers that use them again do not hang."""
    scene(
        """
        from scenes import *
        torch.set_num_threads(2)
        def work():
            a = torch.randn(300, 300, requires_grad=True)
            (a @ a @ a).sum().backward()
            np.linalg.svd(np.random.rand(120, 120))
            return a.grad
        work()
        class Heavy(Ones):
            def __getitem__(self, index):
                return work().numpy()[:4, :4]
        for rng in ("torch", "sample"):
            for batch in numpy_loader(Heavy(24), batch_size=4, rng=rng):
                work()
        assert torch.get_num_threads() == 2 and no_children()
        print("fine")
        """
    )


def test_t33_all_loaders_in_one_process(scene: Any) -> None:
    """torch, MindSpore and dsbridge loaders with workers, by turns and nested: each gives what it should."""
    scene(
        """
        from scenes import *
        import mindspore.dataset as mds
        class Numbers:
            def __len__(self):
                return 16
            def __getitem__(self, index):
                return np.full(4, index, np.float32)
        torch_data = torch.utils.data
        def by_torch():
            return [int(b[0, 0]) for b in torch_data.DataLoader(Ones(16, 4), batch_size=4, num_workers=2)]
        def by_mindspore():
            data = mds.GeneratorDataset(Numbers(), ["x"], shuffle=False, num_parallel_workers=2).batch(4)
            return [int(b[0].asnumpy()[0, 0]) for b in data.create_tuple_iterator(num_epochs=1)]
        def by_dsbridge(rng="torch"):
            loader = dsb.DataLoader(Ones(16, 4), batch_size=4, num_workers=2, rng=rng)
            return [int(b.asnumpy()[0, 0]) for b in loader]
        expected = [0, 4, 8, 12]
        for turn in range(3):
            assert by_torch() == by_mindspore() == by_dsbridge() == by_dsbridge("sample") == expected
        for b in numpy_loader(Ones(8, 4), batch_size=4, persistent_workers=True):
            assert by_torch() == by_mindspore() == by_dsbridge() == expected
        for b in torch_data.DataLoader(Ones(8, 4), batch_size=4, num_workers=2):
            assert by_dsbridge() == expected
        del b
        mine = numpy_loader(Ones(400, 4), batch_size=4)
        it = iter(mine)
        next(it)
        for worker in workers():  # another library's children may not be mistaken for ours, nor ours for theirs
            os.kill(worker.pid, signal.SIGKILL)
        assert by_torch() == by_mindspore() == expected
        assert len(list(it)) == 99 and mine.stats().restarts == 2
        print("fine")
        """,
        timeout_s=90,
    )


def test_two_at_once_and_in_threads(scene: Any) -> None:
    """Two loaders interleaved, one in a thread, four in four threads at once, one handed from thread to thread."""
    scene(
        """
        from scenes import *
        import sys
        sys.setswitchinterval(1e-4)
        expected = undisturbed(lambda: numpy_loader(Augmented(80), batch_size=4, seed=7))
        def make(rng="torch", **more):
            return numpy_loader(Augmented(80), batch_size=4, seed=7, rng=rng, **more)
        pairs = list(zip(make(), make()))
        assert [flat(a) for a, _ in pairs] == [flat(b) for _, b in pairs] == expected
        found, errors = {}, []
        def run(name, rounds):
            try:
                for turn in range(rounds):
                    found[name, turn] = undisturbed(make)
            except BaseException as exc:
                errors.append(exc)
                raise
        def all_of(count, rounds):
            threads = [threading.Thread(target=run, args=(n, rounds)) for n in range(count)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            assert not errors and len(found) == count * rounds
            assert all(batches == expected for batches in found.values())
            found.clear()
        all_of(1, 1)
        all_of(4, 6)
        # made and begun in a thread that ends (its death is not the trainer's), finished here
        box = []
        def begin():
            it = iter(make())
            box.extend([it, flat(next(it))])
        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        time.sleep(1.2)
        it, first = box
        assert [first, *map(flat, it)] == expected
        del it, box
        assert no_children()
        # a loader closed by another thread ends a wait
        class Sleepy(Ones):
            def __getitem__(self, index):
                time.sleep(60)
        loader = numpy_loader(Sleepy(9), persistent_workers=True)
        threading.Timer(0.3, loader.close).start()
        start = time.monotonic()
        exc = raises(RuntimeError, lambda: next(iter(loader)))
        assert "closed" in str(exc) and time.monotonic() - start < 5, exc
        assert no_children()
        print("fine")
        """
    )


def test_an_older_iteration_over_the_same_workers(scene: Any) -> None:
    """Persistent workers serve one iteration at a time: the older one says so instead of waiting for ever."""
    scene(
        """
        from scenes import *
        for rng in ("torch", "sample"):
            loader = numpy_loader(Ones(40, 8), batch_size=4, persistent_workers=True, rng=rng)
            old = iter(loader)
            next(old)
            new = iter(loader)
            assert [int(b[0, 0]) for b in new] == list(range(0, 40, 4))
            exc = raises(RuntimeError, lambda: list(old))
            assert "newer" in str(exc), exc
            assert len(list(loader)) == 10
            loader.close()
        print("fine")
        """
    )


def test_forked_children_of_the_trainer_keep_out(scene: Any) -> None:
    """A child that the trainer forked by itself drops what it inherited without stopping a worker or freeing a slot."""
    scene(
        """
        from scenes import *
        import gc
        loader = numpy_loader(Augmented(400, 0.001), batch_size=4, seed=2)
        expected = undisturbed(lambda: numpy_loader(Augmented(400), batch_size=4, seed=2))
        it = iter(loader)
        kept = [next(it) for _ in range(3)]
        child = os.fork()
        if child == 0:
            del kept, it, loader
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        found = [flat(b) for b in kept] + [flat(b) for b in it]
        assert found == expected and [flat(b) for b in kept] == expected[:3]
        assert loader.stats().restarts == 0
        print("fine")
        """
    )
