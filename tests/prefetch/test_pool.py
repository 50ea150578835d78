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
from dsbridge.prefetch.members import Member
from dsbridge.prefetch.pool import Settings, WorkerPool
from dsbridge.prefetch.segment import CONTROL_WORDS, JOURNAL_BYTES, Segment
from dsbridge.prefetch.slots import Slots
from dsbridge.prefetch.worker import ALIGN, NONE, SLOT, WAITING, SlotWriter

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

    def begin(self, epoch: int, seed: int) -> None:
        """Note the epoch."""
        self.epoch = b"%d-%d" % (epoch, seed)

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
        threading.Thread(target=lambda who=who: [pipe.write(TASK.pack(who, n, -n, 0)) for n in range(200)]) for who in range(4)
    ]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = {}
    for _ in range(800):
        while not (record := pipe.read(TASK.size)):
            time.sleep(0.001)
        who, number, negative, _ = TASK.unpack(record)
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


def test_pipe_reads_do_not_block() -> None:
    """None where there is nothing; drain empties a pipe, an empty one too."""
    pipe = Pipe()
    assert pipe.read(TASK.size) is None
    for n in range(5):
        pipe.write(TASK.pack(n, 0, 0, 0))
    pipe.drain(TASK.size)
    pipe.drain(TASK.size)
    assert pipe.read(TASK.size) is None
    pipe.close()


def test_tokens() -> None:
    """The token given last comes first; None if there is none now, -1 if there will be none; a closed pipe ignores them."""
    tokens = Tokens()
    for slot in range(500):
        tokens.give(slot)
    taken = [tokens.take() for _ in range(501)]
    assert taken == [*range(499, -1, -1), None]
    assert not tokens.queued
    for slot in range(600):  # more than one atomic write holds
        tokens.give(slot)
    assert sorted(tokens.take() for _ in range(600)) == [*range(600)]  # type: ignore[type-var]
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
    """What is written to control, pages, places and slots stays where it is; too much for a place is refused."""
    segment = Segment(workers=3, places=5)
    segment.reset()
    segment.control[:] = np.arange(3 * CONTROL_WORDS).reshape(3, CONTROL_WORDS)
    segment.pages[:] = 7
    record = JOURNAL_BYTES - 16
    for place in range(5):
        segment.write_journal(place, 100 + place, b"%d" % place * record)
        segment.write_task(place, b"task %d" % place * 3000)
    for slot in (0, 1, 255):
        segment.slot(slot)[:3] = slot
        segment.slot(slot)[-3:] = slot
    assert (segment.control == np.arange(3 * CONTROL_WORDS).reshape(3, CONTROL_WORDS)).all()
    assert (segment.pages == 7).all()
    assert [segment.read_journal(place, 100 + place) for place in range(5)] == [b"%d" % p * record for p in range(5)]
    assert [segment.read_task(p, len(b"task 0" * 3000)) for p in range(5)] == [b"task %d" % p * 3000 for p in range(5)]
    assert [segment.slot(slot)[-1] for slot in (0, 1, 255)] == [0, 1, 255]
    with pytest.raises(ValueError, match="at most"):
        segment.write_journal(0, 1, bytes(record + 1))
    with pytest.raises(ValueError, match="more than 64"):
        segment.write_task(0, bytes((64 << 20) + 1))
    segment.close()


def test_journal_belongs_to_its_task() -> None:
    """A record is read with the number of its task only, and no more after a reset."""
    segment = Segment(workers=1, places=2)
    segment.reset()
    assert segment.read_journal(0, 0) == b""
    segment.write_journal(0, 4, b"state 4")
    segment.write_journal(1, 5, b"state 5")
    assert (segment.read_journal(0, 4), segment.read_journal(1, 5)) == (b"state 4", b"state 5")
    assert (segment.read_journal(0, 5), segment.read_journal(1, 4)) == (b"", b"")
    segment.write_journal(0, 6, b"state 6")
    assert segment.read_journal(0, 4) == b""
    segment.reset()
    assert segment.read_journal(0, 6) == b""
    segment.close()


