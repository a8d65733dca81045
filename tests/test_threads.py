"""Threads: the settings, many callers at once, and calls while the interpreter shuts down."""

import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fresh_process import check_runs

import npool

#: Long enough that the engine shares the work out.
LARGE = np.random.default_rng(1).random((300, 4000), np.float32)


@pytest.fixture(autouse=True)
def _setting_is_put_back():
    before = npool.get_num_threads()
    yield
    npool.set_num_threads(before)


# --- settings ------------------------------------------------------------------------------------


def test_set_and_get():
    for n in (1, 3, 1024, np.int8(7)):
        npool.set_num_threads(n)
        assert npool.get_num_threads() == n
        assert type(npool.get_num_threads()) is int


@pytest.mark.parametrize("n", [0, -1, 1025, 2**70])
@pytest.mark.parametrize(
    "set_to", [npool.set_num_threads, lambda n: npool.num_threads(n).__enter__()]
)
def test_bad_numbers_change_nothing(n, set_to):
    before = npool.get_num_threads()
    with pytest.raises(ValueError, match=rf"1 to 1024, got {n}"):
        set_to(n)
    for value in (1.0, "1", None, True, np.True_, [1], np.array([1, 2])):
        with pytest.raises(TypeError, match="integer"):
            set_to(value)
    assert npool.get_num_threads() == before


def test_the_context_nests_and_is_left_by_an_exception():
    npool.set_num_threads(5)
    with npool.num_threads(2):
        assert npool.get_num_threads() == 2
        with npool.num_threads(9):
            assert npool.get_num_threads() == 9
        npool.set_num_threads(6)  # of the process: the context still holds here
        assert npool.get_num_threads() == 2
        with pytest.raises(KeyError), npool.num_threads(3):
            raise KeyError
        assert npool.get_num_threads() == 2
    assert npool.get_num_threads() == 6


def test_the_context_is_the_threads_own():
    npool.set_num_threads(4)
    inside, leave = threading.Event(), threading.Event()
    seen = {}

    def other():
        seen["before"] = npool.get_num_threads()
        with npool.num_threads(3):
            inside.set()
            leave.wait(30)
            seen["inside"] = npool.get_num_threads()

    with npool.num_threads(2):
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(30)
        seen["here"] = npool.get_num_threads()
        npool.max_pool(LARGE, (2, 2))
        leave.set()
        thread.join()
    assert seen == {"before": 4, "inside": 3, "here": 2}
    assert npool.get_num_threads() == 4


