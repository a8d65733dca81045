"""Every kernel's real PTX, for sm_90 and sm_100, against the oracle on random problems."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda: pip install npool[cuda]")

import npool
from npool.testing import Problem, oracle

from away import Executor, call
from cuda_problems import GEOMETRIES, counted_gradient, picked_gradient, problem

pytestmark = pytest.mark.slow
EXECUTORS = (Executor((9, 0)), Executor((10, 0)))
#: For each kernel and architecture: 24 geometries of so many make more than 200.
PROBLEMS = 9


def close(got, wanted, ulps=4, noise=0.0):
    """Equal, or a few units in the last place apart."""
    wanted = np.asarray(wanted)
    assert got.shape == wanted.shape
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= ulps * np.spacing(np.abs(b).astype(got.dtype)).astype(float) + noise
    same = (a == b) | (np.isnan(a) & np.isnan(b)) | near
    assert same.all(), f"{got[~same][:3]} instead of {wanted[~same][:3]}"


def exactly(got, wanted):
    """Equal, bit for bit but for the sign of a zero and the payload of a NaN."""
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == wanted.dtype


FOLDS = {
    "max": dict(reduce="max"),
    "max with positions": dict(reduce="max", return_indices=True),
    "min": dict(reduce="min"),
    "min with positions": dict(reduce="min", return_indices=True, index_dtype=np.int32),
    "avg": dict(reduce="avg"),
    "avg of what is inside": dict(reduce="avg", count_include_pad=False),
    "sum": dict(reduce="sum"),
    "lp": dict(reduce="lp"),
}


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_folds(geometry):
    rng = np.random.default_rng(len(geometry.name) * 7919 + sum(geometry.kernel))
    for what, options in FOLDS.items():
        for turn in range(PROBLEMS):
            x, arguments = problem(geometry, rng, exact=what != "avg of what is inside" or turn % 2)
            with np.errstate(all="ignore"):
                wanted = oracle.pool(x, **arguments, **options)
            for executor in EXECUTORS:
                got = call(npool.pool, executor, x, **arguments, **options)
                if "return_indices" in options:
                    exactly(got[0], wanted[0])
                    exactly(got[1], wanted[1])
                elif options["reduce"] in ("max", "min"):
                    exactly(got, wanted)
                else:
                    close(got, wanted)


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
        pad = bool(turn % 2)
        for executor in EXECUTORS:
            got = call(npool.max_pool_backward, executor, gradient, indices,
                       input_shape=shape, **arguments)  # fmt: skip
            exactly(got, picked_gradient(gradient, places, shape, pooled).astype(np.float32))
            got = call(npool.sum_pool_backward, executor, gradient, input_shape=shape, **arguments)
            exactly(got, counted_gradient(gradient, shape, arguments, None).astype(np.float32))
            if not Problem("avg", shape, (0,), **_of(arguments)).has_empty_window():
                got = call(npool.avg_pool_backward, executor, gradient, input_shape=shape,
                           **arguments, count_include_pad=pad)  # fmt: skip
                close(got, counted_gradient(gradient, shape, arguments, pad), 8, 1e-6)


def _of(arguments):
    return {**arguments, "axes": None}