def test_cold_slots_give_their_memory_up() -> None:
    """Memory stays behind the slots put back last, one more than workers; of the others it goes."""
    segment = Segment(workers=1, places=1)
    slots = [segment.take_slot() for _ in range(10)]
    for slot in slots:
        assert slot is not None
        segment.populate(slot, 0, 1 << 20)
        segment.slot(slot)[:5] = 1
    before = os.fstat(segment.fd).st_blocks * 512
    assert before >= 10 << 20
    for slot in slots:
        segment.put_slot(slot)  # type: ignore[arg-type]
    assert os.fstat(segment.fd).st_blocks * 512 <= before - (8 << 20)
    assert np.count_nonzero(segment.pages) == 2
    assert segment.take_slot() == slots[-1]
    assert segment.slot(9)[:5].tolist() == [1] * 5
    segment.close()


def test_segment_slots_are_reused() -> None:
    """A slot that was put back is the next to be taken; when all are taken there is none."""
    segment = Segment(workers=1, places=1, max_slots=3)
    assert [segment.take_slot() for _ in range(4)] == [0, 1, 2, None]
    segment.put_slot(1)
    assert [segment.take_slot(), segment.take_slot()] == [1, None]
    segment.close()


def test_segment_takes_only_what_is_written() -> None:
    """A terabyte of address space, two descriptors, and hardly a page of memory; arrays outlive close."""
    before = len(os.listdir("/proc/self/fd"))
    segment = Segment(workers=2, places=4)
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
    segment = Segment(workers=1, places=1)
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
    segment = Segment(workers=1, places=1)
    segment.reset()
    tokens = Tokens()
    said: list[int] = []
    writer = SlotWriter(segment, tokens, segment.control[0], lambda: said.append(1))
    thread = threading.Thread(target=writer.reserve, args=(1,))
    thread.start()
    deadline = time.monotonic() + 5
    while segment.control[0, SLOT] != WAITING and time.monotonic() < deadline:
        time.sleep(0.001)
    assert segment.control[0, SLOT] == WAITING
    tokens.give(2)
    thread.join()
    assert segment.control[0, SLOT] == 2
    assert said == [1]
    tokens.close()
    segment.close()


def _result(slot: int, size: int, number: int = 0) -> Result:
    return Result(number, BATCH, 0, slot, size + 10, size, 1, 2)


def _filled(slots: Slots, segment: Segment, size: int, value: int) -> Result:
    """What a worker does: take a slot, fill it."""
    slot = slots.tokens.take()
    assert slot is not None
    segment.slot(slot)[: size + 10] = value
    segment.pages[slot] = max(segment.pages[slot], size + 10)
    return _result(slot, size, value)


def test_slots_lease_grow_spill() -> None:
    """Leased slots come back when the last view is gone; without free ones it grows; beyond max_bytes it copies out."""
    segment = Segment(workers=1, places=1, max_slots=8)
    size = 1 << 20
    slots = Slots(segment, 1, 4, max_bytes=3 * size)
    kept = []
    for count in range(6):
        slots.keep_moving([], 1.0, 0.5)
        kept.append(slots.lease(_filled(slots, segment, size, count))[1:])
    assert (slots.leased, slots.spilled, slots.grown) == (2, 4, 2)
    assert [int(array[0]) for array in kept] == list(range(6))
    kept.clear()
    assert slots.leased == 0
    slots.close()
    segment.close()


def test_slots_in_circulation_are_few() -> None:
    """One more than workers; one more while the trainer waits and a worker is hungry; what comes back beyond is put aside."""
    segment = Segment(workers=2, places=1)
    slots = Slots(segment, 2, 4, None)
    first = [_filled(slots, segment, 100, n) for n in range(3)]
    assert slots.tokens.take() is None
    slots.keep_moving([], 1.0, None)
    assert slots.tokens.take() is None
    kept = [slots.lease(result) for result in first[:2]]
    assert slots.keep_moving([], 0.2, 0.5) == pytest.approx(0.3)  # not yet
    assert slots.grown == 0
    slots.keep_moving([], 1.0, 0.5)
    slots.keep_moving([], 1.0, 0.5)  # one is there by now
    assert slots.grown == 1
    third = slots.tokens.take()
    assert slots.tokens.take() is None
    kept.clear()
    assert slots.tokens.take() is not None  # three circulate: two with workers, this one
    assert slots.tokens.take() is None
    assert segment.take_slot() in {result.slot for result in first[:2]}
    assert third not in {result.slot for result in first}
    slots.close()
    segment.close()


