"""Memory of large results: aligned, used again when nobody holds it, never while somebody does."""

import gc
import threading

import numpy as np
import pytest

import npool
from npool import memory

SIZE = 3 << 20


@pytest.fixture(autouse=True)
def nothing_kept():
    memory._blocks.clear()
    yield
    memory._blocks.clear()


def result(fill=None, size=SIZE):
    array = memory.empty((size // 4,), np.dtype(np.float32))
    if fill is not None:
        array[...] = fill
    return array


def place(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [(3,), (100, 100), (300, 300), (1024, 1025), (0, 5), ()])
@pytest.mark.parametrize("dtype", ["u1", "f4", "c16"])
def test_shape_dtype_and_alignment(shape, dtype):
    array = memory.empty(shape, np.dtype(dtype))
    assert array.shape == shape
    assert array.dtype == np.dtype(dtype)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    if array.nbytes >= memory.LARGE:
        assert place(array) % memory.LINE == 0
    array[...] = 1
    assert (array == 1).all()


def test_memory_is_used_again_when_the_result_is_gone():
    first = result(1)
    at = place(first)
    del first
    assert place(result()) == at


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[5:],
        lambda a: a.reshape(2, -1)[1],
        lambda a: a.view(np.uint8)[::3],
        lambda a: memoryview(a),
        lambda a: np.asarray(a[::2]).T,
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 3),
    ],
)
def test_memory_is_not_used_again_while_a_view_lives(view):
    first = result(7)
    seen = view(first)
    before = np.array(seen, copy=True)
    del first
    gc.collect()
    others = [result(fill) for fill in (1, 2, 3)]
    assert np.array_equal(np.asarray(seen), before)
    at = {place(memory._blocks[0])}
    del seen
    gc.collect()
    assert place(result()) - memory._start(memory._blocks[-1]) in at
    assert [int(other[0]) for other in others] == [1, 2, 3]


def test_no_more_is_kept_than_allowed():
    held = [result(0, memory.KEPT // 3) for _ in range(5)]
    held.clear()
    assert 0 < sum(kept.size for kept in memory._blocks) <= memory.KEPT + 2 * memory.LINE


def test_a_small_result_does_not_take_a_large_block():
    large = result(0, 32 << 20)
    del large
    small = result(0, 2 << 20)
    assert len(memory._blocks) == 2
    assert small.base.size < 4 << 20


def test_results_of_calls_that_overlap_are_apart():
    x = np.ones((1024, 1024), np.float32)
    wrong = []

    def work(value):
        for _ in range(30):
            mine = npool.max_pool(x * value, (3, 3), 1, 1)
            other = npool.avg_pool(x * value, (3, 3), 1, 1, count_include_pad=False)
            if not ((mine == value).all() and np.allclose(other, value)):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_short_way_of_small_calls_outlives_the_engines_cache():
    from npool.cpu import engine, schedule

    x = np.arange(60.0, dtype=np.float32).reshape(6, 10)
    wanted = npool.avg_pool(x, (2, 2))
    npool.avg_pool(x, (2, 2))
    for cached in (engine._prepared, schedule.schedule):
        cached.cache_clear()
    gc.collect()
    spoilt = [np.full(n, -1, np.int64) for n in (16, 32, 64, 256) for _ in range(200)]
    assert np.array_equal(npool.avg_pool(x, (2, 2)), wanted)
    del spoilt
