"""Every kernel's real PTX, for sm_90 and sm_100, against the oracle on random problems."""

import sys
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

pytest.importorskip(
    "numba_cuda", reason="the CUDA kernels need numba-cuda: pip install npool[cuda]"
)

import cuda_counts
from away import Executor, call, send, small_grids
from cuda_problems import (
    GEOMETRIES,
    array,
    counted_gradient,
    drawn_problem,
    fractional,
    laid,
    picked_gradient,
    problem,
)

import npool
from npool.testing import Problem, oracle

pytestmark = pytest.mark.slow
EXECUTORS = (Executor((9, 0)), Executor((10, 0)))
#: Threads that have one plane each, and a few that go through all: each architecture, by turns.
GRIDS = ((nullcontext, small_grids), (small_grids, nullcontext))
#: For each kernel and architecture: 24 geometries of so many make more than 200.
PROBLEMS = 9


@pytest.fixture(autouse=True)
def counted(request):
    """Holds a test of many problems to its rows in the table."""
    cuda_counts.forget()
    yield
    node = request.node
    cuda_counts.check(getattr(node, "originalname", ""), node.callspec.id
                      if hasattr(node, "callspec") else "")  # fmt: skip


def assert_close(got, wanted, ulps=4, noise=0.0):
    """Equal, or a few units in the last place apart."""
    wanted = np.asarray(wanted)
    assert got.shape == wanted.shape
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= ulps * np.spacing(np.abs(b).astype(got.dtype)).astype(float) + noise
    same = (a == b) | (np.isnan(a) & np.isnan(b)) | near
    assert same.all(), f"{got[~same][:3]} instead of {wanted[~same][:3]}"


def assert_exact(got, wanted):
    """Equal, bit for bit but for the sign of a zero and the payload of a NaN."""
    assert got.dtype == wanted.dtype
    if got.dtype.kind == "V":  # bfloat16, whose NaN NumPy does not know
        got, wanted = got.astype(np.float32), wanted.astype(np.float32)
    np.testing.assert_array_equal(got, wanted)


def dtype_of(name):
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


