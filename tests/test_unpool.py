"""Max unpooling: against the oracle, back from pooling, its layouts, threads and errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npool
from npool import functional as F
from npool.testing import LAYOUTS, exact, oracle_sizes

DTYPES = ("float32", "int8", "float16", "float64", "complex128")


@st.composite
def problems(draw):
    dims = draw(st.integers(1, 4))
    axes = draw(st.permutations(range(dims)))[: draw(st.integers(1, min(dims, 3)))]
    shape = [draw(st.integers(1, 4)) for _ in range(dims)]
    kernel = [draw(st.integers(1, 3)) for _ in axes]
    stride = [draw(st.integers(1, 3)) for _ in axes]
    lengths = [(shape[a] - 1) * s + k for a, s, k in zip(axes, stride, kernel, strict=True)]
    layouts = [draw(st.sampled_from(list(LAYOUTS))) for _ in range(2)]
    return shape, axes, kernel, stride, lengths, layouts, draw(st.integers(0, 99))


@given(problems(), st.sampled_from(exact.available(DTYPES)), st.sampled_from(["int64", "int32"]))
def test_unpooling_agrees_with_the_oracle(problem, dtype, index):
    shape, axes, kernel, stride, lengths, layouts, seed = problem
    rng = np.random.default_rng(seed)
    x = LAYOUTS[layouts[0]](rng.integers(1, 100, shape).astype(exact.named_dtype(dtype)))
    places = rng.integers(-1, int(np.prod(lengths)), shape).astype(index)
    places = LAYOUTS[layouts[1]](places)
    before = x.tobytes(), places.tobytes()
    got = npool.max_unpool(x, places, kernel, stride, axes=axes)
    want = oracle_sizes.max_unpool(x, places, lengths, axes)
    assert got.dtype == want.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, want)
    assert (x.tobytes(), places.tobytes()) == before


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("axes", [(-2, -1), (-1, -2), (1,), (2, 3, 1)])
def test_back_from_pooling(axes, order):
    x = np.random.default_rng(3).permutation(2 * 3 * 8 * 10).reshape(2, 3, 8, 10) + 1
    if order == "last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    sizes = tuple(x.shape[a] for a in axes)
    pooled, places = npool.max_pool(x, 2, axes=axes, return_indices=True)
    back = npool.max_unpool(pooled, places, 2, output_size=sizes, axes=axes)
    assert back.shape == x.shape
    assert np.count_nonzero(back) == pooled.size
    np.testing.assert_array_equal(back[back > 0], x[back > 0])
    np.testing.assert_array_equal(npool.max_pool(back, 2, axes=axes), pooled)
    longest = [a for a in range(4) if x.shape[a] > 1 and pooled.shape[a] > 1]
    longest.sort(key=lambda a: -pooled.strides[a])
    assert [back.strides[a] for a in longest] == sorted(back.strides[a] for a in longest)[::-1]


@pytest.mark.parametrize("last", [False, True])
def test_the_same_at_any_number_of_threads(last):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 64, 40, 40)).astype(np.float32)
    places = rng.integers(0, 81 * 81, x.shape)
    if last:
        x, places = (
            np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, places)
        )
    results = []
    for threads in (1, 3):
        with npool.num_threads(threads):
            results.append(npool.max_unpool(x, places, (3, 3), 2, axes=(2, 3)))
    assert results[0].tobytes() == results[1].tobytes()
    # The last of equal positions counts, whichever thread came first.
    one = npool.max_unpool(np.arange(5.0)[None], np.zeros((1, 5), np.int64), (1,))
    assert one.tolist() == [[4, 0, 0, 0, 0]]


def test_windows_without_elements_are_left_out():
    x = np.array([7.0])
    values, places = npool.max_pool(x, (2,), 1, 1, 2, return_indices=True)
    assert (values.tolist(), places.tolist()) == ([-np.inf], [-1])
    assert npool.max_unpool(values, places, (2,)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="Found an invalid max index: -1"):
        F.max_unpool1d(values[None], places[None], 2)


def test_out_takes_the_result_and_may_overlap():
    memory = np.arange(1.0, 25).reshape(4, 6)
    x, places = memory[:2, :3], np.array([[0, 3, 5], [1, 2, 4]])
    want = npool.max_unpool(x.copy(), places, (2,))
    out = memory[1:3]
    assert npool.max_unpool(x, places, (2,), out=out) is out
    np.testing.assert_array_equal(out, want)
    # The positions may lie in the memory of the result, too.
    shared = np.array([[3, 0, 9, 9]])
    npool.max_unpool(np.array([[5, 6]]), shared[:, :2], (2,), out=shared)
    assert shared.tolist() == [[6, 0, 0, 5]]


@pytest.mark.parametrize("wrong", [6, 2**40, -2])
def test_positions_outside_are_refused_before_anything_is_written(wrong):
    places = np.array([[0, 1], [2, wrong]])
    out = np.full((2, 6), 7.0)
    x = np.ones((2, 2))
    words = (
        rf"Found an invalid max index: {wrong} \(output volumes are of size 6\), in indices\[1, 1\]"
    )
    with pytest.raises(ValueError, match=words):
        npool.max_unpool(x, places, (2,), 4, out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match=words):
        npool.max_unpool(x, places, (2,), 4)
    into = np.full((6, 2), 7.0).T[::-1]
    with pytest.raises(ValueError, match=words):
        npool.max_unpool(x, places, (2,), 4, out=into)
    assert (into == 7).all()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kernel_size": 2}, ValueError, "kernel_size=2 does not say which axes"),
        ({"kernel_size": (0,)}, ValueError, "must be at least 1"),
        ({"stride": 0}, ValueError, "stride=0 must be at least 1"),
        ({"padding": -1}, ValueError, "padding=-1 must be 0 or more"),
        ({"padding": 2, "stride": 1}, ValueError, "would be -1 long"),
        (
            {"output_size": (9,)},
            ValueError,
            r"output_size=\(9,\) cannot be .* give between 3 and 5",
        ),
        ({"output_size": (2,)}, ValueError, "give between 3 and 5"),
        ({"output_size": (4, 4)}, ValueError, "has 2 entries for 1 pooled axes"),
        ({"output_size": (4.0,)}, TypeError, "must be an integer"),
        ({"indices": [[0, 1]]}, TypeError, "indices must be a numpy.ndarray, got list"),
        ({"indices": np.zeros((1, 2))}, TypeError, "must be of type int64 or int32, got float64"),
        ({"indices": np.zeros((1, 3), int)}, ValueError, r"shape of x, \(1, 2\), got \(1, 3\)"),
        ({"out": np.zeros((1, 5))}, ValueError, "out has shape"),
        ({"out": np.zeros((1, 4), int)}, TypeError, "out has dtype int64"),
        ({"x": [1.0]}, TypeError, "x must be a numpy.ndarray"),
        ({"x": np.zeros((1, 0)), "indices": np.zeros((1, 0), int)}, ValueError, "has length 0"),
    ],
)
def test_errors_in_words(arguments, error, words):
    whole = {
        "x": np.ones((1, 2)), "indices": np.array([[0, 1]]), "kernel_size": (2,), **arguments,
    }  # fmt: skip
    with pytest.raises(error, match=words):
        npool.max_unpool(**whole)


def test_empty_batches():
    nothing = np.zeros((0, 3))
    assert npool.max_unpool(nothing, nothing.astype(int), (2,)).shape == (0, 6)
