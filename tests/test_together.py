"""Large windows over channels that lie together: read a tap at a time, in the order of memory."""

from __future__ import annotations

import numpy as np
import pytest
from fresh_process import check_runs

import npool
from npool.cpu import emit, engine, together
from npool.layout import empty_like_order

pytestmark = pytest.mark.skipif(not emit.HAS_MASKS, reason="needs a CPU with masks")
ORDER = (0, 2, 3, 1)


def channels_last(shape, dtype=np.float32, seed=0):
    x = empty_like_order(shape, ORDER, np.dtype(dtype))
    x[...] = np.random.default_rng(seed).random(shape)
    return x


@pytest.fixture(autouse=True)
def served(monkeypatch):
    """However small a call is, it is served here; how often, is counted."""
    monkeypatch.setattr(together, "LEAST", 0)
    calls = []

    def fold(x, out, laid):
        calls.append(out.shape)
        together.fold_together(x, out, laid)

    monkeypatch.setattr(engine, "fold_together", fold)
    together.together.cache_clear()
    yield calls
    together.together.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [64, 77, 2100])
@pytest.mark.parametrize("reduce", ["max", "min", "sum", "avg"])
def test_a_window_is_what_numpy_says(reduce, channels, dtype, served):
    x = channels_last((2, channels, 7, 8), dtype)
    x[0, 5, 3, 3], x[1, 63, 6, 7] = np.nan, np.inf
    far = x.astype(np.float64)
    fold = {"max": np.max, "min": np.min, "sum": np.sum, "avg": np.mean}[reduce]
    want = np.stack([fold(far[:, :, :, a : a + 4], axis=(2, 3)) for a in (0, 4)], -1)[:, :, None]
    got = npool.pool(x, (7, 4), reduce=reduce)
    assert len(served) == 1
    assert got.dtype == dtype
    assert np.isnan(got[0, 5, 0, 0])
    np.testing.assert_allclose(got, want, 8 * np.finfo(dtype).eps, 0)


@pytest.mark.parametrize("reduce", ["max", "avg"])
def test_bins_and_threads(reduce, served):
    x = channels_last((3, 70, 20, 23))
    pool = npool.adaptive_max_pool if reduce == "max" else npool.adaptive_avg_pool
    results = []
    for threads in (1, 2):
        with npool.num_threads(threads):
            results.append(pool(x, (3, 4)))
    assert len(served) == 2
    want = pool(np.ascontiguousarray(x), (3, 4))
    np.testing.assert_allclose(results[0], want, 8 * np.finfo(np.float32).eps)
    assert (results[0] == results[1]).all()


def test_what_an_average_divides_by(served):
    x = channels_last((2, 64, 6, 6))
    whole = npool.sum_pool(x, (3, 3))
    np.testing.assert_allclose(npool.avg_pool(x, (3, 3), divisor_override=-5), whole / -5, 1e-6)
    assert len(served) == 2
    # In these, windows differ in how many elements they have, or are added up elsewhere.
    npool.avg_pool(x, (3, 3), 3, 1)
    npool.avg_pool(x, (4, 4), ceil_mode=True)
    npool.sum_pool(x[:, ::2], (3, 3))
    npool.avg_pool(x, (3, 3), divisor_override=1 << 24)
    npool.sum_pool(channels_last((1, 64, 1, 34)), (1, 17))
    npool.max_pool(x, (3, 3), return_indices=True)
    npool.pool(x, (3, 3), reduce="prod")
    assert len(served) == 2


def test_large_calls_are_served_and_within_bounds():
    code = """
        import numpy as np, npool
        from npool.cpu import engine, together
        x = np.ones((1, 15, 16, 4500), np.float32).transpose(0, 3, 1, 2)
        kept = together.fold_together
        engine.fold_together = lambda *given: (print("served"), kept(*given))
        assert (npool.avg_pool(x, (15, 16)) == 1).all()
        npool.avg_pool(x[..., :8, :8].copy(order="K"), (8, 8))
    """
    assert check_runs(code, NUMBA_BOUNDSCHECK="1") == "served\n"
