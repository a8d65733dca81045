"""Wide windows along a row in registers: how they are put together, and what they then hold."""

from itertools import pairwise

import numpy as np
import pytest
from numba.core import config

import npool

if not config.DISABLE_JIT:
    from npool.cpu import long_rows

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="vectors are compiled")

#: Fewest additions from 1 to n (The On-Line Encyclopedia of Integer Sequences, A003313).
ADDITIONS = [0, 1, 2, 2, 3, 3, 4, 3, 4, 4, 5, 4, 5, 5, 5, 4, 5, 5, 6, 5, 6, 6, 6, 5, 6, 6, 6, 6, 7,
             6, 7, 5]  # fmt: skip


def test_chains_are_the_shortest():
    for taps, fewest in enumerate(ADDITIONS, 1):
        chain = long_rows._chain(taps)
        assert chain[0] == 1
        assert chain[-1] == taps
        assert len(chain) - 1 == fewest
        for before, one in pairwise(chain):
            assert one - before in chain[: chain.index(one)]


@pytest.mark.parametrize("lanes", [2, 4, 16, 64])
@pytest.mark.parametrize("idempotent", [False, True])
def test_every_window_counts_each_element_as_often_as_it_may(idempotent, lanes):
    for taps in range(1, 65):
        plan = long_rows._Plan(taps, lanes, idempotent)
        covered = {1: np.ones(1, int)}
        for width, (left, right, shift) in plan.steps.items():
            found = np.zeros(max(left, shift + right), int)
            found[:left] += covered[left]
            found[shift : shift + right] += covered[right]
            covered[width] = found
        assert covered[taps].size == taps
        assert covered[taps].min() == 1
        assert covered[taps].max() == 1 or idempotent
        # What is read ahead is as much as the window reaches over, in whole vectors.
        assert plan.lag >= -(-(taps - 1) // lanes)


@pytest.mark.slow
@pytest.mark.parametrize("taps", [17, 23, 32, 47, 63, 64])
def test_windows_with_and_without_nan(taps):
    rng = np.random.default_rng(taps)
    plain = rng.standard_normal((6, 300), np.float32)
    for where in (None, *range(0, 300, 13)):
        x = plain.copy()
        if where is not None:
            x[3, where] = np.nan
        seen = np.lib.stride_tricks.sliding_window_view(x, taps, axis=1)
        padded = {"padding": (taps // 2,), "axes": (1,)}
        assert np.array_equal(npool.max_pool(x, taps, 1, axes=1), seen.max(-1), equal_nan=True)
        assert np.array_equal(npool.min_pool(x, taps, 1, axes=1), seen.min(-1), equal_nan=True)
        total = npool.sum_pool(x, taps, 1, axes=1)
        assert np.allclose(total, seen.sum(-1, dtype=np.float64), atol=1e-4, equal_nan=True)
        wide = npool.max_pool(x, (taps,), 1, **padded)
        inside = wide[:, taps // 2 :][:, : 300 - taps + 1]
        assert np.array_equal(inside, seen.max(-1), equal_nan=True)
