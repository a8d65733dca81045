"""The driver of bins, path by path: each case must take the path it is there for, and be right.

`tests/test_bounds_check.py` runs this file under NUMBA_BOUNDSCHECK=1 as well.
"""

from typing import NamedTuple

import numpy as np
import pytest

import npool
from npool.bins import make_bins_plan
from npool.cpu.binning import bin_schedule, has_bins
from npool.cpu.dimensions import FUSED, PLAIN, ROWS, SEGMENT
from npool.cpu.tables import CONSTANTS
from npool.layout import memory_order


class Case(NamedTuple):
    """An array, the sizes of its result, and what the schedule makes of its row."""

    shape: tuple
    sizes: tuple
    axes: tuple
    mode: int
    last: bool = False  # the first axis but one comes last in memory
    step: int = 1  # elements along the last axis lie that far apart
    inner: int = 1


CASES = {
    "planes": Case((40, 13, 13), (6, 6), (1, 2), FUSED),
    "one plane": Case((31, 45), (7, 11), (0, 1), FUSED),
    "rows": Case((5, 50), (3,), (1,), FUSED),
    "many bins in a row": Case((2, 3000), (1999,), (1,), FUSED),
    "more bins than elements": Case((3, 5, 6), (7, 11), (1, 2), FUSED),
    "many taps": Case((2, 100, 14), (3, 5), (1, 2), FUSED),
    "volumes": Case((3, 7, 8, 9), (2, 3, 4), (1, 2, 3), FUSED),
    "an axis whole": Case((3, 8, 9), (4, 4), (1, 2), FUSED),
    "columns": Case((30, 100), (7,), (0,), PLAIN),
    "long rows of columns": Case((10, 5000), (3,), (0,), PLAIN),
    "channels last": Case((2, 40, 9, 10), (4, 4), (2, 3), PLAIN, last=True),
    "few channels last": Case((2, 3, 20, 22), (6, 5), (2, 3), FUSED, last=True, inner=3),
    "strided": Case((5, 9, 20), (4, 7), (1, 2), FUSED, step=3),
    "strided backwards": Case((5, 9, 20), (4, 7), (1, 2), FUSED, step=-2),
    "strided channels": Case((2, 3, 9, 8), (4, 3), (2, 3), FUSED, last=True, step=2, inner=3),
    "long bins": Case((4, 500), (3,), (1,), SEGMENT),
    "very long bins": Case((2, 9001), (4,), (1,), SEGMENT),
    "long bins after folding": Case((4, 20, 170), (3, 4), (1, 2), ROWS),
    "long bins of few channels": Case((2, 2, 9, 151), (4, 4), (2, 3), ROWS, last=True, inner=2),
    "bins too long to be fetched whole": Case((2, 7, 9000), (3, 4), (1, 2), SEGMENT),
    "strided long bins": Case((2, 9, 150), (4, 4), (1, 2), ROWS, step=2),
    "axes not in order": Case((14, 15, 4), (4, 5), (1, 0), FUSED, inner=4),
}


def array(case, dtype):
    """Small integers, in the memory order of the case."""
    rng = np.random.default_rng(len(case.shape))
    wide = (*case.shape[:-1], case.shape[-1] * abs(case.step))
    x = rng.integers(-9, 9, wide).astype(dtype)
    if case.last:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    return x[..., :: case.step]


