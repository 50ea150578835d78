"""The worker pool with a program that knows no torch: channels, segment, slots, order, shared tasks, journal."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from dsbridge.errors import WorkerDiedError
from dsbridge.prefetch.channels import BATCH, END, ERROR, RESULT, TASK, Pipe, Result, Tokens
from dsbridge.prefetch.pool import Settings, WorkerPool
from dsbridge.prefetch.segment import CONTROL_WORDS, Segment
from dsbridge.prefetch.slots import Slots
from dsbridge.prefetch.worker import ALIGN, NONE, SLOT, TAKING, SlotWriter

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


class Counting:
    """Does what the payload says: ``add n`` writes n bytes; its journal is how much it has added so far."""

    def __init__(self, setup_fails: bool = False) -> None:
        self.total, self.epoch, self.setup_fails = 0, b"-", setup_fails

    def setup(self, worker: int, journal: bytes) -> None:
        """Go on where a predecessor was."""
        if self.setup_fails:
            os._exit(3)
        self.worker = worker
        self.total = int(journal or b"0")

    def begin(self, payload: bytes) -> None:
        """Note the epoch."""
        self.epoch = payload

    def produce(self, payload: bytes, writer: SlotWriter) -> tuple[int, bytes]:
        """``word number`` -> a result."""
        word, _, text = payload.partition(b" ")
        number = int(text or b"0")
        if word == b"end":
            return END, b""
        if word == b"error":
            writer.reserve(10)[:] = 1
            return ERROR, b"failed"
        if word == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == b"sleep":
            time.sleep(number / 1000)
        if word == b"die-once":
            self._die_once(text)
        self.total += number
        writer.reserve(number)[:] = number % 251
        return BATCH, b"%d %d %s %d" % (self.worker, self.total, self.epoch, number)

    @staticmethod
    def _die_once(text: bytes) -> None:
        try:
            os.close(os.open(b"died-" + text, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def journal(self) -> bytes:
        """The sum."""
        return b"%d" % self.total


def make_pool(workers: int = 2, in_flight: int = 8, **more: Any) -> WorkerPool:
    program = more.pop("program", None) or Counting()
    spare = more.pop("spare", None)
    context = multiprocessing.get_context(more.pop("start", "fork"))
    return WorkerPool(program, Settings(workers=workers, context=context, in_flight=in_flight, **more), spare)


def finish(pool: WorkerPool, number: int) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Wait for one result: (recipe, bytes). A lease ends where the recipe begins, at a multiple of 64."""
    result = pool.wait([number], 20)
    assert result is not None
    assert result.number == number
    recipe = pool.slots.recipe(result)
    data = pool.slots.lease(result)
    size = int(recipe.split()[3])
    assert data.size == -(-size // ALIGN) * ALIGN
    return recipe, data[:size]


# ---- pipes and tokens


def test_pipe_keeps_records_whole() -> None:
    """Records of many writers come out whole, in the order of each writer."""
    pipe = Pipe()
    threads = [
        threading.Thread(target=lambda who=who: [pipe.write(TASK.pack(who, n, -n)) for n in range(200)]) for who in range(4)
    ]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = {}
    for _ in range(800):
        who, number, negative = TASK.unpack(pipe.read(TASK.size))
        assert negative == -number
        seen.setdefault(who, []).append(number)
    for thread in threads:
        thread.join()
    assert list(seen.values()) == [list(range(200))] * 4
    pipe.close()


def test_pipe_ends() -> None:
    """The end of file comes when the writer is closed; closing twice is fine, and nothing refers to a closed pipe."""
    pipe = Pipe()
    pipe.write(b"last")
    pipe.close_writer()
    assert pipe.read(4) == b"last"
    assert pipe.read(4) == b""
    assert pipe.is_open
    pipe.close()
    pipe.close()
    assert not pipe.is_open
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        Pipe()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_pipe_drain_does_not_change_how_others_read() -> None:
    """drain empties a pipe without waiting, an empty one too, and readers still block afterwards."""
    pipe = Pipe()
    for n in range(5):
        pipe.write(TASK.pack(n, 0, 0))
    pipe.drain(TASK.size)
    pipe.drain(TASK.size)
    assert os.get_blocking(pipe.reader)
    threading.Timer(0.05, pipe.write, [TASK.pack(9, 0, 0)]).start()
    assert TASK.unpack(pipe.read(TASK.size))[0] == 9
    pipe.close()


def test_tokens() -> None:
    """Tokens are taken in the order given; -1 when there will be none; giving to a closed pipe is ignored."""
    tokens = Tokens()
    for slot in (3, 1):
        tokens.give(slot)
    assert [tokens.take(), tokens.take()] == [3, 1]
    tokens.close_writer()
    assert tokens.take() == -1
    tokens.close()
    tokens.give(4)
    assert not tokens.is_mine


def test_tokens_of_a_forked_child_are_not_its_own() -> None:
    """A child that inherits finalizers gives no slot back."""
    tokens = Tokens()
    pid = os.fork()
    if pid == 0:
        tokens.give(5)
        os._exit(1 if tokens.is_mine else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    tokens.give(6)
    assert tokens.take() == 6
    tokens.close()


# ---- segment


def test_segment_regions_do_not_overlap() -> None:
    """What is written to control, journal, tasks and slots stays where it is; the journal may be of any size up to half."""
    segment = Segment(workers=3, tasks=5)
    segment.reset()
    segment.control[:] = np.arange(3 * CONTROL_WORDS).reshape(3, CONTROL_WORDS)
    for worker in range(3):
        segment.write_journal(worker, worker, b"j%d" % worker * 1000)
    for number in range(5):
        segment.write_task(number, b"task %d" % number * 3000)
    for slot in (0, 1, 255):
        segment.slot(slot)[:3] = slot
        segment.slot(slot)[-3:] = slot
    assert (segment.control == np.arange(3 * CONTROL_WORDS).reshape(3, CONTROL_WORDS)).all()
    assert [segment.read_journal(worker, worker) for worker in range(3)] == [b"j%d" % worker * 1000 for worker in range(3)]
    assert [segment.read_task(n, len(b"task 0" * 3000)) for n in range(5)] == [b"task %d" % n * 3000 for n in range(5)]
    assert [segment.slot(slot)[-1] for slot in (0, 1, 255)] == [0, 1, 255]
    segment.close()


def test_journal_keeps_two_records() -> None:
    """The record before the last one stays; a torn one is none; an older one is gone."""
    segment = Segment(workers=1, tasks=1)
    segment.reset()
    assert segment.read_journal(0, 0) == b""
    for number in range(7):
        segment.write_journal(0, number, b"state %d" % number)
        assert segment.read_journal(0, number) == b"state %d" % number
        assert segment.read_journal(0, number - 1) == (b"state %d" % (number - 1) if number else b"")
        assert segment.read_journal(0, number - 2) == b""
    segment.reset()
    assert segment.read_journal(0, 6) == b""
    segment.close()


def test_segment_slots_are_reused() -> None:
    """A slot that was put back is the next to be taken; when all are taken there is none."""
    segment = Segment(workers=1, tasks=1, max_slots=3)
    assert [segment.take_slot() for _ in range(4)] == [0, 1, 2, None]
    segment.put_slot(1)
    assert [segment.take_slot(), segment.take_slot()] == [1, None]
    segment.close()


def test_segment_takes_only_what_is_written() -> None:
    """A terabyte of address space, two descriptors, and hardly a page of memory; arrays outlive close."""
    before = len(os.listdir("/proc/self/fd"))
    segment = Segment(workers=2, tasks=4)
    assert len(os.listdir("/proc/self/fd")) == before + 2  # the mapping has one of its own
    assert segment.size > 1 << 40
    assert os.fstat(segment.fd).st_blocks * 512 < 1 << 20
    view = segment.view(segment.slot_at(2), 100)
    view[:] = 9
    segment.close()
    segment.close()
    del segment
    gc.collect()
    assert view.sum() == 900
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del view
    assert len(os.listdir("/proc/self/fd")) == before


# ---- writer and slots


def test_writer_takes_a_slot_when_it_must() -> None:
    """No slot before the first byte; 64-byte aligned, one behind the other; offsets are found again; too much is refused."""
    segment = Segment(workers=1, tasks=1)
    segment.reset()
    tokens = Tokens()
    tokens.give(4)
    writer = SlotWriter(segment, tokens, segment.control[0])
    foreign = np.zeros(3, np.uint8)
    assert (writer.slot, writer.offset_of(foreign), segment.control[0, SLOT]) == (NONE, -1, NONE)
    first, second = writer.reserve(100), writer.reserve(7)
    assert segment.control[0, SLOT] == writer.slot == 4
    assert (first.ctypes.data % ALIGN, second.ctypes.data % ALIGN) == (0, 0)
    assert [writer.offset_of(array) for array in (first, second, first[5:], foreign)] == [0, 128, 5, -1]
    assert writer.used == 135
    assert writer.reserve(0).size == 0
    with pytest.raises(MemoryError, match="more than 4 GiB"):
        writer.reserve(4 << 30)
    tokens.close()
    segment.close()


def test_writer_says_that_it_waits_for_a_slot() -> None:
    """While a writer waits for a token its control block says so."""
    segment = Segment(workers=1, tasks=1)
    segment.reset()
    tokens = Tokens()
    writer = SlotWriter(segment, tokens, segment.control[0])
    thread = threading.Thread(target=writer.reserve, args=(1,))
    thread.start()
    deadline = time.monotonic() + 5
    while segment.control[0, SLOT] != TAKING and time.monotonic() < deadline:
        time.sleep(0.001)
    assert segment.control[0, SLOT] == TAKING
    tokens.give(2)
    thread.join()
    assert segment.control[0, SLOT] == 2
    tokens.close()
    segment.close()


def _result(slot: int, size: int) -> Result:
    return Result(0, BATCH, 0, slot, size + 10, size, 1)


def test_slots_lease_grow_spill() -> None:
    """Leased slots come back when the last view is gone; without free ones it grows; beyond max_bytes it copies out."""
    segment = Segment(workers=1, tasks=1, max_slots=8)
    slots = Slots(segment, 2, max_bytes=2500)
    kept = []
    for count in range(6):
        slot = slots.tokens.take()
        segment.slot(slot)[:1000] = count
        kept.append(slots.lease(_result(slot, 1000))[1:])
        slots.keep_moving([])
    assert slots.spilled > 0
    assert [int(array[0]) for array in kept] == list(range(6))
    leased = slots.leased
    assert leased + slots.spilled == 6
    assert leased <= 3
    kept.clear()
    assert slots.leased == 0
    assert {slots.tokens.take() for _ in range(leased)} <= set(range(8))
    slots.close()
    slots.tokens.close()
    segment.close()


def test_results_that_wait_are_copied_out() -> None:
    """Where every slot is leased or waits and none can be added, what waits is copied out: recipe and bytes stay."""
    segment = Segment(workers=1, tasks=1, max_slots=3)
    slots = Slots(segment, 3, None)
    taken = [slots.tokens.take() for _ in range(3)]
    for slot in taken:
        segment.slot(slot)[:110] = 50 + slot
    kept = slots.lease(_result(taken[0], 100))
    waiting = [Result(number, BATCH, 0, slot, 110, 100, number) for number, slot in enumerate(taken[1:], 1)]
    slots.keep_moving(waiting)
    slots.keep_moving(waiting)
    assert [slots.tokens.take(), slots.tokens.take()] == taken[1:]
    for slot in taken[1:]:
        segment.slot(slot)[:110] = 99  # a worker goes on
    assert slots.recipe(waiting[0]) == bytes([50 + taken[1]] * 10)
    assert slots.lease(waiting[0]).tolist() == [50 + taken[1]] * 100
    slots.release(waiting[1])  # its slot is a worker's by now
    slots.tokens.close_writer()
    assert slots.tokens.take() == -1
    assert (slots.grown, slots.spilled, int(kept[0])) == (0, 1, 50 + taken[0])
    slots.close()
    slots.tokens.close()
    segment.close()


def test_slots_go_back_to_the_segment() -> None:
    """After close the slots are the segment's again, those of kept batches when these are gone."""
    segment = Segment(workers=1, tasks=1, max_slots=3)
    slots = Slots(segment, 3, None)
    slot = slots.tokens.take()
    kept = slots.lease(_result(slot, 10))
    slots.close()
    slots.close()
    taken = {segment.take_slot(), segment.take_slot()}
    assert slot not in taken
    assert segment.take_slot() is None
    del kept
    assert segment.take_slot() == slot
    slots.tokens.close()
    segment.close()


# ---- pool


def test_in_order() -> None:
    """Results are handed over in the order asked for, whatever was ready first; recipes and bytes are the worker's own."""
    pool = make_pool()
    numbers = [pool.submit(b"sleep %d" % (30 - 10 * n if n < 3 else 1), n % 2, None) for n in range(6)]
    assert pool.outstanding == numbers
    for n, number in enumerate(numbers):
        recipe, data = finish(pool, number)
        assert recipe.startswith(b"%d " % (n % 2))
        assert len(data) == (30 - 10 * n if n < 3 else 1)
    assert pool.outstanding == []
    pool.close()
    assert pool.closed


def test_any_of_several() -> None:
    """wait gives whichever of the numbers is done first."""
    pool = make_pool()
    slow, fast = pool.submit(b"sleep 300", 0, None), pool.submit(b"add 1", 1, None)
    first = pool.wait([slow, fast], 20)
    second = pool.wait([slow, fast], 20)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (fast, slow)
    pool.close()


def test_time_limit() -> None:
    """wait returns None when the time is up, and the task goes on."""
    pool = make_pool(1)
    number = pool.submit(b"sleep 300", 0, None)
    start = time.monotonic()
    assert pool.wait([number], 0.05) is None
    assert time.monotonic() - start < 0.25
    assert finish(pool, number)[1].size == 300
    pool.close()


def test_shared_tasks_go_to_whoever_is_free() -> None:
    """While one worker is busy the other does the rest."""
    pool = make_pool(shared_tasks=True)
    slow = pool.submit(b"sleep 400", None, None)
    others = [pool.submit(b"add %d" % n, None, None) for n in range(1, 7)]
    start = time.monotonic()
    workers = {finish(pool, number)[0][:1] for number in others}
    assert time.monotonic() - start < 0.35
    assert len(workers) == 1
    assert finish(pool, slow)[0][:1] not in workers
    pool.close()


def test_ends_and_errors() -> None:
    """An end takes no slot; an error keeps its recipe and none of the bytes."""
    pool = make_pool(1)
    end, error = pool.submit(b"end", 0, None), pool.submit(b"error", 0, None)
    result = pool.wait([end], 20)
    assert result is not None
    assert (result.kind, result.slot, pool.slots.recipe(result)) == (END, NONE, b"")
    pool.slots.release(result)
    result = pool.wait([error], 20)
    assert result is not None
    assert (result.kind, result.recipe_at, pool.slots.recipe(result)) == (ERROR, 0, b"failed")
    pool.slots.release(result)
    pool.close()


def test_begin_reaches_every_worker() -> None:
    """A new epoch begins in each worker before its next task."""
    pool = make_pool(3)
    for epoch in (b"one", b"two"):
        pool.begin(epoch)
        numbers = [pool.submit(b"add 1", worker, None) for worker in range(3)]
        assert [finish(pool, number)[0].split()[2] for number in numbers] == [epoch] * 3
    pool.close()


@pytest.mark.parametrize("keep", ["first", "all", "none", "some"])
def test_kept_batches_are_never_overwritten(keep: str) -> None:
    """Whatever somebody keeps has its bytes for ever; out of slots the pool grows, and nothing waits for ever."""
    rng = random.Random(4)
    pool = make_pool(2, in_flight=4)
    kept: list[tuple[int, Any]] = []
    queue: list[tuple[int, int]] = []
    for n in range(400):
        queue.append((pool.submit(b"add %d" % (n + 1), n % 2, None), n + 1))
        if len(queue) == 4:
            number, size = queue.pop(0)
            _, data = finish(pool, number)
            if keep == "all" or (keep == "first" and not kept) or (keep == "some" and rng.random() < 0.5):
                kept.append((size, data))
            if keep == "some" and len(kept) > 20:
                del kept[rng.randrange(len(kept))]
    for size, data in kept:
        assert data.size == size
        assert (data == size % 251).all()
    assert (pool.slots.spilled > 0) == (keep == "all")  # more than the segment has slots
    assert pool.slots.grown <= {"none": 0, "first": 1}.get(keep, 256)
    pool.close()
    for size, data in kept:
        assert (data == size % 251).all()


def test_spilling_under_a_limit() -> None:
    """With max_bytes kept batches are copied out, and all of them are right."""
    pool = make_pool(2, in_flight=2, max_bytes=20_000)
    kept = [finish(pool, pool.submit(b"add %d" % (5000 + n), n % 2, None))[1] for n in range(30)]
    assert pool.slots.spilled >= 20
    assert [(data.size, int(data[-1])) for data in kept] == [(5000 + n, (5000 + n) % 251) for n in range(30)]
    pool.close()


def test_many_results_wait_undelivered() -> None:
    """All tasks may be done before the first result is taken: results that wait for delivery block no worker."""
    pool = make_pool(2, in_flight=12)
    numbers = [pool.submit(b"add %d" % n, n % 2, None) for n in range(12)]
    assert [finish(pool, number)[1].size for number in reversed(numbers)] == list(range(11, -1, -1))
    pool.close()


def test_a_segment_serves_the_next_pool() -> None:
    """A closed pool leaves its segment to the next one, whose numbers start anew; kept batches stay valid."""
    spare: list[Segment] = []
    pool = make_pool(spare=spare)
    kept = finish(pool, pool.submit(b"add 77", 0, None))[1]
    segment = pool.segment
    pool.close()
    assert spare == [segment]
    pool = make_pool(spare=spare)
    assert pool.segment is segment
    assert spare == []
    for n in range(20):
        finish(pool, pool.submit(b"add %d" % n, n % 2, None))
    assert kept.tolist() == [77] * 77
    pool.close()


# ---- deaths


@pytest.mark.parametrize("shared", [False, True])
def test_a_dead_worker_is_replaced(shared: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task is done once, and (where tasks are not shared) the successor goes on from the journal."""
    monkeypatch.chdir(tmp_path)
    pool = make_pool(2, in_flight=6, shared_tasks=shared)
    payloads = [b"die-once 5" if n == 4 else b"add 5" for n in range(12)]
    queue: list[int] = []
    totals: dict[bytes, list[int]] = {}
    for n in range(15):
        if n < 12:
            queue.append(pool.submit(payloads[n], None if shared else n % 2, n))
        if n >= 3:
            recipe, data = finish(pool, queue.pop(0))
            assert data.tolist() == [5] * 5
            totals.setdefault(recipe.split()[0], []).append(int(recipe.split()[1]))
    assert pool.stats.restarts == 1
    if not shared:
        assert totals == {b"0": [5, 10, 15, 20, 25, 30], b"1": [5, 10, 15, 20, 25, 30]}
    pool.close()


def test_a_task_that_kills() -> None:
    """A task whose workers all die is an error naming pid, signal and what it was about; the pool is closed."""
    pool = make_pool(2, in_flight=4, describe=lambda about: [about])
    good, bad = pool.submit(b"add 1", 0, 11), pool.submit(b"die", 1, 12)
    finish(pool, good)
    with pytest.raises(WorkerDiedError, match="12"):
        pool.wait([bad], 30)
    assert pool.closed


def test_on_worker_death_raise() -> None:
    """With on_worker_death="raise" the first death is an error."""
    pool = make_pool(1, on_worker_death="raise")
    number = pool.submit(b"die", 0, None)
    with pytest.raises(WorkerDiedError, match=r"SIGKILL|signal 9|9"):
        pool.wait([number], 30)
    assert pool.stats.restarts == 0
    assert pool.closed


def test_workers_that_never_start() -> None:
    """Workers that die before their first task are replaced max_restarts times, then it is an error."""
    pool = make_pool(1, program=Counting(setup_fails=True), max_restarts=2)
    number = pool.submit(b"add 1", 0, None)
    with pytest.raises(WorkerDiedError):
        pool.wait([number], 30)
    assert pool.stats.restarts == 2
    assert pool.closed


def test_a_dropped_pool_is_closed() -> None:
    """Without close, garbage collection ends the workers."""
    pool = make_pool()
    pids = pool.pids
    finish(pool, pool.submit(b"add 3", 0, None))
    del pool
    gc.collect()
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_close_does_not_wait_for_a_long_task() -> None:
    """Workers in the middle of something long are killed."""
    pool = make_pool()
    pool.submit(b"sleep 60000", 0, None)
    time.sleep(0.05)
    start = time.monotonic()
    pool.close()
    assert time.monotonic() - start < 1


def test_records_are_fixed() -> None:
    """Records fit into an atomic write."""
    assert max(TASK.size, RESULT.size) <= 512


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_other_start_methods(start: str, run_python: Any) -> None:
    """A loader with a module-level dataset gives the batches that it gives with fork, and leaves nothing behind."""
    code = """
        import sys
        import numpy as np
        import torch
        import dsbridge as dsb

        class Noisy(torch.utils.data.Dataset):
            def __len__(self):
                return 12

            def __getitem__(self, i):
                info = torch.utils.data.get_worker_info()
                return {"i": i, "x": torch.rand(3), "y": np.random.rand(2), "worker": info.id, "text": f"t{i}"}

        def init(worker):
            np.random.seed(worker)

        def epochs(start, **more):
            torch.manual_seed(1)
            kind = dict(batch_size=2, shuffle=True, num_workers=2, worker_init_fn=init, output="numpy", persistent_workers=True)
            with dsb.DataLoader(Noisy(), multiprocessing_context=start, **kind, **more) as loader:
                return [[(b["i"].tobytes(), b["x"].tobytes(), b["y"].tobytes(), b["worker"].tobytes(), b["text"])
                         for b in loader] for _ in range(2)]

        if __name__ == "__main__":
            for more in ({}, {"rng": "sample", "seed": 3}):
                a, b = epochs("fork", **more), epochs(sys.argv[1], **more)
                if more:
                    a, b = [[[[x[:3], x[4]] for x in e] for e in s] for s in (a, b)]
                assert a == b, (a, b)
                assert len(a) == 2 and len(a[0]) == 6
            print("same")
    """
    done = run_python(code, start, timeout_s=100)
    assert (done.returncode, done.stdout.strip()) == (0, "same"), done.stderr
    assert done.stderr.strip() == ""
