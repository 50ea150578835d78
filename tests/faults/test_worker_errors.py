"""Exceptions on their way from a worker to the trainer."""

from __future__ import annotations

from typing import Any


def test_an_exception_keeps_what_it_is(scene: Any) -> None:
    """Type, arguments, attributes, the worker's traceback as cause, index and position; the iteration can go on."""
    scene(
        """
        from scenes import *
        import traceback
        class TwoArguments(Exception):
            def __init__(self, code, reason):
                super().__init__(code, reason)
                self.code = code
        class OwnText(ValueError):
            def __init__(self, code, reason):
                super().__init__(f"{code}: {reason}")
                self.code = code
        class Failing(Ones):
            def __init__(self, make):
                super().__init__(24, 4)
                self.make = make
            def __getitem__(self, index):
                if index == 9:
                    raise self.make()
                return super().__getitem__(index)
        makers = [lambda: TwoArguments(5, "bad"), lambda: OwnText(5, "bad"), lambda: KeyError("bad"),
                  lambda: FileNotFoundError(2, "bad", "x.png"), lambda: UnicodeDecodeError("utf-8", b"bad", 0, 1, "bad")]
        for make in makers:
            for rng in ("torch", "sample"):
                it = iter(numpy_loader(Failing(make), batch_size=4, rng=rng))
                got = [int(next(it)[0, 0]) for _ in range(2)]
                exc = raises(type(make()), lambda: next(it))
                assert (exc.dsb_index, exc.dsb_position) == (9, 2)
                assert getattr(exc, "code", 5) == 5
                text = "".join(traceback.format_exception(exc))
                assert "bad" in str(exc) and "dataset index 9" in text and "position 2" in text, text
                cause = str(exc.__cause__)
                assert "__getitem__" in cause and "raise self.make()" in cause and "in worker 0" in cause or rng == "sample"
                got += [int(b[0, 0]) for b in it]
                assert got == [0, 4, 12, 16, 20], got
        def collate(samples):
            raise TwoArguments(6, "in collate")
        exc = raises(TwoArguments, lambda: list(numpy_loader(Ones(24, 4), batch_size=4, collate_fn=collate)))
        assert exc.dsb_index == [0, 1, 2, 3] and exc.dsb_position == 0 and exc.code == 6
        def local():
            class Local(Exception):
                pass
            return Local("bad")
        exc = raises(dsb.SampleError, lambda: list(numpy_loader(Failing(local), batch_size=4)))
        assert exc.dsb_index == 9 and "Local" in str(exc) and "bad" in str(exc) and exc.__cause__ is not None
        def failing_init(worker):
            raise TwoArguments(7, "in init")
        exc = raises(TwoArguments, lambda: list(numpy_loader(Ones(24, 4), worker_init_fn=failing_init)))
        assert exc.code == 7
        del exc  # its traceback holds the iteration, which could go on
        assert no_children()
        print("fine")
        """
    )


def test_what_does_not_pickle_and_what_takes_too_long(scene: Any) -> None:
    """An unpicklable result is a TypeError naming its column; ``timeout`` is torch's RuntimeError, also afterwards."""
    scene(
        """
        from scenes import *
        class Locked(Ones):
            def __getitem__(self, index):
                return {"x": super().__getitem__(index), "lock": threading.Lock()}
        loader = numpy_loader(Locked(24, 4), batch_size=None)
        exc = raises(TypeError, lambda: next(iter(loader)))
        assert "'lock'" in str(exc) and "dataset index 0" in str(exc), exc
        exc = raises(TypeError, lambda: list(numpy_loader(Locked(24, 4), batch_size=4, collate_fn=lambda samples: samples)))
        assert "lock" in str(exc), exc
        class Slow(Ones):
            def __getitem__(self, index):
                if index == 6:
                    time.sleep(60)
                return super().__getitem__(index)
        for persistent in (False, True):
            for rng in ("torch", "sample"):
                loader = numpy_loader(Slow(24, 4), batch_size=2, timeout=0.3, persistent_workers=persistent, rng=rng)
                for _ in range(2):
                    got, start = [], time.monotonic()
                    exc = raises(RuntimeError, lambda: got.extend(int(b[0, 0]) for b in loader))
                    assert str(exc) == "DataLoader timed out after 0.3 seconds", exc
                    assert got == [0, 2, 4] and time.monotonic() - start < 3
                    assert no_children()
        print("fine")
        """
    )


def test_limits_at_the_start(scene: Any) -> None:
    """A file size or address space limit that is too small is a clear MemoryError, and leaves nothing."""
    scene(
        """
        from scenes import *
        import resource
        before = psutil.Process().num_fds()
        for limit, size in ((resource.RLIMIT_FSIZE, 1 << 20), (resource.RLIMIT_AS, 64 << 30)):
            old = resource.getrlimit(limit)
            resource.setrlimit(limit, (size, old[1]))
            exc = raises(MemoryError, lambda: list(numpy_loader(Ones(24, 4))))
            assert "ulimit" in str(exc) and "num_workers=0" in str(exc), exc
            resource.setrlimit(limit, old)
            del exc
        assert psutil.Process().num_fds() == before and no_children()
        assert len(list(numpy_loader(Ones(24, 4), batch_size=4))) == 6
        print("fine")
        """
    )