def windows(x, case):
    """Each output's index, and the index of its window."""
    out = list(x.shape)
    for axis, size in zip(case.axes, case.sizes, strict=True):
        out[axis] = size
    for place in np.ndindex(*(out[axis] for axis in case.axes)):
        into, seen = [slice(None)] * x.ndim, [slice(None)] * x.ndim
        for axis, i, size in zip(case.axes, place, case.sizes, strict=True):
            n = x.shape[axis]
            into[axis], seen[axis] = i, slice(i * n // size, -(-(i + 1) * n // size))
        yield tuple(into), tuple(seen)


def reduced(x, case, function, dtype):
    """The result by plain NumPy, window by window."""
    out = list(x.shape)
    for axis, size in zip(case.axes, case.sizes, strict=True):
        out[axis] = size
    result = np.empty(out, dtype)
    for into, seen in windows(x, case):
        result[into] = function(x[seen])
    return result


@pytest.mark.parametrize("name", CASES)
def test_the_case_takes_the_path_it_is_there_for(name):
    case = CASES[name]
    x = array(case, np.float32)
    plan = make_bins_plan(x.shape, case.sizes, case.axes)
    assert has_bins(plan)
    order = memory_order(x.shape, x.strides)
    into = np.empty(plan.out_shape, np.float32).strides
    laid = bin_schedule(
        plan, order, tuple(s // 4 for s in x.strides), tuple(s // 4 for s in into), 1, 4, 4,
        False, False,
    )  # fmt: skip
    row = laid.dims[-1]
    assert row[CONSTANTS["MODE"]] == case.mode
    assert laid.head[CONSTANTS["INNER"]] == case.inner
    assert bool(laid.head[CONSTANTS["STRIDED"]]) == (case.step != 1)
    if name in ("many bins in a row", "long rows of columns"):
        assert row[CONSTANTS["TILE"]] < row[CONSTANTS["OUT"]]
    if name == "planes":
        assert laid.dims[-2][CONSTANTS["TILE"]] > 1


@pytest.mark.parametrize("name", CASES)
def test_the_case_is_right(name):
    case = CASES[name]
    x = array(case, np.float32)
    largest = reduced(x, case, lambda w: w.max(axis=case.axes), np.float32)
    got, places = npool.adaptive_max_pool(x, case.sizes, axes=case.axes, return_indices=True)
    np.testing.assert_array_equal(got, largest)
    np.testing.assert_array_equal(npool.adaptive_max_pool(x, case.sizes, axes=case.axes), largest)
    # A position is that of an element as large, in the window, and no earlier one is.
    flat = np.zeros(x.shape, np.int64)
    for axis in case.axes:
        along = np.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        flat = flat * x.shape[axis] + along
    for into, seen in windows(x, case):
        best = np.expand_dims(got[into], case.axes)
        first = np.where(x[seen] == best, flat[seen], flat.max() + 1).min(axis=case.axes)
        np.testing.assert_array_equal(places[into], first)
    mean = reduced(x, case, lambda w: w.mean(axis=case.axes, dtype=np.float64), np.float64)
    averages = npool.adaptive_avg_pool(x, case.sizes, axes=case.axes)
    np.testing.assert_allclose(averages, mean, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["planes", "few channels last", "long bins after folding"])
@pytest.mark.parametrize("dtype", ["complex64", "uint8", "float16"])
def test_other_elements(name, dtype):
    case = CASES[name]
    x = array(case, np.int16).astype(dtype)
    total = reduced(x, case, lambda w: w.sum(axis=case.axes), np.complex128)
    got = npool.adaptive_pool(x, case.sizes, axes=case.axes, reduce="sum")
    np.testing.assert_allclose(got, total, rtol=1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("step", [1, -2])
@pytest.mark.parametrize("kernel", [(2, 3), (3, 40)])
def test_windows_drawn(kernel, step):
    rng = np.random.default_rng(5)
    x = np.repeat(rng.integers(-9, 9, (3, 2, 11, 90)).astype(np.float32), abs(step), -1)
    x = x[..., ::step]
    if step == 1:  # planes that do not lie together, so that they are two axes
        x = np.concatenate([x, x], 1)[:, :2]
    samples = rng.random((3, 2, 2))
    got, places = npool.fractional_max_pool(
        x, kernel, (4, 20), samples=samples, return_indices=True
    )
    for plane in np.ndindex(3, 2):
        starts = []
        for n, k, out, u in zip((11, 90), kernel, (4, 20), samples[plane], strict=True):
            a = (n - k) / (out - 1)
            starts.append([int((i + u) * a) - int(u * a) for i in range(out - 1)] + [n - k])
        for i, top in enumerate(starts[0]):
            for j, left in enumerate(starts[1]):
                window = x[plane][top : top + kernel[0], left : left + kernel[1]]
                assert got[plane][i, j] == window.max()
                row, column = np.unravel_index(window.argmax(), window.shape)
                assert places[plane][i, j] == (top + row) * 90 + left + column


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("index", ["int64", "int32"])
def test_unpooling(index, last):
    rng = np.random.default_rng(6)
    x = rng.integers(1, 9, (3, 5, 4, 6)).astype(np.float32)
    places = rng.permuted(np.tile(np.arange(96), (3, 5, 1)), axis=2)[..., :24]
    places = places.reshape(x.shape).astype(index)
    if last:
        x, places = (
            np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, places)
        )
    got = npool.max_unpool(x, places, (2, 2))
    taken = np.take_along_axis(got.reshape(3, 5, -1), places.reshape(3, 5, -1).astype(int), 2)
    np.testing.assert_array_equal(taken, x.reshape(3, 5, -1))
    assert np.count_nonzero(got) == x.size
    into = np.ones((3, 5, 8, 24), np.float32)[..., ::-2]
    npool.max_unpool(x, places, (2, 2), output_size=(8, 12), out=into)
    np.testing.assert_array_equal(into, got)