FOLDS = {
    "max": {"reduce": "max"},
    "max with positions": {"reduce": "max", "return_indices": True},
    "min": {"reduce": "min"},
    "min with positions": {"reduce": "min", "return_indices": True, "index_dtype": np.int32},
    "avg": {"reduce": "avg"},
    "avg of what is inside": {"reduce": "avg", "count_include_pad": False},
    "sum": {"reduce": "sum"},
    "lp": {"reduce": "lp"},
}


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_folds(geometry):
    rng = np.random.default_rng(len(geometry.name) * 7919 + sum(geometry.kernel))
    for what, options in FOLDS.items():
        for turn in range(PROBLEMS):
            x, arguments = problem(geometry, rng, exact=what != "avg of what is inside" or turn % 2)
            with np.errstate(all="ignore"):
                wanted = oracle.pool(x, **arguments, **options)
            for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
                with grids():
                    got = call(npool.pool, executor, x, **arguments, **options)
                if "return_indices" in options:
                    assert_exact(got[0], wanted[0])
                    assert_exact(got[1], wanted[1])
                elif options["reduce"] in ("max", "min"):
                    assert_exact(got, wanted)
                else:
                    assert_close(got, wanted)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_gradients(geometry):
    rng = np.random.default_rng(len(geometry.name) * 104729 + sum(geometry.kernel))
    pooled = len(geometry.kernel)
    for turn in range(PROBLEMS):
        x, arguments = problem(geometry, rng)
        shape = x.shape
        out = oracle.output_shape(shape, **arguments)
        gradient = np.empty_like(x, shape=out)
        gradient[...] = rng.integers(-9, 10, out)
        with np.errstate(all="ignore"):
            _, places = oracle.pool(x, **arguments, reduce="max", return_indices=True)
        indices = np.empty_like(gradient, dtype=np.int64 if turn % 2 else np.int32)
        indices[...] = places
        # Where padding does not count, a window of nothing else has no average.
        empty = Problem("avg", shape, (0,), **_of(arguments)).has_empty_window()
        pad = bool(turn % 2) or empty
        picked = picked_gradient(gradient, places, shape, pooled).astype(np.float32)
        sums = counted_gradient(gradient, shape, arguments, None).astype(np.float32)
        averages = counted_gradient(gradient, shape, arguments, pad)
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            around = partial(within, grids)
            got = around(npool.max_pool_backward, executor, gradient, indices,
                       input_shape=shape, **arguments)  # fmt: skip
            assert_exact(got, picked)
            got = around(
                npool.sum_pool_backward, executor, gradient, input_shape=shape, **arguments
            )
            assert_exact(got, sums)
            got = around(npool.avg_pool_backward, executor, gradient, input_shape=shape,
                         **arguments, count_include_pad=pad)  # fmt: skip
            assert_close(got, averages, 8, 1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_windows_that_begin_elsewhere_in_each_plane(geometry):
    rng = np.random.default_rng(len(geometry.name) * 15485863 + sum(geometry.kernel))
    pooled = tuple(range(-len(geometry.kernel), 0))
    for turn in range(PROBLEMS):
        x, outs, samples = drawn_problem(geometry, rng)
        # Samples that lie on the device, and those that the host has to send there.
        single = samples.astype(np.float32)
        values, _ = fractional(x, geometry.kernel, outs, single)
        both = fractional(x, geometry.kernel, outs, samples)
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            around = partial(within, grids)
            given = {"kernel_size": geometry.kernel, "output_size": outs, "axes": pooled}
            got = around(npool.fractional_max_pool, executor, x, samples=send(single), **given)
            assert_exact(got, values)
            got = around(npool.fractional_max_pool, executor, x, samples=samples,
                         return_indices=True, **given)  # fmt: skip
            for a, b in zip(got, both, strict=True):
                assert_exact(a, b)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_elements_at_positions(geometry):
    rng = np.random.default_rng(len(geometry.name) * 32452843 + sum(geometry.kernel))
    pooled = tuple(range(-len(geometry.kernel), 0))
    for turn in range(PROBLEMS):
        x, arguments = problem(geometry, rng)
        with np.errstate(all="ignore"):
            _, places = oracle.pool(x, **arguments, reduce="max", return_indices=True)
        index = np.empty_like(x, shape=places.shape, dtype=np.int64 if turn % 2 else np.int32)
        index[...] = places
        other = np.empty_like(x)
        other[...] = rng.integers(-9, 10, x.shape)
        flat = other.reshape(*x.shape[: x.ndim - len(pooled)], -1)
        lead = flat.shape[:-1]
        wanted = np.take_along_axis(flat, places.reshape(*lead, -1).clip(0), -1)
        wanted = np.where(places < 0, np.float32(0), wanted.reshape(places.shape))
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            got = within(grids, npool.take_pooled, executor, other, index, axes=pooled)
            assert_exact(got, wanted)


def test_every_kernel_has_200_problems_of_20_geometries():
    cuda_counts.assert_enough(sys.modules[__name__])


def within(grids, *arguments, **options):
    """`call`, in grids of one kind."""
    with grids():
        return call(*arguments, **options)


def _of(arguments):
    return {**arguments, "axes": None}


@pytest.mark.parametrize("drawn", ["float16", "bfloat16", "float32", "float64"])
def test_samples_of_every_type(drawn):
    rng = np.random.default_rng(3)
    for shape, kernel, outs, axes in (
        ((2, 9, 11, 4), (2, 2), (3, 6), (1, 2)),
        ((2, 30, 31), (9, 8), (10, 12), (2, 1)),  # too many taps: pooled everywhere first
        ((3, 20), (4,), (1,), (1,)),
    ):
        for dtype in ("float16", "int8") if drawn == "float32" else ("float32",):
            x = array(shape, dtype, rng)
            apart = [n for axis, n in enumerate(shape) if axis not in axes]
            samples = rng.random((*apart, len(axes))).astype(dtype_of(drawn))
            given = {"kernel_size": kernel, "output_size": outs, "axes": axes,
                     "return_indices": True}  # fmt: skip
            wanted = npool.fractional_max_pool(x, samples=samples, **given)
            got = call(npool.fractional_max_pool, EXECUTORS[0], x, samples=send(samples), **given)
            for a, b in zip(got, wanted, strict=True):
                assert_exact(a, b)
                assert a.strides == b.strides


def test_a_sample_that_is_none_leads_nowhere():
    x = np.arange(12, dtype=np.float32)
    for u, like in ((np.nan, 0.0), (-3.0, 0.0), (np.inf, 1.0)):
        samples = np.array([u], np.float32)
        got = call(npool.fractional_max_pool, EXECUTORS[0], x, kernel_size=(2,), output_size=(5,),
                   samples=send(samples))  # fmt: skip
        wanted = npool.fractional_max_pool(x, (2,), (5,), samples=np.array([like], np.float32))
        assert_exact(got, wanted)


# --- types, reducers, large windows, bins, unpooling ----------------------------------------------


@pytest.fixture
def rng():
    """The same numbers for each test, whatever ran before it."""
    return np.random.default_rng(9)


#: An element type, the reductions that are tried of it, and whether its channels come last.
TYPES = {
    "bool": ("max", "sum", False), "int8": ("max", "avg", False), "uint8": ("min", "sum", True),
    "int16": ("sum", "avg", False), "uint32": ("max", "avg", False), "int64": ("min", "avg", False),
    "uint64": ("max", "sum", False), "float16": ("max", "avg", True),
    "bfloat16": ("min", "avg", True), "float64": ("max", "avg", False),
    "complex64": ("sum", "avg", False),
}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
def test_each_type(dtype, rng):
    kind = dtype_of(dtype)
    *ops, last = TYPES[dtype]
    x = array((2, 4, 5, 7), "float32" if kind.kind in "cV" else dtype, rng, True).astype(kind)
    x = laid(x, "last" if last else "C", 2)
    arguments = {"kernel_size": (2, 3), "stride": (2, 1), "padding": 1}
    for op in ops:
        with np.errstate(all="ignore"):
            wanted = oracle.pool(x, **arguments, reduce=op)
        got = call(npool.pool, EXECUTORS[0], x, **arguments, reduce=op)
        assert got.dtype == wanted.dtype
        if op in ("max", "min"):
            assert_exact(got.astype(float) if kind.kind == "V" else got,
                    wanted.astype(float) if kind.kind == "V" else wanted)  # fmt: skip
        elif kind.kind == "c":
            np.testing.assert_allclose(got, wanted, rtol=1e-6)
        elif kind.kind == "V":
            np.testing.assert_allclose(got.astype(float), wanted.astype(float), rtol=2**-7)
        else:
            assert_close(got, wanted, 4 if kind.kind == "f" else 1)


@pytest.mark.parametrize("op", [op for op in npool.REDUCERS if op not in FOLDS])
def test_every_other_reducer(op, rng):
    for dtype in ("float32", "int16"):
        x = array((2, 3, 5, 7), dtype, rng)
        arguments = {"kernel_size": (2, 3), "stride": (2, 1), "padding": 1}
        with np.errstate(all="ignore"):
            wanted = npool.pool(x, **arguments, reduce=op)
        for executor in EXECUTORS:
            got = call(npool.pool, executor, x, **arguments, reduce=op)
            assert got.dtype == wanted.dtype
            np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-6)


