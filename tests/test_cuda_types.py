"""Kernels of the other types and reducers: their PTX, against the oracle."""

import sys

import numpy as np
import pytest

pytest.importorskip(
    "numba_cuda", reason="the CUDA kernels need numba-cuda: pip install npool[cuda]"
)

import cuda_counts
from cuda_problems import SMALL, array, counted_gradient, laid, picked_gradient, problem
from test_cuda_conformance import (
    EXECUTORS,
    GRIDS,
    assert_exact,
    counted,  # noqa: F401
    dtype_of,
    within,
)
from test_cuda_uneven import put

import npool
from npool.testing import Problem, oracle

pytestmark = pytest.mark.slow

#: For each kernel and architecture: 20 geometries of so many make 200.
PROBLEMS = 10
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float64")
#: Of each type one after another, from geometry to geometry.
FOLDS = [
    {"reduce": "max"}, {"reduce": "sum"}, {"reduce": "min", "return_indices": True},
    {"reduce": "avg"}, {"reduce": "max", "return_indices": True, "index_dtype": np.int32},
    {"reduce": "min"}, {"reduce": "avg", "count_include_pad": False},
]  # fmt: skip
OTHERS = [op for op in npool.REDUCERS if op not in ("max", "min", "avg", "sum", "lp")]


def of_type(geometry, dtype, rng):
    """A problem with elements of a type."""
    kind = dtype_of(dtype)
    x, arguments = problem(geometry, rng, "float32" if kind.kind == "V" else dtype)
    if kind.kind == "V":
        lead = x.ndim - len(geometry.kernel)
        x = laid(np.ascontiguousarray(x).astype(kind), geometry.layout, lead)
    return x, arguments


def assert_allowed(got, answer):
    """Within the error that the oracle allows."""
    wanted = answer.values
    assert got.dtype == wanted.dtype
    if wanted.dtype.kind in "biu":
        np.testing.assert_array_equal(got, wanted)
        return
    a, b = got.astype(float), wanted.astype(float)
    with np.errstate(all="ignore"):
        good = (a == b) | (np.abs(a - b) <= answer.allowed) | (np.isnan(a) & np.isnan(b))
    assert good.all(), f"{got[~good][:3]} instead of {wanted[~good][:3]}"


def both(turn, face, *arrays, **arguments):
    """The results of the two architectures."""
    for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
        yield within(grids, face, executor, *arrays, **arguments)


@pytest.mark.parametrize("geometry", SMALL, ids=lambda g: g.name)
def test_types(geometry):
    rng = np.random.default_rng(len(geometry.name) * 179424673 + sum(geometry.kernel))
    number = SMALL.index(geometry)
    for i, dtype in enumerate(("bool", *INTEGERS, *FLOATS)):
        options = FOLDS[(number + i) % len(FOLDS)]
        for turn in range(PROBLEMS):
            x, arguments = of_type(geometry, dtype, rng)
            if x.dtype.kind in "iu":  # to the ends of their ranges
                x[rng.random(x.shape) < 0.1] = np.iinfo(x.dtype).max
            with np.errstate(all="ignore"):
                answer = oracle.answer(x, **arguments, **options)
            for got in both(turn, npool.pool, x, **arguments, **options):
                values, *places = got if isinstance(got, tuple) else (got,)
                if options["reduce"] in ("max", "min"):
                    assert_exact(values, answer.values)
                else:
                    assert_allowed(values, answer)
                for found in places:
                    assert_exact(found, answer.indices)


@pytest.mark.parametrize("geometry", SMALL, ids=lambda g: g.name)
def test_other_reducers(geometry):
    rng = np.random.default_rng(len(geometry.name) * 198491317 + sum(geometry.kernel))
    for op in OTHERS:
        for turn in range(PROBLEMS):
            x, arguments = problem(geometry, rng, exact=turn % 2 == 0)
            with np.errstate(all="ignore"):
                answer = oracle.answer(x, **arguments, reduce=op)
            for got in both(turn, npool.pool, x, **arguments, reduce=op):
                assert_allowed(got, answer)


