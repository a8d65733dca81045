"""More of the kernels' PTX against the oracle: norms' gradients, positions anywhere, steps."""

import sys

import numpy as np
import pytest

pytest.importorskip(
    "numba_cuda", reason="the CUDA kernels need numba-cuda: pip install npool[cuda]"
)

import cuda_counts
from away import call, send
from cuda_problems import (
    GEOMETRIES,
    drawn_problem,
    fractional,
    norm_gradient,
    picked_gradient,
    problem,
)
from test_cuda_conformance import (
    EXECUTORS,
    GRIDS,
    PROBLEMS,
    array,
    assert_close,
    assert_exact,
    counted,  # noqa: F401
    dtype_of,
    within,
)

import npool
from npool import functional
from npool.testing import oracle

pytestmark = pytest.mark.slow


def expanded(rng, shape):
    """A gradient as that of a sum is: one number, with strides of 0."""
    return np.broadcast_to(np.float32(rng.integers(1, 9)), shape)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_gradients_of_norms(geometry):
    rng = np.random.default_rng(len(geometry.name) * 49979687 + sum(geometry.kernel))
    for turn in range(PROBLEMS):
        x, arguments = problem(geometry, rng)
        out = oracle.output_shape(x.shape, **arguments)
        norms = np.empty_like(x, shape=out)
        norms[...] = rng.integers(0, 6, out)  # a window of zeros among them
        norms[rng.random(out) < 0.05] = np.inf
        x[np.isinf(x)] = 0
        gradient = np.empty_like(x, shape=out)
        gradient[...] = rng.integers(-9, 10, out)
        # Of one kernel all arrays lie alike, of the others none does.
        for p, given in ((2, gradient), (1, expanded(rng, out)), (3, expanded(rng, out))):
            wanted = norm_gradient(given, x, norms, p, arguments)
            for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
                got = within(grids, npool.lp_pool_backward, executor, given, x, norms,
                             norm_type=p, **arguments)  # fmt: skip
                assert_close(got, wanted, 8, 1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_gradients_that_lie_apart_from_their_positions(geometry):
    rng = np.random.default_rng(len(geometry.name) * 67867967 + sum(geometry.kernel))
    for turn in range(PROBLEMS):
        x, arguments = problem(geometry, rng)
        with np.errstate(all="ignore"):
            _, places = oracle.pool(x, **arguments, reduce="max", return_indices=True)
        indices = np.empty_like(x, shape=places.shape, dtype=np.int64)
        indices[...] = places
        gradients = [expanded(rng, places.shape)]
        if turn % 3 == 0:  # in another order, where there is one
            numbers = rng.integers(-9, 10, places.shape).astype(np.float32)
            gradients.append(np.asfortranarray(numbers))
        for given in gradients:
            wanted = picked_gradient(given, places, x.shape, len(geometry.kernel))
            for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
                got = within(grids, npool.max_pool_backward, executor, given, indices,
                             input_shape=x.shape, **arguments)  # fmt: skip
                assert_exact(got, wanted.astype(np.float32))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_gradients_of_windows_that_begin_elsewhere(geometry):
    rng = np.random.default_rng(len(geometry.name) * 86028121 + sum(geometry.kernel))
    pooled = tuple(range(-len(geometry.kernel), 0))
    for turn in range(PROBLEMS):
        x, outs, samples = drawn_problem(geometry, rng)
        _, places = fractional(x, geometry.kernel, outs, samples)
        if turn % 3 == 2:  # any position counts where it says
            size = int(np.prod([x.shape[a] for a in pooled]))
            places = rng.integers(-1, size, places.shape)
        indices = np.empty_like(x, shape=places.shape, dtype=np.int64 if turn % 2 else np.int32)
        indices[...] = places
        given = expanded(rng, places.shape)
        if turn % 2:
            given = np.empty_like(x, shape=places.shape)
            given[...] = rng.integers(-9, 10, places.shape)
        wanted = picked_gradient(given, places, x.shape, len(pooled)).astype(np.float32)
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            got = within(grids, npool.fractional_max_pool_backward, executor, given, indices,
                         input_shape=x.shape, axes=pooled)  # fmt: skip
            assert_exact(got, wanted)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_complex_averages_of_real_elements(geometry):
    rng = np.random.default_rng(len(geometry.name) * 122949823 + sum(geometry.kernel))
    for turn in range(PROBLEMS):
        x, arguments = problem(geometry, rng)
        with np.errstate(all="ignore"):
            wanted = oracle.pool(x, **arguments, reduce="avg")
        for executor, grids in zip(EXECUTORS, GRIDS[turn % 2], strict=True):
            got = within(grids, npool.avg_pool, executor, x, **arguments, dtype=np.complex64)
            assert got.dtype == np.complex64
            assert_close(got.real, wanted)
            assert not got.imag.any()


def test_each_kernel_has_200_problems_of_20_geometries():
    cuda_counts.assert_enough(sys.modules[__name__])


@pytest.fixture
def rng():
    return np.random.default_rng(12)


@pytest.mark.parametrize("source", ["int16", "int64", "float64", "float16"])
def test_complex_results_of_other_types_and_of_large_windows(source, rng):
    x = array((2, 9, 40), source, rng)
    if x.dtype.kind == "f":
        x[~np.isfinite(x)] = 2
    result = np.complex64 if source == "float16" else np.complex128
    for face, kernel, stride in ((npool.sum_pool, (9, 9), 1), (npool.avg_pool, (2, 30), 4)):
        arguments = {"kernel_size": kernel, "stride": stride, "padding": 1, "dtype": result}
        got, wanted = call(face, EXECUTORS[0], x, **arguments), face(x, **arguments)
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    arguments = {"output_size": (3, 7), "reduce": "avg", "dtype": result}
    got = call(npool.adaptive_pool, EXECUTORS[1], x, **arguments)
    np.testing.assert_allclose(got, npool.adaptive_pool(x, **arguments), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_gradients_of_norms_of_other_types(dtype, rng):
    kind = dtype_of(dtype)
    x = rng.normal(size=(2, 4, 9, 10)).astype(kind)
    x[0, 0, :3, :3] = 0
    for p, axes in ((2, (1, 2)), (1, (2, 3)) if dtype == "float64" else (3, (2, 3))):
        arguments = {"kernel_size": 3, "stride": 2, "padding": 1, "axes": axes}
        norms = npool.lp_pool(x, p, **arguments)
        gradient = rng.normal(size=norms.shape).astype(kind)
        if p == 2 and dtype == "float64":
            gradient = np.broadcast_to(kind.type(1.5), norms.shape)
        wanted = npool.lp_pool_backward(gradient, x, norms, p, **arguments)
        got = call(npool.lp_pool_backward, EXECUTORS[1], gradient, x, norms, norm_type=p,
                   **arguments)  # fmt: skip
        assert got.dtype == kind
        assert got.strides == wanted.strides
        rtol = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-12}[dtype]
        np.testing.assert_allclose(
            got.astype(float), wanted.astype(float), rtol=rtol, atol=rtol / 10
        )


def test_no_power_of_a_tiny_norm_overflows(rng):
    # In float32 norm**-2 is infinite and |x|**2 is 0: their quotient is taken first.
    x = (rng.uniform(1, 2, (2, 8)) * 1e-25).astype(np.float32)
    norms = (x.reshape(2, 4, 2).astype(float) ** 3).sum(-1) ** (1 / 3)
    norms, gradient = norms.astype(np.float32), np.ones((2, 4), np.float32)
    wanted = npool.lp_pool_backward(gradient, x, norms, 3, (2,))
    got = call(npool.lp_pool_backward, EXECUTORS[0], gradient, x, norms, norm_type=3,
               kernel_size=(2,))  # fmt: skip
    assert wanted.min() > 0.1
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int32"])
def test_positions_anywhere_of_other_types(dtype, rng):
    for shape, outs, axes in (((2, 9, 10), (4, 5), (2, 1)), ((7, 3), (1,), (0,)), ((9,), (4,), 0)):
        picked = (axes,) if isinstance(axes, int) else axes
        size = int(np.prod([shape[a] for a in picked]))
        pooled = list(shape)
        for a, n in zip(picked, outs, strict=True):
            pooled[a] = n
        gradient = rng.integers(-9, 10, pooled).astype(dtype)
        indices = rng.integers(-1, size, pooled)
        wanted = npool.fractional_max_pool_backward(gradient, indices, shape, axes=axes)
        # One that the axes do not have counts nowhere, as -1 does.
        strange = np.where(indices < 0, size + 3, indices)
        got = call(npool.fractional_max_pool_backward, EXECUTORS[1], gradient, strange,
                   input_shape=shape, axes=axes)  # fmt: skip
        assert_exact(got, wanted)
    nothing = np.zeros((2, 0), np.float32)
    got = call(npool.fractional_max_pool_backward, EXECUTORS[0], nothing,
               nothing.astype(np.int64), input_shape=(2, 4), axes=1)  # fmt: skip
    assert_exact(got, np.zeros((2, 4), np.float32))


def test_complex_elements_put_back(rng):
    x = (rng.normal(size=(2, 3, 4)) + 1j).astype(np.complex64)
    _, places = npool.max_pool(np.ascontiguousarray(x.imag * 0 + x.real), (1, 2),
                               return_indices=True)  # fmt: skip
    values = np.ascontiguousarray(x[..., :2])
    arguments = {"kernel_size": (1, 2), "output_size": (3, 4)}
    got = call(npool.max_unpool, EXECUTORS[0], values, places, **arguments)
    assert_exact(got, npool.max_unpool(values, places, **arguments))


# --- torch's names --------------------------------------------------------------------------------

#: Types, and powers that reach each of torch's ways for them.
NORMS = {
    "bool": (2, np.inf, -np.inf), "int8": (3, 2.0, np.inf, -np.inf), "uint8": (1, -np.inf),
    "int64": (2, 3, np.inf), "uint64": (3,), "float16": (2, 3, 0.5, -np.inf),
    "bfloat16": (2, 3, 0.5, -0.5, -2.0, 1.5), "float32": (1, 3, -2.0, np.inf, -np.inf),
}  # fmt: skip


@pytest.mark.parametrize("dtype", NORMS)
def test_norms_by_torchs_steps(dtype, rng):
    x = rng.normal(size=(2, 3, 7, 9)) * 8
    x = (abs(x) if dtype[0] == "u" else x).astype(dtype_of(dtype))
    if dtype == "int8":
        x[0, 0, 0, :2] = -128  # whose absolute value is not there
    if dtype[-2:] in ("16", "32"):
        x[0, 1, 2, 3], x[1, 0, 2, 3] = np.nan, -np.inf
    for p in NORMS[dtype]:
        arguments = {"kernel_size": (2, 3), "stride": 2, "ceil_mode": True, "norm_type": p}
        with np.errstate(all="ignore"):
            wanted = functional.lp_pool2d(x, **arguments)
        got = call(functional.lp_pool2d, EXECUTORS[1], x, **arguments)
        assert got.dtype == wanted.dtype
        if np.isinf(p):
            assert_exact(got.astype(float), wanted.astype(float))
            continue
        # Of half types every step is rounded: at most its last bit may differ, by the power's.
        rtol = {"float16": 2**-10, "bfloat16": 2**-7}.get(dtype, 4e-6)
        # Nothing is absolute here, so sums may cancel: float32's last bits of the largest.
        atol = 1e-5 if dtype == "float32" else 0
        np.testing.assert_allclose(got.astype(float), wanted.astype(float), rtol=rtol, atol=atol)
        if dtype[-2:] == "16":
            same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
            assert same.mean() > 0.98, f"steps are rounded elsewhere for p={p}"


def test_an_integer_to_a_power_that_wraps(rng):
    x = rng.integers(-(2**40), 2**40, (2, 3, 8))
    with np.errstate(all="ignore"):
        wanted = functional.lp_pool1d(x, 3, 2)
    np.testing.assert_allclose(
        call(functional.lp_pool1d, EXECUTORS[0], x, norm_type=3, kernel_size=2), wanted, rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"past 2\*\*53"):
        call(functional.lp_pool1d, EXECUTORS[0], x, norm_type=2**60, kernel_size=2)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16"])
def test_fractional_pooling_and_unpooling_by_torchs_names(dtype, rng):
    x = rng.permutation(2 * 3 * 7 * 9).reshape(2, 3, 7, 9).astype(dtype)
    for n, given in ((2, x), (2, x[0]), (3, np.repeat(x[:, :, None], 5, 2))):
        face = getattr(functional, f"fractional_max_pool{n}d_with_indices")
        samples = rng.random((3, 3, n)).astype(dtype if dtype[0] == "f" else "float64")
        wanted = face(given, 2, 3, None, True, samples)
        for drawn in (samples, send(samples)):
            got = call(face, EXECUTORS[0], given, kernel_size=2, output_size=3,
                       _random_samples=drawn)  # fmt: skip
            for a, b in zip(got, wanted, strict=True):
                assert_exact(a, b)
    values, places = functional.max_pool2d(x, 2, return_indices=True)
    arguments = {"kernel_size": 2, "output_size": (7, 9)}
    got = call(functional.max_unpool2d, EXECUTORS[0], values, places, **arguments)
    assert_exact(got, functional.max_unpool2d(values, places, **arguments))
    with pytest.raises(functional.ArgumentError, match="should be type int64"):
        call(functional.max_unpool2d, EXECUTORS[0], values, places.astype(np.int32), **arguments)
    with pytest.raises(functional.ArgumentError, match="to have 3 dimensions"):
        call(functional.fractional_max_pool2d, EXECUTORS[0], x, kernel_size=2, output_size=3,
             _random_samples=send(samples[0]))  # fmt: skip


def test_what_gradients_are_refused_for(rng):
    x = rng.normal(size=(3, 8)).astype(np.float32)
    norms = npool.lp_pool(x, 2, (2,))
    for given, error, words in [
        ((norms, x, norms[:, :3]), ValueError, "but pooling gives"),
        ((norms, x, norms.astype(np.float64)), TypeError, "but grad_output has"),
        ((norms.astype(np.int32), x, norms), TypeError, "use floats"),
    ]:
        arrays = [np.ascontiguousarray(a) for a in given]
        with pytest.raises(error, match=words):
            call(npool.lp_pool_backward, EXECUTORS[0], *arrays, norm_type=2, kernel_size=(2,))
    places = np.zeros((3, 4), np.int64)
    with pytest.raises(TypeError, match="no such gradient"):
        call(npool.fractional_max_pool_backward, EXECUTORS[0], places.astype(bool), places,
             input_shape=(3, 8), axes=1)  # fmt: skip
    with pytest.raises(ValueError, match="may differ only along"):
        call(npool.fractional_max_pool_backward, EXECUTORS[0], places[:2].astype(float), places[:2],
             input_shape=(3, 8), axes=1)  # fmt: skip
