"""Adaptive pooling: against the oracle and against torch, its plans, layouts and errors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npool
from npool import functional as F
from npool import testing
from npool.bins import Bins, make_bins_plan
from npool.cpu.binning import bin_table
from npool.geometry import Window
from npool.testing import exact
from npool.testing.judging import compare
from npool.testing.layouts import DENSE

#: A kernel is compiled for each reduction and dtype: a few, which differ in kind.
DTYPES = {"max": ("float32", "int8", "float16"), "min": ("float32",),
          "avg": ("float32", "int64", "bfloat16"), "sum": ("float64", "complex64"),
          "var": ("float64",)}  # fmt: skip
SHARE = settings.default.max_examples * 2 // 10


def problems(op):
    return testing.size_problems(
        ops=(op,),
        dtypes=exact.available(DTYPES[op]),
        data=("integers", "ties", "special", "wide", "floats", "nan"),
        options={"return_indices": st.sampled_from([True, None])},
    )


@pytest.mark.parametrize("op", DTYPES)
def test_adaptive_pool_agrees_with_the_oracle(op):
    @settings(max_examples=SHARE)
    @given(problems(op))
    def agrees(problem):
        x = problem.array()
        before = x.tobytes()
        result = npool.adaptive_pool(x, reduce=op, **problem.arguments())
        values, indices = result if isinstance(result, tuple) else (result, None)
        assert (indices is not None) == bool(problem.option("return_indices"))
        compare(problem, problem.expected(x), values, indices)
        assert x.tobytes() == before
        if problem.layout in DENSE:
            axes = [a for a in range(x.ndim) if x.shape[a] > 1 and values.shape[a] > 1]
            axes.sort(key=lambda a: (-x.strides[a], a))
            strides = [values.strides[a] for a in axes]
            assert strides == sorted(strides, reverse=True)

    agrees()


# --- geometry -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12, 13, 100, 1001])
def test_bins_are_torchs_and_the_longest_is_known(n):
    for out in [*range(1, 20), 64, 99, 1000]:
        (window,) = make_bins_plan((n,), (out,), None).windows
        wanted = [(i * n // out, math.ceil((i + 1) * n / out)) for i in range(out)]
        bins = [(window.start(i), window.start(i) + window.taps(i)[1]) for i in range(out)]
        assert bins == wanted
        lengths = [b - a for a, b in bins]
        assert window.kernel == max(lengths)
        assert [window.count(i, True) for i in range(out)] == lengths
        starts, taps = bin_table(window)
        assert list(zip(starts.tolist(), (starts + taps).tolist(), strict=True)) == wanted
        if n % out == 0:
            assert type(window) is Window  # an ordinary one takes the ordinary paths
        else:
            assert type(window) is Bins
            assert window.shortest == min(lengths)
            assert sum(stop - begun for begun, stop in _runs(window)) == out


def _runs(window):
    stops = [0, *(stop for stop, _ in window.runs(True))]
    return list(itertools.pairwise(stops))


def test_bins_of_axes_longer_than_products_of_64_bits():
    n, out = 2**45 + 1, 2**20 + 7
    starts, taps = bin_table(Bins(n, n // out + 2, n // out, 1, 0, 0, out))
    for i in (0, 1, 12345, out - 2, out - 1):
        assert int(starts[i]) == i * n // out
        assert int(starts[i] + taps[i]) == -(-(i + 1) * n // out)


# --- what is promised of all pooling --------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (3, 50, 70), (1, 1, 400), (40, 4, 5)])
def test_same_bits_at_any_number_of_threads(shape):
    x = np.random.default_rng(0).normal(size=(16, *shape)).astype(np.float32)
    for size in (2, 3, 5, 11):
        results = []
        for threads in (1, 3):
            with npool.num_threads(threads):
                results.append(npool.adaptive_avg_pool(x, (size, size)).tobytes())
        assert results[0] == results[1]


def test_rows_too_long_for_one_tile():
    rng = np.random.default_rng(1)
    x = rng.integers(-1000, 1000, (2, 3, 60_007)).astype(np.float32)
    for out in (3, 700, 20_001, 60_007, 70_000):
        got, where = npool.adaptive_max_pool(x, (out,), return_indices=True)
        for i in (0, 1, out // 2, out - 1):
            part = x[..., i * 60_007 // out : -(-(i + 1) * 60_007 // out)]
            np.testing.assert_array_equal(got[..., i], part.max(-1))
            np.testing.assert_array_equal(where[..., i], part.argmax(-1) + i * 60_007 // out)
        total = npool.adaptive_pool(x, (out,), reduce="sum")
        part = x[..., (out // 3) * 60_007 // out : -(-(out // 3 + 1) * 60_007 // out)]
        np.testing.assert_array_equal(total[..., out // 3], part.sum(-1, dtype=np.float64))


@pytest.mark.parametrize("shape", [(3, 40, 70), (2, 5, 130, 1100)])
def test_averages_of_long_bins_stay_near(shape):
    x = np.random.default_rng(2).random(shape, np.float32)
    for axes in ((-1,), (-2, -1), (1,)):
        got = npool.adaptive_avg_pool(x, 3, axes=axes)
        want = npool.adaptive_avg_pool(x.astype(np.float64), 3, axes=axes)
        assert np.all(np.abs(got - want) <= 8 * np.spacing(want.astype(np.float32)))


def test_a_nan_stays_in_its_bins():
    x = np.ones((4, 100))
    x[1, 50] = np.nan
    got = npool.adaptive_avg_pool(x, (7,))
    assert np.isnan(got).sum() == 1
    assert np.isnan(got[1, 3])


def test_out_may_overlap_and_have_any_strides():
    memory = np.arange(200.0).reshape(10, 20)
    want = npool.adaptive_max_pool(memory.copy(), (3, 7))
    into = memory[2:5, ::-2][:, :7]
    assert npool.adaptive_max_pool(memory, (3, 7), out=into) is into
    np.testing.assert_array_equal(into, want)
    values, where = np.empty((3, 7), np.float32), np.empty((3, 14), np.int32)[:, ::2]
    x = np.arange(200, dtype=np.float32).reshape(10, 20)
    npool.adaptive_max_pool(
        x, (3, 7), return_indices=True, index_dtype=np.int32, out=(values, where)
    )
    np.testing.assert_array_equal(x.ravel()[where], values)


def test_empty_batches_and_empty_results():
    assert npool.adaptive_avg_pool(np.zeros((0, 5, 5)), (2, 3)).shape == (0, 2, 3)
    assert npool.adaptive_max_pool(np.zeros((2, 5, 5)), (0, 3)).shape == (2, 0, 3)
    values, where = npool.adaptive_max_pool(np.zeros((2, 5)), (0,), return_indices=True)
    assert values.shape == where.shape == (2, 0)


def test_a_reducer_of_ones_own_and_integer_averages():
    alternating = npool.Reducer("most_negative", min, 0)
    x = np.array([[3, -1, 4, -1, -5, 9, 2]])
    assert npool.adaptive_pool(x, (3,), reduce=alternating).tolist() == [[-1, -5, -5]]
    assert npool.adaptive_avg_pool(x, (2,)).tolist() == [[1.25, 1.25]]
    for rounding, middle in (("half_even", -1), ("half_up", -1), ("floor", -1), ("trunc", 0)):
        got = npool.adaptive_avg_pool(x, (3,), dtype=np.int64, rounding=rounding)
        assert got.tolist() == [[2, middle, 2]]
    assert F.adaptive_avg_pool1d(x, 3).tolist() == [[2, 0, 2]]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (((2, 5), 3), ValueError, "output_size=3 does not say which axes"),
        (((2, 5), (1, 2, 3)), ValueError, "pools the last 3 axes"),
        (((2, 5), (-1,)), ValueError, "must be 0 or more, got -1"),
        (((2, 5), (2**70,)), ValueError, "past the largest allowed"),
        (((2, 5), (2.5,)), TypeError, "must be an integer, got 2.5"),
        (((2, 5), (True,)), TypeError, "must be an integer"),
        (((2, 5), None), TypeError, "output_size must be an integer"),
        (((2, 5), "two"), TypeError, "output_size must be an integer"),
        (((2, 0), (2,)), ValueError, "has length 0 and cannot be pooled"),
        (((2, 5), ()), ValueError, "pools no axis"),
        (((2**20, 2**20), (2**31 - 1, 2**31 - 1)), ValueError, "needs .* GiB|2\\*\\*62"),
    ],
)
def test_errors_in_words(arguments, error, words):
    shape, size = arguments
    x = np.broadcast_to(np.float32(0), shape)
    with pytest.raises(error, match=words):
        npool.adaptive_max_pool(x, size)
    with pytest.raises(error, match=words):
        npool.adaptive_avg_pool(x, size)


def test_more_errors_in_words():
    x = np.zeros((3, 5))
    with pytest.raises(ValueError, match="has 2 entries for 1 pooled axes"):
        npool.adaptive_max_pool(x, (2, 2), axes=(1,))
    with pytest.raises(ValueError, match="names axis 7"):
        npool.adaptive_max_pool(x, 2, axes=7)
    with pytest.raises(ValueError, match="use 'max' or 'min'"):
        npool.adaptive_pool(x, (2,), reduce="sum", return_indices=True)
    with pytest.raises(TypeError, match="dtype=int64 cannot hold"):
        npool.adaptive_avg_pool(x, (2,), dtype=np.int64)
    with pytest.raises(ValueError, match="out has shape"):
        npool.adaptive_avg_pool(x, (2,), out=np.zeros((3, 3)))
    with pytest.raises(TypeError, match="x must be a numpy"):
        npool.adaptive_max_pool([1, 2], (1,))
