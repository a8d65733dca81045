"""Ctrl-C in a long call: soon heard, nobody still writing afterwards, the next call right."""

import sys

import pytest
from fresh_process import check_runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's here")

#: Interrupts `work` after it has surely started, and reports in words what came of it.
INTERRUPTING = """
    import os, signal, sys, threading, time
    import numpy as np, npool
    npool.set_num_threads(int(sys.argv[1]))
    small = np.ones((300, 4000), np.float32)
    one = np.broadcast_to(np.float32(1), (200_000, 200_000))  # takes no memory, and for ever
    out = np.zeros((20_000, 200), np.float32)

    def slow(v):
        s = v
        for i in range(500):
            s = (s + i) % 3.0
        return s

    SLOW = npool.Reducer("slow", lambda a, b: a + b, 0.0, lift=slow)
    WORK = {
        "many outputs": lambda: npool.sum_pool(one[:20_000], (1, 1000), out=out),
        "one output": lambda: npool.sum_pool(one, (200_000, 200_000)),
        "a few outputs": lambda: npool.max_pool(one, (50_000, 50_000)),
        "columns": lambda: npool.sum_pool(one, (200_000, 1), (1, 20)),
        "positions": lambda: npool.max_pool(one, (50_000, 50_000), return_indices=True),
        "overlapping windows": lambda: npool.sum_pool(one[:20_000], (1, 3000), (1, 800)),
        "a slow reducer": lambda: npool.pool(one[:2000, :2000], (2, 2), reduce=SLOW),
    }
    work = WORK[sys.argv[2]]
    npool.sum_pool(small, (4, 4))
    npool.max_pool(small, (4, 4), return_indices=True)
    npool.pool(small[:1, :2], (1, 1), reduce=SLOW)
    # Both drivers, and strided rows: llvmlite loses an interrupt that comes while it compiles.
    npool.sum_pool(one[:20, :2000], (1, 1000))
    npool.max_pool(one[:20, :2000], (20, 1000), return_indices=True)
    npool.max_pool(one[:20, :2000], (20, 1000))
    npool.pool(one[:2, :2], (2, 2), reduce=SLOW)
    sent = []

    def kill():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(float(sys.argv[3]), kill)
    timer.start()
    try:
        work()
        print("finished", end=" ")
    except KeyboardInterrupt:
        late = time.monotonic() - sent[0]
        print("interrupted", "at once" if late < 1 else f"{late:.1f} s late", end=" ")
    timer.cancel()
    before = out.copy()
    time.sleep(0.2)
    print("still" if np.array_equal(before, out) else "WRITTEN TO", end=" ")
    y = npool.sum_pool(small, (4, 4))
    print("right" if y.shape == (75, 1000) and (y == 16).all() else "WRONG")
"""
CASES = [
    "many outputs", "one output", "a few outputs", "columns", "positions", "overlapping windows",
    "a slow reducer",
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_comes_within_a_second(case, threads):
    out = check_runs(INTERRUPTING, threads, case, 0.5, timeout=100)
    assert out == "interrupted at once still right\n"


def test_interrupts_at_any_moment():
    code = (
        INTERRUPTING.split("    work = WORK")[0]
        + """
    big = np.ones((2000, 4000), np.float32)
    wanted = npool.sum_pool(big, (4, 4)).tobytes()
    alone = threading.current_thread()
    heard = wrong = 0
    deadline = time.monotonic() + 6
    n = 0
    while time.monotonic() < deadline or heard < 5:
        n += 1
        timer = threading.Timer(0.0003 * (n % 40), os.kill, (os.getpid(), signal.SIGINT))
        try:
            try:
                timer.start()
                for _ in range(20):
                    if npool.sum_pool(big, (4, 4)).tobytes() != wanted:
                        wrong += 1
                timer.join()
                time.sleep(0.01)
            finally:
                timer.join()
        except KeyboardInterrupt:
            heard += 1
        timer.join()
    print(heard >= 5, wrong, npool.sum_pool(big, (4, 4)).tobytes() == wanted)
    """
    )
    assert check_runs(code, 3, timeout=100) == "True 0 True\n"


def test_an_exception_from_any_signal_handler_comes_through():
    code = (
        INTERRUPTING.replace("signal.SIGINT", "signal.SIGUSR1")
        + """
    class Enough(Exception):
        pass

    def handler(number, frame):
        raise Enough(number)

    signal.signal(signal.SIGUSR1, handler)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        WORK["one output"]()
    except Enough as error:
        print(error.args[0] == signal.SIGUSR1)
    """
    )
    code = code.replace("timer.start()\n    try:\n        work()", "try:\n        pass")
    out = check_runs(code, 2, "one output", 0.3, timeout=100)
    assert out.splitlines()[-1] == "True"


def test_a_handler_that_returns_disturbs_nothing():
    code = """
        import os, signal, threading, time
        import numpy as np, npool
        npool.set_num_threads(3)
        seen = []
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
        big = np.ones((2000, 4000), np.float32)
        wanted = npool.sum_pool(big, (4, 4)).tobytes()
        stop = threading.Event()

        def pester():
            while not stop.is_set():
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(0.002)

        thread = threading.Thread(target=pester)
        thread.start()
        same = [npool.sum_pool(big, (4, 4)).tobytes() == wanted for _ in range(40)]
        stop.set()
        thread.join()
        print(all(same), len(same), len(seen) > 3)
    """
    assert check_runs(code, timeout=100) == "True 40 True\n"
