"""torch's threads: whose calls run on them, that bits do not depend on it, and what a fork does."""

import os
import threading
import warnings

import numpy as np
import pytest
from fresh_process import check_runs
from numba.core import config

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

from test_torch_random import as_tensor, problem

import npool
import npool.torch
from npool import threads
from npool.cpu import bounds, engine, team

lent = threads._team
pytestmark = [
    pytest.mark.skipif(lent is None, reason="this torch's threads are not OpenMP's"),
    pytest.mark.skipif(
        bounds.CHECKED or config.DISABLE_JIT, reason="these loops run on threads that have Python"
    ),
]


@pytest.fixture
def several():
    """Two threads for torch and for npool."""
    before = npool.get_num_threads(), torch.get_num_threads()
    npool.set_num_threads(2)
    torch.set_num_threads(2)
    yield
    npool.set_num_threads(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture
def runs(monkeypatch, several):
    """The drivers that ran on torch's threads."""
    seen = []
    plain = team.run

    def noted(others, driver, *rest):
        seen.append(driver)
        plain(others, driver, *rest)

    monkeypatch.setattr(team, "run", noted)
    return seen


@pytest.fixture
def always(monkeypatch):
    """Several threads for however little work, in chunks as small as they can be."""
    monkeypatch.setattr(engine, "TEAM_WORK", 0)
    monkeypatch.setattr(engine, "SERIAL_WORK", 0)
    monkeypatch.setattr(engine, "CHUNK_WORK", 1)


def pooled(x):
    return npool.max_pool(x, (3, 3), 2, 1)


LARGE = np.random.default_rng(0).random((160, 200, 200), np.float32)


def test_calls_from_the_main_thread_run_on_torchs_threads(runs):
    want = pooled(LARGE.copy())
    assert len(runs) == 1
    with npool.num_threads(1):
        assert np.array_equal(pooled(LARGE), want)
    assert len(runs) == 1


def test_other_sizes_of_team_run_on_our_threads(runs):
    with npool.num_threads(3):
        pooled(LARGE)
    torch.set_num_threads(1)
    pooled(LARGE)
    assert not runs


def test_calls_from_other_threads_run_on_our_threads(runs):
    made = []
    caller = threading.Thread(target=lambda: made.append(pooled(LARGE)))
    caller.start()
    caller.join()
    assert not runs
    assert np.array_equal(made[0], pooled(LARGE))
    assert runs


def test_small_calls_and_long_ones_do_not(runs, monkeypatch):
    pooled(LARGE[:1, :20, :20])
    monkeypatch.setattr(engine, "LONG_WORK", 1000)
    pooled(LARGE)
    assert not runs


def test_a_reducer_of_ones_own_runs_on_our_threads(runs):
    own = npool.Reducer("largest", combine=lambda a, b: a if a > b else b, identity=-np.inf)
    npool.pool(LARGE[:4], (3, 3), reduce=own)
    assert not runs


def both_ways(name, x, arguments):
    """The result and the gradient of a tensor, as bytes."""
    given = x.detach().requires_grad_()
    pool = getattr(npool, f"{name}_pool")
    y = pool(given, 3.0, **arguments) if name == "lp" else pool(given, **arguments)
    grad = torch.arange(y.numel(), dtype=torch.float64).reshape(y.shape).sin().to(y.dtype)
    (made,) = torch.autograd.grad(y, given, grad)
    return [t.detach().contiguous().view(torch.uint8).numpy().tobytes() for t in (y, made)]


def test_bits_do_not_depend_on_whose_threads_they_are(runs, always):
    for seed in range(30):
        name, values, arguments, dtype = problem(seed)
        x = as_tensor(values, dtype)
        x = x.repeat(3, *(1,) * (x.ndim - 1)) if 0 not in arguments["axes"] else x
        on_torchs = both_ways(name, x, arguments)
        threads.lend(None)
        try:
            assert both_ways(name, x, arguments) == on_torchs, (seed, name, arguments, dtype)
        finally:
            threads.lend(lent)
    assert len(runs) > 30
    assert len(set(runs)) >= 5  # drivers


@pytest.mark.parametrize("op", ["max", "sum"])
@pytest.mark.parametrize("kernel", [(3, 3), (9, 20), (40, 40), (64, 64)])
def test_each_thread_has_scratch_of_its_own(op, kernel, runs, always):
    x = LARGE[:6, :64, :64].copy()
    call = getattr(npool, f"{op}_pool")
    for padding in ((0, 0), tuple(k // 2 for k in kernel)):
        with npool.num_threads(1):
            want = call(x, kernel, 1, padding)
        for _ in range(5):
            assert call(x, kernel, 1, padding).tobytes() == want.tobytes()
    assert runs


def test_a_forked_child_has_threads_of_its_own():
    code = """
        import os, warnings
        warnings.simplefilter("ignore")
        import numpy as np, torch, npool, npool.torch
        from npool import threads
        torch.set_num_threads(2)
        npool.set_num_threads(2)
        x = torch.arange(6_000_000.0).reshape(1, 6, 1000, 1000)
        assert threads.lent(2)
        want = npool.max_pool(x, (3, 3), 2)
        pid = os.fork()
        if pid == 0:
            same = threads.lent(2) is None and np.array_equal(
                npool.max_pool(x.numpy(), (3, 3), 2), want.numpy()
            )
            os._exit(0 if same else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(torch.equal(npool.max_pool(x, (3, 3), 2), want), threads.lent(2) is not None)
    """
    assert check_runs(code) == "0\nTrue True\n"


def test_where_torch_has_no_such_threads_npool_keeps_its_own(monkeypatch, runs):
    from npool.torch.threads import lend_threads

    class Without:
        def __init__(self, path):
            assert os.path.exists(path)

    threads.lend(None)
    try:
        with monkeypatch.context() as patched:
            patched.setattr("npool.torch.threads.ctypes.CDLL", Without)
            lend_threads()
        assert threads.lent(2) is None
        pooled(LARGE)
        assert not runs
        lend_threads()
        assert threads.lent(2) == lent
    finally:
        threads.lend(lent)
