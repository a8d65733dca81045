"""Fractional max pooling: against the oracle, its samples, layouts and errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npool
from npool.testing import LAYOUTS, exact, oracle_sizes
from npool.testing.strategies import elements

DTYPES = ("float32", "int16", "bfloat16")
SHARE = settings.default.max_examples * 6 // 10


@st.composite
def problems(draw):
    dims = draw(st.integers(1, 4))
    axes = draw(st.permutations(range(dims)))[: draw(st.integers(1, min(dims, 3)))]
    shape = [draw(st.integers(1, 3)) for _ in range(dims)]
    kernel, size = [], []
    for axis in axes:
        shape[axis] = draw(st.integers(1, 9 if len(axes) < 3 else 5))
        if draw(st.integers(0, 9)) == 9 and len(axes) < 3:
            shape[axis] = draw(st.integers(40, 90))
        kernel.append(draw(st.integers(1, min(shape[axis], 3)) | st.just(shape[axis])))
        size.append(draw(st.integers(1, shape[axis] - kernel[-1] + 1)))
    dtype = draw(st.sampled_from(exact.available(DTYPES)))
    values = draw(st.lists(elements(dtype, "nan"), min_size=1, max_size=20))
    x = np.resize(np.array(values, float), shape).astype(exact.named_dtype(dtype))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    apart = [n for axis, n in enumerate(shape) if axis not in axes]
    kind = draw(st.sampled_from([np.float32, np.float64]))
    return (
        LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x),
        tuple(kernel),
        tuple(size),
        rng.random((*apart, len(axes))).astype(kind),
        tuple(axes),
    )


@settings(max_examples=SHARE)
@given(problems())
def test_fractional_max_pool_agrees_with_the_oracle(problem):
    x, kernel, size, samples, axes = problem
    values, places = npool.fractional_max_pool(
        x, kernel, size, samples=samples, axes=axes, return_indices=True
    )
    native = x.astype(x.dtype.newbyteorder("=")) if x.dtype.kind != "V" else x
    wanted, positions = oracle_sizes.fractional_max_pool(native, kernel, size, samples, axes)
    np.testing.assert_array_equal(values.astype(float), wanted.astype(float))
    np.testing.assert_array_equal(places, positions)
    alone = npool.fractional_max_pool(x, kernel, size, samples=samples, axes=axes)
    np.testing.assert_array_equal(alone.astype(float), wanted.astype(float))


def test_samples_are_drawn_or_broadcast():
    x = np.random.default_rng(0).normal(size=(3, 4, 20, 30))
    drawn = npool.fractional_max_pool(x, (2, 3), (8, 9), samples=np.random.default_rng(7))
    samples = np.random.default_rng(7).random((3, 4, 2))
    again = npool.fractional_max_pool(x, (2, 3), (8, 9), samples=samples)
    np.testing.assert_array_equal(drawn, again)
    one = npool.fractional_max_pool(x, (2, 3), (8, 9), samples=samples[1, 2])
    whole = npool.fractional_max_pool(x, (2, 3), (8, 9), samples=np.tile(samples[1, 2], (3, 4, 1)))
    np.testing.assert_array_equal(one, whole)
    big = npool.fractional_max_pool(x, (2, 3), (8, 9), samples=samples.astype(">f8"))
    np.testing.assert_array_equal(big, again)


def test_the_ratio_of_lengths_is_rounded_down():
    x = np.zeros((2, 11, 30))
    samples = np.zeros((2, 2))
    for ratio, shape in ((0.5, (2, 5, 15)), ((0.7, 0.1), (2, 7, 3)), ((0.05, 0.5), (2, 0, 15))):
        got = npool.fractional_max_pool(x, (1, 1), output_ratio=ratio, samples=samples)
        assert got.shape == shape


def test_every_window_is_inside_in_every_type():
    for kind in exact.available(("float16", "bfloat16", "float32", "float64")):
        kind = exact.named_dtype(kind)
        samples = np.append(np.linspace(0, 1, 12), 0.539).astype(kind)[:, None]
        # Steps in bfloat16 round past the end of the second, from the last sample.
        for n, out in ((1000, 700), (167, 158), (70_000, 41_000)):
            x = np.broadcast_to(np.arange(n, dtype=np.float32), (13, n))
            places = npool.fractional_max_pool(x, (2,), (out,), samples=samples)
            assert places[:, 0].tolist() == [1] * 13
            assert places[:, -1].tolist() == [n - 1] * 13
            assert (np.diff(places) >= 0).all()


def test_the_same_at_any_number_of_threads_and_in_any_layout():
    x = np.random.default_rng(1).normal(size=(16, 32, 30, 30)).astype(np.float32)
    samples = np.random.default_rng(2).random((16, 32, 2))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    results = []
    for threads, data in ((1, x), (3, x), (2, last)):
        with npool.num_threads(threads):
            results.append(npool.fractional_max_pool(data, (3, 3), (11, 13), samples=samples))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert results[2].transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "give either output_size, .* got neither"),
        ({"output_size": (3,), "output_ratio": 0.5}, ValueError, "got both"),
        ({"output_size": (5,)}, ValueError, r"has 5 elements, fewer than .* = 6"),
        ({"output_size": (-1,)}, ValueError, "must be 0 or more"),
        ({"output_size": (2, 2)}, ValueError, "has 2 entries for 1 pooled axes"),
        ({"output_ratio": 1.5}, ValueError, "must lie between 0 and 1, got 1.5"),
        ({"output_ratio": "half"}, TypeError, "output_ratio must hold numbers"),
        ({"output_ratio": (0.5, 0.5)}, ValueError, "has 2 entries for 1 pooled axes"),
        ({"output_size": (3,), "kernel_size": 2}, ValueError, "does not say which axes"),
        ({"output_size": (3,), "kernel_size": (0,)}, ValueError, "must be at least 1"),
        ({"output_size": (3,), "samples": 0.5}, TypeError, "floats or a numpy.random.Generator"),
        ({"output_size": (3,), "samples": np.array([1])}, TypeError, "got int64"),
        ({"output_size": (3,), "samples": np.array([1.5])}, ValueError, "between 0 and 1, got 1.5"),
        ({"output_size": (3,), "samples": np.array([np.nan])}, ValueError, "got nan"),
        (
            {"output_size": (3,), "samples": np.zeros((3, 1))},
            ValueError,
            "not broadcast to \\(2, 1\\)",
        ),
    ],
)
def test_errors_in_words(arguments, error, words):
    whole = {"kernel_size": (2,), "samples": np.zeros(1), **arguments}
    with pytest.raises(error, match=words):
        npool.fractional_max_pool(np.zeros((2, 5)), **whole)


def test_empty_batches_and_results():
    got = npool.fractional_max_pool(np.zeros((0, 5)), (2,), (3,), samples=np.zeros(1))
    assert got.shape == (0, 3)
    got = npool.fractional_max_pool(np.zeros((2, 5)), (2,), (0,), samples=np.zeros(1))
    assert got.shape == (2, 0)