def test_powers_and_a_reducer_of_ones_own(rng):
    x = np.abs(array((2, 3, 9), "float32", rng))
    for p in (1, 3, 0.5):
        with np.errstate(all="ignore"):
            wanted = npool.lp_pool(x, p, (3,))
        got = call(npool.lp_pool, EXECUTORS[0], x, norm_type=p, kernel_size=(3,))
        np.testing.assert_allclose(got, wanted, rtol=2e-6)
    both = npool.Reducer("both", lambda a, b: (a[0] + b[0], a[1] * b[1]), (0, 1),
                         lift=lambda v: (v, v), finish=lambda a, n: a[0] - a[1])  # fmt: skip
    with np.errstate(all="ignore"):
        wanted = npool.pool(x, (3,), reduce=both)
    got = call(npool.pool, EXECUTORS[1], x, kernel_size=(3,), reduce=both)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


MAX, AVG = {"reduce": "max"}, {"reduce": "avg", "count_include_pad": False}
PLACED = {"reduce": "max", "return_indices": True}
LARGE = {
    "built from 8 and 64": ((3, 200), (100,), {"stride": 1, "padding": 50}, (MAX, AVG, PLACED)),
    "walked": ((3, 700), (300,), {"stride": 200, "padding": 7, "ceil_mode": True}, (AVG, PLACED)),
    "in pieces": ((3, 2000), (2000,), {}, (MAX, PLACED)),
    "a plane": ((3, 40, 50), (40, 50), {}, (AVG,)),
    "one axis after another": ((3, 30, 20), (7, 9), {"stride": 1, "padding": 3}, (MAX, AVG)),
    "clipped, dilated, channels last": (
        (40, 50, 3), (35, 19),
        {"stride": (1, 2), "padding": 9, "dilation": (1, 2), "axes": (0, 1)}, (AVG,)),
    "mostly padding": ((5, 7), (2, 100), {"stride": 1, "padding": 60}, (MAX, AVG)),
}  # fmt: skip


