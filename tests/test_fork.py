"""Forks and new processes: after a parallel call, during one, and while another thread compiles."""

import multiprocessing
import os

import numpy as np
import pytest
from fresh_process import check_runs

import npool

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

#: Forks children that pool and report by their exit status; one that hangs is killed and told.
FORKING = """
    import os, signal, sys, threading, time, warnings
    import numpy as np, npool
    warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, on forks among threads
    npool.set_num_threads(3)
    large = np.arange(12_000_000.0).reshape(3000, 4000)
    wanted = npool.sum_pool(large, (4, 4))

    def child(work, seconds=60):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(0 if work() else 3)
            except BaseException as error:
                print(repr(error), flush=True)
                os._exit(4)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "hangs"

    def pools():
        return np.array_equal(npool.sum_pool(large, (4, 4)), wanted)
"""


def test_fork_after_a_parallel_call():
    code = (
        FORKING
        + """
    print([child(pools) for _ in range(4)], pools())
    """
    )
    assert check_runs(code) == "[0, 0, 0, 0] True\n"


def test_the_child_starts_threads_of_its_own():
    code = (
        FORKING
        + """
    assert threading.active_count() > 1

    def alone():
        before = threading.active_count()
        return before == 1 and pools() and threading.active_count() > 1

    print(child(alone), child(lambda: child(pools) == 0))
    """
    )
    assert check_runs(code) == "0 0\n"


def test_fork_in_the_middle_of_parallel_calls():
    code = (
        FORKING
        + """
    stop = threading.Event()
    wrong = []

    def busy():
        while not stop.is_set():
            if not pools():
                wrong.append(1)

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    codes = {child(pools) for _ in range(25)}
    stop.set()
    for thread in threads:
        thread.join()
    print(codes, wrong)
    """
    )
    assert check_runs(code) == "{0} []\n"


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_fork_while_another_thread_compiles(times):
    # No cache: every reducer below is compiled. The child compiles one of its own.
    code = (
        FORKING
        + """
    x = np.arange(6.0)
    stop = threading.Event()

    def fold(n):
        space = {}
        exec(f"def combine(a, b):\\n    return a + b + {n}", space)
        return npool.Reducer(f"plus_{n}", space["combine"], 0.0)

    def compiles():
        n = 0
        while not stop.is_set():
            n += 1
            npool.pool(x, (2,), reduce=fold(n))

    def works():
        return npool.pool(x, (2,), reduce=fold(-1)).tolist() == [0.0, 4.0, 8.0] and pools()

    thread = threading.Thread(target=compiles)
    thread.start()
    codes = []
    for i in range(int(sys.argv[1])):
        time.sleep(0.07 * (i % 7))
        codes.append(child(works, seconds=100))
    stop.set()
    thread.join()
    print(codes)
    """
    )
    assert check_runs(code, times, NPOOL_CACHE_DIR="", timeout=1800) == f"{[0] * times}\n"


def test_a_fork_takes_locks_in_the_order_in_which_compiling_does():
    # The other way round each waits for the lock that the other has.
    code = """
        import os, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import numpy as np, npool
        from numba.core.compiler_lock import global_compiler_lock
        npool.max_pool(np.arange(9.0), (3,))
        from npool.cpu import compiling
        begun = threading.Event()

        def compiles():
            with compiling.lock:
                begun.set()
                time.sleep(0.5)
                with global_compiler_lock:
                    pass

        thread = threading.Thread(target=compiles)
        thread.start()
        begun.wait()
        pid = os.fork()
        if pid == 0:
            with compiling.lock, global_compiler_lock:
                os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        thread.join()
    """
    assert check_runs(code, timeout=60) == "0\n"


def test_fork_before_the_first_call():
    code = """
        import os, sys
        import numpy as np, npool
        pid = os.fork()
        y = npool.sum_pool(np.arange(1_200_000.0), (4,))
        if pid == 0:
            os._exit(0 if y[1] == 22 else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), y[1])
    """
    assert check_runs(code) == "0 22.0\n"


# --- multiprocessing -----------------------------------------------------------------------------


X = np.arange(1_200_000, dtype=np.float32).reshape(300, 4000) % 977


def pooled(threads):
    """What a process of its own computes."""
    with npool.num_threads(threads):
        return npool.max_pool(X, (3, 5), 2, 1).tobytes()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    wanted = pooled(3)
    with multiprocessing.get_context(method).Pool(2) as pool:
        got = pool.map_async(pooled, [1, 2, 3, 4]).get(timeout=120)
    assert [g == wanted for g in got] == [True] * 4
    assert pooled(2) == wanted
