"""BufferPool: memory is recycled when nobody holds it, and never before."""

from __future__ import annotations

import gc
import logging
import mmap
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch

from dsbridge.prefetch.buffers import BufferPool

BYTE = np.dtype(np.uint8)
MB = 1 << 20


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", ["u1", "?", "f4", "c16", "i8"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (1000, 7)])
def test_arrays(shape: tuple[int, ...], dtype: str) -> None:
    """Arrays have the shape and dtype asked for, are contiguous, aligned, writable, and theirs alone."""
    pool = BufferPool()
    first, second = pool.empty(shape, np.dtype(dtype)), pool.empty(shape, np.dtype(dtype))
    for array in (first, second):
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert _address(array) % 64 == 0
    assert not np.shares_memory(first, second)
    assert pool.leased == 2


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    """An array without elements takes no memory."""
    pool = BufferPool(max_bytes=1)
    assert pool.empty(shape, BYTE).shape == shape
    assert (pool.leased, pool.allocated, pool.spilled) == (0, 0, 0)


def test_recycled() -> None:
    """The memory of a dropped array is used again, for smaller ones as well."""
    pool = BufferPool()
    array = pool.empty((MB,), BYTE)
    address = _address(array)
    del array
    assert pool.leased == 0
    assert _address(pool.empty((MB,), BYTE)) == address
    assert _address(pool.empty((MB // 4, 3), BYTE)) == address
    assert pool.allocated == 1


def test_hottest_first() -> None:
    """The memory that came back last is the first to be used."""
    pool = BufferPool()
    arrays = [pool.empty((MB,), BYTE) for _ in range(3)]
    addresses = [_address(array) for array in arrays]
    for position in (1, 0, 2):
        arrays[position] = np.empty(0, np.uint8)
    assert [_address(array) for array in [pool.empty((MB,), BYTE) for _ in range(3)]] == [addresses[p] for p in (2, 0, 1)]


def test_far_too_large_memory_is_not_used() -> None:
    """A small array does not take a large buffer."""
    pool = BufferPool()
    pool.empty((8 * MB,), BYTE)
    small = pool.empty((MB,), BYTE)
    assert pool.allocated == 2
    del small


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array[10:20],
        lambda array: array.reshape(-1, 4).T[::2],
        lambda array: array.view(np.float32),
        torch.from_numpy,
        lambda array: torch.from_numpy(array).view(torch.int32)[3:4],
        memoryview,
    ],
)
def test_a_view_keeps_the_memory(hold: Any) -> None:
    """A view or a tensor over a part of an array keeps all of it."""
    pool = BufferPool()
    array = pool.empty((MB,), BYTE)
    address, view = _address(array), hold(array)
    del array
    gc.collect()
    assert pool.leased == 1
    assert _address(pool.empty((MB,), BYTE)) != address
    del view
    gc.collect()
    assert pool.leased == 0


def test_few_free_buffers_are_kept() -> None:
    """What comes back beyond a handful is given back to the system."""
    pool = BufferPool(max_bytes=100 * MB)
    arrays = [pool.empty((MB,), BYTE) for _ in range(20)]
    del arrays
    assert pool.leased == 0
    again = [pool.empty((MB,), BYTE) for _ in range(20)]
    assert 20 < pool.allocated < 40
    del again


def test_max_bytes_spills_and_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond max_bytes arrays come from ordinary memory, are counted, and the log says so once."""
    pool = BufferPool(max_bytes=2 * MB)
    with caplog.at_level(logging.WARNING, "dsbridge"):
        arrays = [pool.empty((MB,), BYTE) for _ in range(5)]
    assert (pool.leased, pool.spilled) == (2, 3)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "max_memory" in caplog.text
    del arrays
    pool.empty((MB,), BYTE)
    assert pool.spilled == 3


def test_free_memory_makes_room() -> None:
    """Free buffers of another size are given up before an array spills."""
    pool = BufferPool(max_bytes=4 * MB)
    arrays = [pool.empty((MB,), BYTE) for _ in range(4)]
    del arrays
    pool.empty((4 * MB,), BYTE)
    assert pool.spilled == 0


def test_smaller_than_max_bytes_by_pages() -> None:
    """An array larger than max_bytes spills, whatever is free."""
    pool = BufferPool(max_bytes=mmap.PAGESIZE)
    pool.empty((mmap.PAGESIZE + 1,), BYTE)
    assert pool.spilled == 1


def test_any_order() -> None:
    """Kept arrays keep their values while others come and go in a random order."""
    pool, rng = BufferPool(), random.Random(0)
    kept: dict[int, np.ndarray[Any, Any]] = {}
    for number in range(300):
        array = pool.empty((rng.choice([1000, 5000, 20000]),), np.dtype(np.int64))
        array[:] = number
        kept[number] = array
        del array
        while len(kept) > 10:
            del kept[rng.choice(list(kept))]
        assert all((value == key).all() for key, value in kept.items())
    assert pool.leased == len(kept)


def test_from_threads() -> None:
    """Arrays taken and dropped on several threads, also on others than took them, never share memory."""
    pool, wrong = BufferPool(), []
    shared: list[Any] = []

    def work(number: int) -> None:
        rng = random.Random(number)
        for step in range(200):
            array = pool.empty((rng.choice([1000, 3000]),), np.dtype(np.int64))
            array[:] = value = number * 1000 + step
            shared.append(array)
            if len(shared) > 5:
                shared.pop(0)
            if not (array == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.clear()
    assert not wrong
    assert pool.leased == 0


def test_pool_goes_before_its_arrays() -> None:
    """Arrays outlive the pool."""
    pool = BufferPool()
    array = pool.empty((MB,), BYTE)
    array[:] = 7
    del pool
    gc.collect()
    assert (array == 7).all()
