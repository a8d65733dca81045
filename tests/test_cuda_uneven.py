"""The kernels of uneven windows, and those that put elements back: their PTX, by the oracle."""

import sys

import numpy as np
import pytest

pytest.importorskip(
    "numba_cuda", reason="the CUDA kernels need numba-cuda: pip install npool[cuda]"
)

import cuda_counts
from cuda_problems import GEOMETRIES, array, counted_bins, laid, picked_gradient
from test_cuda_conformance import (
    EXECUTORS,
    GRIDS,
    PROBLEMS,
    assert_close,
    assert_exact,
    counted,  # noqa: F401
    within,
)

import npool
from npool.testing import oracle

pytestmark = pytest.mark.slow

#: Pooled axes and a layout of which kernels are compiled, and how many bins each axis has.
BINS = [
    (bins, layout)
    for layout in ("C", "last", "sliced", "F")
    for bins in ((2,), (3,), (5,), (2, 3), (4, 2), (3, 5), (2, 2, 3))
]


def bins_problem(bins, layout, rng):
    """An array whose axes no bins divide: those that do are windows like others."""
    lead = [int(rng.integers(1, 3)), 3] if layout == "last" else [int(rng.integers(2, 4))]
    most = {1: 16, 2: 9, 3: 6}[len(bins)]
    lengths = [int(rng.choice([n for n in range(1, most) if n % b])) for b in bins]
    return laid(array((*lead, *lengths), "float32", rng), layout, len(lead))


@pytest.mark.parametrize(
    ("bins", "layout"), BINS, ids=lambda v: v if isinstance(v, str) else "x".join(map(str, v))
)
def test_bins(bins, layout):
    rng = np.random.default_rng(sum(bins) * 7919 + len(layout))
    axes = tuple(range(-len(bins), 0))
    asked = {"output_size": bins, "axes": axes}
    for turn in range(PROBLEMS):
        x = bins_problem(bins, layout, rng)
        with np.errstate(all="ignore"):
            values, places = oracle.pool(x, **asked, reduce="max", return_indices=True)
            means = oracle.pool(x, **asked, reduce="avg")
        gradient, indices = np.empty_like(x, shape=values.shape), np.empty_like(
            x, shape=values.shape, dtype=np.int64)  # fmt: skip
        gradient[...], indices[...] = rng.integers(-9, 10, values.shape), places
        back = {"input_shape": x.shape, **asked}
        picked = picked_gradient(gradient, places, x.shape, len(bins)).astype(np.float32)
        averages = counted_bins(gradient, x.shape, bins)
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            got = within(grids, npool.adaptive_max_pool, executor, x, return_indices=True, **asked)
            assert_exact(got[0], values)
            assert_exact(got[1], places)
            assert_exact(within(grids, npool.adaptive_max_pool, executor, x, **asked), values)
            assert_close(within(grids, npool.adaptive_avg_pool, executor, x, **asked), means)
            got = within(grids, npool.adaptive_max_pool_backward, executor, gradient, indices,
                         **back)  # fmt: skip
            assert_exact(got, picked)
            got = within(grids, npool.adaptive_avg_pool_backward, executor, gradient, **back)
            assert_close(got, averages, 8, 1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_unpooling(geometry):
    rng = np.random.default_rng(len(geometry.name) * 141650939 + sum(geometry.kernel))
    count = len(geometry.kernel)
    axes = tuple(range(-count, 0))
    lead = [2, 3] if geometry.layout == "last" else [3]
    for turn in range(PROBLEMS):
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in geometry.kernel)
        lengths = [int(k + rng.integers(0, 2 * s + (9, 6, 3, 2)[count - 1]))
                   for k, s in zip(geometry.kernel, geometry.stride, strict=True)]  # fmt: skip
        x = laid(array((*lead, *lengths), "float32", rng), geometry.layout, len(lead))
        asked = {"kernel_size": geometry.kernel, "stride": geometry.stride, "padding": padding}
        with np.errstate(all="ignore"):
            _, places = oracle.pool(x, **asked, axes=axes, reduce="max", return_indices=True)
        # Others than the maxima: where windows share one, the last result is what stays.
        pooled = np.empty_like(x, shape=places.shape)
        pooled[...] = rng.integers(-9, 10, places.shape)
        indices = np.empty_like(pooled, dtype=np.int64 if turn % 2 else np.int32)
        indices[...] = places
        wanted = put(pooled, places, x.shape, count)
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            got = within(grids, npool.max_unpool, executor, pooled, indices, axes=axes,
                         output_size=tuple(lengths), **asked)  # fmt: skip
            assert_exact(got, wanted)


def put(values, places, shape, pooled):
    """Each value at its position, one after another."""
    lead = shape[: len(shape) - pooled]
    result = np.zeros((int(np.prod(lead)), int(np.prod(shape[len(lead) :]))), values.dtype)
    flat, at = (a.reshape(result.shape[0], -1) for a in (values, places))
    for row in range(result.shape[0]):
        for value, place in zip(flat[row], at[row], strict=True):
            result[row, place] = value
    return result.reshape(shape)


def test_each_kernel_has_200_problems_of_20_geometries():
    cuda_counts.assert_enough(sys.modules[__name__])