def test_results_that_wait_are_copied_out() -> None:
    """Where every slot is leased or waits and none can be added, what waits is copied out: recipe and bytes stay."""
    segment = Segment(workers=2, places=1, max_slots=3)
    slots = Slots(segment, 2, 4, None)
    first, *waiting = [_filled(slots, segment, 100, 50 + n) for n in range(3)]
    kept = slots.lease(first)
    slots.keep_moving(waiting, 0.0, 0.5)
    slots.keep_moving(waiting, 0.0, 0.5)
    assert {slots.tokens.take(), slots.tokens.take()} == {result.slot for result in waiting}
    for result in waiting:
        segment.slot(result.slot)[:110] = 99  # a worker goes on
    assert slots.recipe(waiting[0]) == bytes([51] * 10)
    assert slots.lease(waiting[0]).tolist() == [51] * 100
    slots.release(waiting[1])  # its slot is a worker's by now
    assert slots.tokens.take() is None
    assert (slots.grown, slots.spilled, int(kept[0])) == (0, 1, 50)
    slots.close()
    segment.close()


def test_slots_go_back_to_the_segment() -> None:
    """After close the slots are the segment's again, those of kept batches when these are gone; no pipe stays open."""
    segment = Segment(workers=2, places=1, max_slots=3)
    before = len(os.listdir("/proc/self/fd"))
    slots = Slots(segment, 2, 4, None)
    result = _filled(slots, segment, 10, 3)
    kept = slots.lease(result)
    slots.close()
    slots.close()
    assert len(os.listdir("/proc/self/fd")) == before
    taken = {segment.take_slot(), segment.take_slot()}
    assert result.slot not in taken
    assert segment.take_slot() is None
    del kept
    assert segment.take_slot() == result.slot
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


def test_closed_pool_hands_over_nothing() -> None:
    """A result that had come in before the end is not handed over after it: its slot may serve the next pool by then."""
    pool = make_pool(1)
    first, second = pool.submit(b"add 1", 0, None), pool.submit(b"add 2", 0, None)
    finish(pool, second)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.wait([first], 20)


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
    for epoch in (1, 2):
        pool.begin(epoch, 5)
        numbers = [pool.submit(b"add 1", worker, None) for worker in range(3)]
        assert [finish(pool, number)[0].split()[2] for number in numbers] == [b"%d-5" % epoch] * 3
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
    assert pool.slots.grown <= {"none": 3, "first": 4}.get(keep, 256)
    pool.close()
    for size, data in kept:
        assert (data == size % 251).all()


def test_spilling_under_a_limit() -> None:
    """With max_bytes kept batches are copied out, and all of them are right."""
    limit = 2_000_000
    pool = make_pool(2, in_flight=2, max_bytes=limit)
    kept = [finish(pool, pool.submit(b"add %d" % (500_000 + n), n % 2, None))[1] for n in range(30)]
    assert pool.slots.spilled >= 20
    assert pool.segment.pages.sum() <= limit + (4 << 14)
    assert [(data.size, int(data[-1])) for data in kept] == [(500_000 + n, (500_000 + n) % 251) for n in range(30)]
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
    assert pool.restarts == 1
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
    assert pool.restarts == 0
    assert pool.closed


def test_workers_that_never_start() -> None:
    """Workers that die before their first task are replaced max_restarts times, then it is an error."""
    pool = make_pool(1, program=Counting(setup_fails=True), max_restarts=2)
    number = pool.submit(b"add 1", 0, None)
    with pytest.raises(WorkerDiedError):
        pool.wait([number], 30)
    assert pool.restarts == 2
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


class Reaped:
    """A dead process that another thread has reaped and not yet said so, as multiprocessing does when one starts."""

    pid, sentinel = 1, -1

    def __init__(self, told_after: int) -> None:
        self.asked, self.told_after, self.closed = 0, told_after, False

    def join(self, timeout: float | None = None) -> None:
        """waitpid knows no such child any more."""

    @property
    def exitcode(self) -> int | None:
        """None until the other thread has said it."""
        self.asked += 1
        return -9 if self.asked > self.told_after else None

    def close(self) -> None:
        """As multiprocessing's."""
        if self.exitcode is None:
            raise ValueError("Cannot close a process while it is still running.")
        self.closed = True


def test_a_process_that_another_thread_has_reaped() -> None:
    """Its end is waited for; where nobody ever learns of it (SIGCHLD ignored), it is left alone."""
    for told_after, code in ((5, -9), (10**9, None)):
        process = Reaped(told_after)
        member = Member(process, Pipe(), -1)
        assert member.reaped() == code
        member.forget()
        assert process.closed == (code is not None) and not member.tasks.is_open