@pytest.mark.parametrize("case", LARGE)
def test_large_windows(case, rng):
    shape, kernel, arguments, asked = LARGE[case]
    x = array(shape, "float32", rng)
    x[~np.isfinite(x)] = 1
    x.flat[7::211] = np.nan
    for options in asked:
        wanted = npool.pool(x, kernel, **arguments, **options)
        got = call(npool.pool, EXECUTORS[0], x, kernel_size=kernel, **arguments, **options)
        if options is AVG:
            np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)
        elif options is MAX:
            assert_exact(got, wanted)
        else:
            for a, b in zip(got, wanted, strict=True):
                assert_exact(a, b)


def test_positions_of_axes_in_another_order(rng):
    x = np.round(rng.normal(size=(3, 9, 8)) * 2).astype(np.float32)
    for kernel in ((2, 3), (5, 20)):
        arguments = {
            "axes": (2, 1),
            "padding": ((1, 0), (9, 9)),
            "stride": 1,
            "return_indices": True,
        }
        wanted = oracle.pool(x, kernel, **arguments, reduce="min")
        got = call(npool.min_pool, EXECUTORS[0], x, kernel_size=kernel, **arguments)
        for a, b in zip(got, wanted, strict=True):
            assert_exact(a, b)


def test_a_sum_of_1024_stays_within_8_units_in_the_last_place(rng):
    x = rng.uniform(0, 1, (64, 3072)).astype(np.float32)
    for stride in (1024, 600):
        got = call(npool.sum_pool, EXECUTORS[0], x, kernel_size=(1024,), stride=stride)
        starts = range(0, 3072 - 1023, stride)
        exact = np.stack([x[:, s : s + 1024].astype(np.float64).sum(1) for s in starts], 1)
        assert (np.abs(got - exact) / np.spacing(exact.astype(np.float32))).max() < 8


@pytest.mark.parametrize(("shape", "bins", "axes"), [((3, 7, 10), (3, 4), (1, 2)),
                                                     ((7, 10, 3), (9, 4), (0, 1))])  # fmt: skip