@pytest.mark.parametrize("geometry", SMALL, ids=lambda g: g.name)
def test_gradients_of_types(geometry):
    rng = np.random.default_rng(len(geometry.name) * 217645199 + sum(geometry.kernel))
    pooled = len(geometry.kernel)
    for i, dtype in enumerate(FLOATS):
        picking = (SMALL.index(geometry) + i) % 2
        for turn in range(PROBLEMS):
            x, arguments = of_type(geometry, dtype, rng)
            shape = x.shape
            numbers = np.ascontiguousarray(x).astype(float)
            with np.errstate(all="ignore"):
                _, places = oracle.pool(numbers, **arguments, reduce="max", return_indices=True)
            gradient = np.empty_like(x, shape=places.shape)
            gradient[...] = rng.integers(-9, 10, places.shape).astype(x.dtype)
            indices = np.empty_like(x, shape=places.shape, dtype=np.int64)
            indices[...] = places
            given = gradient.astype(float)
            if picking:
                wanted = picked_gradient(given, places, shape, pooled)
                for got in both(turn, npool.max_pool_backward, gradient, indices, input_shape=shape,
                                **arguments):  # fmt: skip
                    assert_exact(got, wanted.astype(x.dtype))
                continue
            empty = Problem("avg", shape, (0,), **arguments, axes=None).has_empty_window()
            pad = bool(turn % 2) or empty
            wanted = counted_gradient(given, shape, arguments, pad)
            unit = {"float16": 2**-10, "bfloat16": 2**-7, "float64": 2**-50}[dtype]
            for got in both(turn, npool.avg_pool_backward, gradient, input_shape=shape,
                            **arguments, count_include_pad=pad):  # fmt: skip
                assert got.dtype == x.dtype
                # A float32 or float64 inside, rounded once.
                np.testing.assert_allclose(got.astype(float), wanted, rtol=unit, atol=unit * 1e-2)


@pytest.mark.parametrize("geometry", SMALL, ids=lambda g: g.name)
def test_what_is_moved(geometry):
    """Put back and taken, by the size of an element."""
    rng = np.random.default_rng(len(geometry.name) * 236887699 + sum(geometry.kernel))
    pooled = len(geometry.kernel)
    axes = tuple(range(-pooled, 0))
    for i, dtype in enumerate(("uint8", "float16", "float64")):
        taking = (SMALL.index(geometry) + i) % 2
        for turn in range(PROBLEMS):
            lead = [2, 3] if geometry.layout == "last" else [3]
            pads = tuple(int(rng.integers(0, k // 2 + 1)) for k in geometry.kernel)
            lengths = [int(k + rng.integers(0, 2 * s + 6))
                       for k, s in zip(geometry.kernel, geometry.stride, strict=True)]  # fmt: skip
            x = laid(array((*lead, *lengths), dtype, rng), geometry.layout, len(lead))
            asked = {"kernel_size": geometry.kernel, "stride": geometry.stride, "padding": pads}
            with np.errstate(all="ignore"):
                _, places = oracle.pool(x, **asked, axes=axes, reduce="max", return_indices=True)
            values = np.empty_like(x, shape=places.shape)
            values[...] = rng.integers(0, 10, places.shape)
            indices = np.empty_like(values, dtype=np.int64 if turn % 2 else np.int32)
            indices[...] = places
            if not taking:
                for got in both(turn, npool.max_unpool, values, indices, axes=axes,
                                output_size=tuple(lengths), **asked):  # fmt: skip
                    assert_exact(got, put(values, places, x.shape, pooled))
                continue
            flat = x.reshape(*x.shape[: len(lead)], -1)
            wanted = np.take_along_axis(flat, places.reshape(*lead, -1), -1).reshape(places.shape)
            for got in both(turn, npool.take_pooled, x, indices, axes=axes):
                assert_exact(got, wanted)


def test_each_kernel_has_200_problems_of_20_geometries():
    cuda_counts.assert_enough(sys.modules[__name__])