GET = "import npool; print(npool.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"NPOOL_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "5", "OMP_NUM_THREADS": "7"}, 3),
        ({"NUMBA_NUM_THREADS": "5", "OMP_NUM_THREADS": "7"}, 5),
        ({"OMP_NUM_THREADS": "7"}, 7),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": " 6 "}, 6),
        ({"NPOOL_NUM_THREADS": "", "OMP_NUM_THREADS": "7"}, 7),
        ({"NPOOL_NUM_THREADS": "99999"}, 1024),
        ({"NPOOL_NUM_THREADS": "zero", "OMP_NUM_THREADS": "2"}, 2),
        ({"NPOOL_NUM_THREADS": "0", "OMP_NUM_THREADS": "2"}, 2),
        ({"NPOOL_NUM_THREADS": "-4", "OMP_NUM_THREADS": "2"}, 2),
        ({"NPOOL_NUM_THREADS": "2.5", "OMP_NUM_THREADS": "2"}, 2),
        ({"NPOOL_NUM_THREADS": "²", "OMP_NUM_THREADS": "2"}, 2),
        ({"NPOOL_NUM_THREADS": "9" * 5000, "OMP_NUM_THREADS": "2"}, 2),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_environment_says_how_many(environment, threads):
    names = ("NPOOL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
    settings = {**dict.fromkeys(names), **environment}
    assert check_runs(GET, **settings) == f"{threads}\n"


def test_otherwise_the_cpus_that_the_process_may_use():
    names = ("NPOOL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
    unset = dict.fromkeys(names)
    if not hasattr(os, "sched_setaffinity"):
        assert int(check_runs(GET, **unset)) >= 1
        return
    mine = os.sched_getaffinity(0)
    assert check_runs(GET, **unset) == f"{min(len(mine), 1024)}\n"
    one = f"import os; os.sched_setaffinity(0, [{min(mine)}]); {GET}"
    assert check_runs(one, **unset) == "1\n"


def test_setting_threads_loads_no_numba():
    code = """
        import sys, npool
        npool.set_num_threads(3)
        with npool.num_threads(2):
            npool.get_num_threads()
        print("numba" in sys.modules)
    """
    assert check_runs(code) == "False\n"


# --- many callers at once ------------------------------------------------------------------------


def calls():
    """Calls of many kinds, large and small, as (name, function)."""
    small = LARGE[:5, :40]
    return [
        ("max", lambda: npool.max_pool(LARGE, (3, 3), 2, 1)),
        ("max with indices", lambda: npool.max_pool(LARGE, (2, 2), return_indices=True)[1]),
        ("sum", lambda: npool.sum_pool(LARGE, (31,), 1)),
        ("avg", lambda: npool.avg_pool(LARGE, (5, 5), 1, 2, count_include_pad=False)),
        ("range", lambda: npool.pool(LARGE, 7, 3, reduce="range", axes=0)),
        ("small", lambda: npool.max_pool(small, (2, 2))),
        ("refused", lambda: npool.max_pool(small, (2, 2), padding=-1)),
        ("raises", lambda: npool.pool(LARGE, (2, 2), reduce=RAISES)),
    ]


def _raise(a, b):
    if a + b > 3:
        raise ValueError("more than 3")
    return a + b


RAISES = npool.Reducer("raises", _raise, 0.0)


def answer(call):
    """The bytes of a result, or the words of an error."""
    try:
        return call().tobytes()
    except ValueError as error:
        return str(error)


def test_many_threads_at_once():
    with npool.num_threads(1):
        wanted = {name: answer(call) for name, call in calls()}
    assert wanted["raises"] == "more than 3"
    assert "padding" in wanted["refused"]
    start = threading.Barrier(8)
    failures = []

    def body(seed):
        rng = np.random.default_rng(seed)
        start.wait()
        for _ in range(6):
            for name, call in rng.permutation(np.array(calls(), object)):
                with npool.num_threads(int(rng.integers(1, 5))):
                    got = answer(call)
                if got != wanted[name]:
                    failures.append((seed, name))

    threads = [threading.Thread(target=body, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_pool_of_threads_that_call_from_pools():
    wanted = npool.sum_pool(LARGE, (9,), 2).tobytes()
    with ThreadPoolExecutor(6) as outer:

        def nested(_):
            with ThreadPoolExecutor(2) as inner:
                return [f.result() for f in [inner.submit(answer, call) for _ in range(3)]]

        def call():
            return npool.sum_pool(LARGE, (9,), 2)

        for got in outer.map(nested, range(6)):
            assert got == [wanted] * 3


def test_one_pool_a_process():
    def ours():
        return [thread for thread in threading.enumerate() if thread.name == "npool"]

    npool.set_num_threads(5)
    npool.sum_pool(LARGE, (9,), 2)
    before = len(ours())
    assert before >= 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: npool.sum_pool(LARGE, (9,), 2), range(8)))
    assert len(ours()) == before
    assert all(thread.daemon for thread in ours())


def test_small_calls_wake_no_thread():
    code = """
        import threading, numpy as np, npool
        npool.set_num_threads(4)
        x = np.zeros((30, 40), np.float32)
        for _ in range(3):
            npool.max_pool(x, (3, 3), 2, 1)
        print(threading.active_count())
        npool.max_pool(np.zeros((3000, 4000), np.float32), (3, 3), 2, 1)
        print(threading.active_count() > 1)
    """
    assert check_runs(code) == "1\nTrue\n"


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_reducer_that_raises_leaves_the_pool_usable(threads):
    y = np.ones((400, 4000), np.float32)
    wanted = npool.sum_pool(y, (4, 4)).tobytes()
    with npool.num_threads(threads):
        for place in ((0, 0), (399, 3999), (200, 77)):
            x = y.copy()
            x[place] = 50
            with pytest.raises(ValueError, match="more than 3"):
                npool.pool(x, (1, 2), reduce=RAISES)
            assert npool.sum_pool(y, (4, 4)).tobytes() == wanted
        assert (npool.pool(y, (1, 2), reduce=RAISES) == 2).all()


def test_two_threads_that_compile_the_same_reducer():
    def lift(x):
        return math.sin(x)

    x = np.arange(8.0)
    wanted = np.sin(x).reshape(4, 2).sum(1)
    for _ in range(2):
        reducer = npool.Reducer("sines", lambda a, b: a + b, 0.0, lift=lift)
        with ThreadPoolExecutor(6) as pool:
            for y in pool.map(lambda r: npool.pool(x, (2,), reduce=r), [reducer] * 6):
                assert np.allclose(y, wanted, rtol=1e-15)


# --- while the interpreter shuts down ------------------------------------------------------------


SHUTDOWN = """
    import atexit, sys, threading, time
    import numpy as np, npool
    npool.set_num_threads(3)
    x = np.ones((200, 4000), np.float32)
    long = np.broadcast_to(np.float32(1), (30000, 4000))
    started = sys.argv[1] == "pool started"
    if started:  # and all that is called later compiled: Numba cannot, while modules go
        npool.sum_pool(x, (4, 4))
        npool.sum_pool(long[:60], (30, 40))
    write, flush, finalizing = sys.stdout.write, sys.stdout.flush, sys.is_finalizing

    def say(where):
        y = npool.sum_pool(x, (4, 4)).tolist()  # NumPy's own y.min() imports, at this late hour
        z = npool.sum_pool(long, (30, 40)).tolist()
        seen = [sorted({value for row in array for value in row}) for array in (y, z)]
        write(f"{where} {seen}\\n")
        flush()
"""
FINE = "[[16.0], [1200.0]]"


@pytest.mark.parametrize("pool", ["pool started", "no pool yet"])
def test_a_call_at_exit(pool):
    code = SHUTDOWN + "    atexit.register(say, 'at exit')\n"
    assert check_runs(code, pool) == f"at exit {FINE}\n"


def test_a_call_from_a_destructor_while_modules_are_torn_down():
    code = (
        SHUTDOWN
        + """
    class Last:
        def __init__(self):
            self.call, self.finalizing = say, finalizing

        def __del__(self):
            self.call(f"finalizing {self.finalizing()}")

    keep = Last()
    sys.modules["kept to the end"] = keep
    """
    )
    assert check_runs(code, "pool started", timeout=60) == f"finalizing True {FINE}\n"


def test_a_daemon_thread_that_pools_until_the_end():
    code = (
        SHUTDOWN
        + """
    def for_ever():
        while True:
            npool.sum_pool(x, (4, 4))

    for _ in range(3):
        threading.Thread(target=for_ever, daemon=True).start()
    time.sleep(0.3)
    say("done")
    """
    )
    for _ in range(3):
        assert check_runs(code, "pool started", timeout=60) == f"done {FINE}\n"


def test_a_thread_that_outlives_the_main_one():
    code = (
        SHUTDOWN
        + """
    def later():
        threading.main_thread().join()
        say("later")

    threading.Thread(target=later).start()
    """
    )
    assert check_runs(code, "no pool yet") == f"later {FINE}\n"


def test_the_number_of_threads_is_limited_by_the_system():
    if sys.platform != "linux":
        pytest.skip("a limit on threads that can be set is Linux's")
    code = """
        import threading, numpy as np, npool
        x = np.ones((4000, 4000), np.float32)
        wanted = npool.sum_pool(x, (4, 4))
        def refuse(*args, **kwargs):
            raise RuntimeError("can't start new thread")
        real, threading.Thread.start = threading.Thread.start, refuse
        with npool.num_threads(64):
            y = npool.sum_pool(x, (4, 4))
        threading.Thread.start = real
        with npool.num_threads(3):
            z = npool.sum_pool(x, (4, 4))
        print(np.array_equal(y, wanted), np.array_equal(z, wanted), threading.active_count())
    """
    assert check_runs(code, NPOOL_NUM_THREADS="1") == "True True 3\n"
