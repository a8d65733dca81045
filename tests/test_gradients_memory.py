"""Gradients touch nothing but their arrays, compiled, checked and interpreted alike.

Each runs in a process of its own: one element too far is a SIGSEGV at a guard page, an
IndexError under NUMBA_BOUNDSCHECK=1, and in interpreted loops.
"""

import sys

import numpy as np
import pytest
from fresh_process import run

import npool

GEOMETRIES = [
    # shape, kernel, stride, padding, dilation, ceil mode, axes
    ((3, 37), (3,), 1, 1, 1, False, None),
    ((3, 38), (2,), 3, 1, 2, True, None),
    ((2, 135), (65,), 7, 20, 1, True, None),
    ((2, 700), (64,), 64, 0, 1, False, None),
    ((6, 8, 12), (2, 2), 2, 0, 1, False, None),
    ((60, 7, 7), (7, 7), 1, 0, 1, False, None),
    ((2, 21, 33), (3, 3), 2, 1, 1, True, None),
    ((2, 21, 33), (2, 3), 1, 2, (3, 2), True, None),
    ((2, 40, 64), (7, 5), (1, 2), ((0, 6), (4, 0)), 1, True, None),
    ((9, 10, 11), (3, 3, 3), 1, 1, 1, False, None),
    ((9, 10, 3), 3, 2, 1, 1, True, (0, 1)),
    ((41, 12), 17, 1, 8, 1, False, (0,)),
]
SMALL = (0, 1, 6, 7, 10)


def calls(shape, *arguments, axes):
    """Each gradient as a function of its arrays, with the arrays it reads."""
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, shape).astype(np.float32)
    values, places = npool.max_pool(x, *arguments, axes=axes, return_indices=True)
    gradient = rng.integers(-9, 9, values.shape).astype(np.float32)
    named = axes
    if named is None:
        named = tuple(range(len(shape) - len(arguments[0]), len(shape)))
    sizes = tuple(5 for _ in named)
    _, binned = npool.adaptive_max_pool(x, sizes, axes=named, return_indices=True)
    bins = rng.integers(-9, 9, binned.shape).astype(np.float32)
    backward = arguments, {"axes": axes}

    def maximum(g, i, out):
        return npool.max_pool_backward(g, i, shape, *backward[0], **backward[1], out=out)

    def halves(g, out):
        return npool.avg_pool_backward(g, shape, *backward[0], **backward[1], out=out)

    def average(g, out):
        return npool.avg_pool_backward(
            g, shape, *backward[0], **backward[1], count_include_pad=False, out=out
        )

    def norm(g, x, y, out):
        return npool.lp_pool_backward(g, x, y, 2, *backward[0], **backward[1], out=out)

    yield maximum, (gradient, places)
    yield maximum, (gradient.astype(np.float16), places.astype(np.int32))
    yield halves, (gradient.astype(np.float16),)
    yield average, (gradient,)
    yield norm, (gradient, x, npool.lp_pool(x, 2, *arguments, axes=axes))
    yield (lambda x, i, out: npool.take_pooled(x, i, axes=named, out=out)), (x, places)
    yield (
        lambda g, out: npool.adaptive_avg_pool_backward(g, shape, sizes, axes=named, out=out),
        (bins,),
    )  # fmt: skip
    yield (
        lambda g, i, out: npool.fractional_max_pool_backward(g, i, shape, axes=named, out=out),
        (bins, binned),
    )  # fmt: skip


def check(numbers, streamed=False, modes=("C", "steps back", "rolled"), kinds=range(8)):
    """Each call of each geometry, on arrays at a guard page: the answer of ordinary ones."""
    from test_guard_pages import guarded, layouts

    from npool.cpu import tiling

    if streamed:
        tiling.LARGEST_CACHE = 0
    checked = 0
    for number in numbers:
        shape, *arguments, axes = GEOMETRIES[number]
        for k, (call, arrays) in enumerate(calls(shape, *arguments, axes=axes)):
            if k not in kinds:
                continue
            wanted = call(*arrays, out=None)
            for name, options in layouts(len(shape)):
                for at_end in (True, False) if name in modes else ():
                    print(number, k, name, at_end, flush=True)
                    given = [guarded(array, at_end, **options) for array in arrays]
                    got = call(*given, out=guarded(np.zeros_like(wanted), at_end, **options))
                    np.testing.assert_allclose(got, wanted, 1e-5, 1e-5)
                    checked += 1
    assert checked >= 4 * len(list(numbers)) * len(kinds)
    print("whole")


RUN = """
    from test_gradients_memory import GEOMETRIES, SMALL, check
    check({numbers}, {streamed}{modes})
"""


@pytest.mark.skipif(not sys.platform.startswith(("linux", "darwin")), reason="mprotect is POSIX's")
@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_beyond_an_array_is_touched(streamed):
    code = RUN.format(numbers="range(len(GEOMETRIES))", streamed=streamed, modes="")
    status, out, err = run(code, timeout=300)
    last = out.splitlines()[-1] if out else ""
    assert (status, last, err) == (0, "whole", ""), f"exit status {status} after: {last}\n{err}"


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_JIT"])
def test_nothing_else_is_touched_where_all_is_checked(variable):
    numbers = "SMALL" if variable == "NUMBA_BOUNDSCHECK" else "SMALL[:2]"
    code = RUN.format(
        numbers=numbers, streamed=False, modes=', modes=("C", "steps back"), kinds=(0, 3, 5, 6)'
    )
    # Without LLVM's optimiser (tests/test_bounds_check.py).
    how = {variable: "1", "NPOOL_CACHE_DIR": "", "NUMBA_OPT": "0"}
    status, out, err = run(code, timeout=300, **how)
    last = out.splitlines()[-1] if out else ""
    assert (status, last, err) == (0, "whole", ""), f"exit status {status} after: {last}\n{err}"