def test_adaptive_bins(shape, bins, axes, rng):
    x = rng.integers(-9, 9, shape).astype(np.float32)
    for function, options in ((npool.adaptive_max_pool, {"return_indices": True}),
                              (npool.adaptive_avg_pool, {})):  # fmt: skip
        wanted = function(x, bins, axes=axes, **options)
        got = call(function, EXECUTORS[1], x, output_size=bins, axes=axes, **options)
        for a, b in zip(np.atleast_1d(got), np.atleast_1d(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    values, places = npool.adaptive_max_pool(x, bins, axes=axes, return_indices=True)
    got = call(npool.adaptive_max_pool_backward, EXECUTORS[0], values, places,
               input_shape=shape, output_size=bins, axes=axes)  # fmt: skip
    assert_exact(got, npool.adaptive_max_pool_backward(values, places, shape, bins, axes=axes))
    got = call(npool.adaptive_avg_pool_backward, EXECUTORS[0], values, input_shape=shape,
               output_size=bins, axes=axes)  # fmt: skip
    wanted = npool.adaptive_avg_pool_backward(values, shape, bins, axes=axes)
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("overlap", ["sum", "average"])
def test_gradients_of_large_windows_cost_what_smaller_ones_do(overlap, rng):
    face = npool.sum_pool_backward if overlap == "sum" else npool.avg_pool_backward
    cost = []
    for kernel in (33, 65, 257):
        arguments = {"kernel_size": (kernel,), "stride": 1, "padding": kernel // 2}
        gradient = rng.uniform(1, 2, (2, 600)).astype(np.float32)
        EXECUTORS[0].reports.clear()
        got = call(face, EXECUTORS[0], gradient, input_shape=(2, 600), **arguments)
        cost.append(sum(report.instructions for _, report in EXECUTORS[0].reports))
        np.testing.assert_allclose(got, face(gradient, (2, 600), **arguments), rtol=2e-6)
    # 33 is 8 * 4 + 1, 257 = 64 * 4 + 1: a level more, where asking each window would be 8 times.
    assert cost[2] < 2 * cost[0]


def test_positions_that_an_array_has_not_give_0(rng):
    x = rng.integers(1, 9, (3, 4, 5)).astype(np.int16)
    places = np.array([[[-1], [20]], [[3], [19]], [[2**31], [0]]])
    for axes in ((1, 2), (2, 1)):
        got = call(npool.take_pooled, EXECUTORS[1], x, places, axes=axes)
        wanted = npool.take_pooled(x, np.where((places < 0) | (places > 19), -1, places), axes=axes)
        assert_exact(got, wanted)
    gradient = x.astype(np.float32)
    got = call(npool.max_unpool_backward, EXECUTORS[1], gradient, places % 20, axes=(1, 2))
    assert_exact(got, npool.max_unpool_backward(gradient, places % 20, axes=(1, 2)))


@pytest.mark.parametrize("dtype", ["float32", "int8", "float16"])
def test_unpooling_of_types(dtype, rng):
    x = rng.permutation(2 * 3 * 7 * 9).reshape(2, 3, 7, 9).astype(dtype)
    for kernel, stride in (((2, 2), None), ((3, 2), (2, 2))):
        pooled, places = npool.max_pool(x, kernel, stride, return_indices=True)
        arguments = {"kernel_size": kernel, "stride": stride, "output_size": (7, 9)}
        wanted = npool.max_unpool(pooled, places, **arguments)
        assert_exact(call(npool.max_unpool, EXECUTORS[0], pooled, places, **arguments), wanted)


def test_gradients_of_many_windows_and_of_halves(rng):
    for dtype, kernel, stride in (("float32", (11, 7), 1), ("float16", (3, 3), 2),
                                  ("float64", (9, 2), (7, 1))):  # fmt: skip
        x = rng.integers(-9, 9, (2, 20, 16)).astype(dtype)
        arguments = {"kernel_size": kernel, "stride": stride, "padding": (kernel[0] // 2, 0)}
        values, places = npool.max_pool(x, **arguments, return_indices=True)
        got = call(npool.max_pool_backward, EXECUTORS[1], values, places, input_shape=x.shape,
                   **arguments)  # fmt: skip
        wanted = picked_gradient(values.astype(float), places, x.shape, 2)
        np.testing.assert_allclose(
            got.astype(float), wanted, rtol=1e-3 if dtype[-2:] == "16" else 0
        )
        got = call(npool.avg_pool_backward, EXECUTORS[0], values, input_shape=x.shape, **arguments)
        wanted = counted_gradient(values.astype(float), x.shape, arguments, True)
        rtol = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(got.astype(float), wanted, rtol=rtol, atol=rtol)
