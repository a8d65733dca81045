"""Gradients on plain arrays: against the oracle, torch's autograd, and their own definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npool
from npool import testing
from npool.cpu.spread_axes import alike
from npool.testing import gradients as oracle
from npool.testing.layouts import LAYOUTS

ORDERS = ("C", "fortran", "channels_last", "transposed", "sliced", "reversed", "big_endian")
ORDERS = tuple(name for name in ORDERS if name in LAYOUTS)
CLOSE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6, "float64": 1e-14,
         "complex64": 2e-6, "complex128": 1e-14}  # fmt: skip


def gradient_of(problem, shape, dtype=None):
    """Small integers of both signs, in the problem's layout and dtype."""
    rng = np.random.default_rng(abs(hash(problem.values)) % 2**32)
    low = 0 if np.dtype(problem.array().dtype).kind == "u" else -9
    values = rng.integers(low, 9, shape)
    return LAYOUTS[problem.layout](values.astype(dtype or problem.array().dtype.newbyteorder("=")))


def picked_axes(problem):
    count = len(problem.kernel_size) if isinstance(problem.kernel_size, tuple) else 1
    axes = problem.axes
    if axes is None:
        return tuple(range(len(problem.shape) - count, len(problem.shape)))
    return tuple(a % len(problem.shape) for a in ((axes,) if isinstance(axes, int) else axes))


def geometry(problem):
    given = problem.geometry()
    kernel, stride, padding, dilation, ceil = (
        given.pop(k) for k in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    )
    return (kernel, stride, padding, dilation, ceil), given


def check_close(got, wanted, gradient, text):
    dtype = gradient.dtype.newbyteorder("=")
    assert (got.dtype, got.shape) == (dtype, wanted.shape), text
    if dtype.kind in "iu":
        assert np.array_equal(got.astype(object), wanted.astype(object)), text
        return
    kind = np.complex128 if dtype.kind == "c" else np.float64
    scale = CLOSE[dtype.name] * max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(got.astype(kind), wanted, CLOSE[dtype.name], scale, err_msg=text)


FLOATS = ("float32", "float64", "float16")
SHARE = settings.default.max_examples * 3 // 10


@settings(max_examples=SHARE)
@given(
    testing.problems(ops=("max",), dtypes=("float32", "float16", "int8"), layouts=ORDERS),
    st.sampled_from([np.int64, np.int32]),
)
def test_extremes(problem, index):
    x = problem.array()
    arguments, options = geometry(problem)
    pool = getattr(npool, f"{problem.op}_pool")
    backward = getattr(npool, f"{problem.op}_pool_backward")
    values, places = pool(x, *arguments, **options, return_indices=True, index_dtype=index)
    gradient = gradient_of(problem, values.shape)
    got = backward(gradient, places, x.shape, *arguments, **options)
    wanted = oracle.picked_backward(gradient, places, x.shape, picked_axes(problem))
    if gradient.dtype.kind in "iu":
        wanted = wanted.astype(np.int64).astype(gradient.dtype.newbyteorder("="))
    check_close(got, wanted, gradient, str(problem))
    again = npool.take_pooled(x, places, axes=picked_axes(problem))
    assert np.array_equal(again.astype(float), oracle.picked(x, places, picked_axes(problem)),
                          equal_nan=True)  # fmt: skip


@settings(max_examples=SHARE)
@given(testing.problems(ops=("sum",), dtypes=(*FLOATS, "int32", "complex64"),
                        layouts=ORDERS))  # fmt: skip
def test_sums(problem):
    arguments, options = geometry(problem)
    shape = problem.shape
    taps = oracle.window_taps(shape, *arguments, **options)
    gradient = gradient_of(problem, problem.output_shape())
    got = npool.sum_pool_backward(gradient, shape, *arguments, **options)
    wanted = oracle.sums_backward(gradient, shape, taps)
    if gradient.dtype.kind in "iu":
        wanted = wanted.astype(np.int64).astype(gradient.dtype.newbyteorder("="))
    check_close(got, wanted, gradient, str(problem))


@settings(max_examples=SHARE)
@given(testing.problems(ops=("avg",), dtypes=FLOATS, layouts=ORDERS),
       st.booleans(), st.sampled_from([None, None, 3, -2]))  # fmt: skip
def test_averages(problem, include_pad, divisor):
    arguments, options = geometry(problem)
    shape = problem.shape
    taps = oracle.window_taps(shape, *arguments, **options, count_include_pad=include_pad)
    gradient = gradient_of(problem, problem.output_shape())
    got = npool.avg_pool_backward(
        gradient, shape, *arguments, **options, count_include_pad=include_pad,
        divisor_override=divisor,
    )  # fmt: skip
    wanted = oracle.sums_backward(gradient, shape, taps, divisor or "count")
    check_close(got, wanted, gradient, f"{problem} {include_pad} {divisor}")


@settings(max_examples=SHARE)
@given(testing.problems(ops=("lp",), dtypes=("float32",),
                        data=("integers", "ties", "floats"), layouts=ORDERS),
       st.sampled_from([1, 2, 3]))  # fmt: skip
def test_norms(problem, p):
    x = problem.array()
    arguments, options = geometry(problem)
    norms = npool.lp_pool(x, p, *arguments, **options)
    gradient = gradient_of(problem, norms.shape)
    got = npool.lp_pool_backward(gradient, x, norms, p, *arguments, **options)
    taps = oracle.window_taps(x.shape, *arguments, **options)
    wanted = oracle.lp_backward(gradient, x, p, taps)
    dtype = gradient.dtype.newbyteorder("=")
    near = 4 * CLOSE[dtype.name] * max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(got.astype(float), wanted, 0, near, err_msg=str(problem))


@st.composite
def adaptive(draw):
    """A shape, a size for each of some axes, and a layout."""
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)))
    axes = tuple(draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))])
    sizes = tuple(draw(st.integers(1, 14)) for _ in axes)
    return shape, axes, sizes, draw(st.sampled_from(ORDERS))


@settings(max_examples=SHARE)
@given(adaptive(), st.sampled_from(["float32", "float64", "float16"]))
def test_adaptive(call, dtype):
    shape, axes, sizes, layout = call
    rng = np.random.default_rng(sum(shape))
    x = rng.integers(-9, 9, shape).astype(dtype)
    values, places = npool.adaptive_max_pool(x, sizes, axes=axes, return_indices=True)
    gradient = LAYOUTS[layout](rng.integers(-9, 9, values.shape).astype(dtype))
    got = npool.adaptive_max_pool_backward(gradient, places, shape, sizes, axes=axes)
    check_close(got, oracle.picked_backward(gradient, places, shape, axes), gradient, str(call))
    same = npool.fractional_max_pool_backward(gradient, places, shape, axes=axes)
    assert same.tobytes() == got.tobytes()
    got = npool.adaptive_avg_pool_backward(gradient, shape, sizes, axes=axes)
    taps = oracle.bin_taps(shape, sizes, axes)
    check_close(got, oracle.sums_backward(gradient, shape, taps, "count"), gradient, str(call))


# --- torch --------------------------------------------------------------------------------------

KINDS = [
    (1, 2, 2, 0), (1, 3, 1, 1), (2, 2, 2, 0), (2, 3, 2, 1), (2, 3, 1, 1), (2, 5, 3, 2),
    (3, 2, 2, 0), (3, 3, 1, 1), (3, 3, 2, 1),
]  # fmt: skip


@pytest.mark.parametrize(("rank", "kernel", "stride", "padding"), KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_agrees(rank, kernel, stride, padding, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.nn.functional
    rng = np.random.default_rng(rank)
    for ceil_mode in (False, True):
        # Few different values: most windows have ties.
        x = rng.integers(0, 4, (2, 3, *(9, 11, 7)[:rank])).astype(dtype)
        tensor = torch.from_numpy(x).requires_grad_()
        arguments = (kernel, stride, padding)
        names = (kernel,) * rank, stride, padding, 1, ceil_mode
        values, places = npool.max_pool(x, *names, return_indices=True)
        gradient = rng.random(values.shape).astype(dtype)

        def wanted(output, tensor=tensor, gradient=gradient):
            (found,) = torch.autograd.grad(output, tensor, torch.from_numpy(gradient))
            return found.numpy()

        call = getattr(theirs, f"max_pool{rank}d")(tensor, *arguments, ceil_mode=ceil_mode)
        got = npool.max_pool_backward(gradient, places, x.shape, *names)
        np.testing.assert_allclose(got, wanted(call), 1e-6)
        for include_pad in (True, False):
            call = getattr(theirs, f"avg_pool{rank}d")(
                tensor, *arguments, ceil_mode=ceil_mode, count_include_pad=include_pad
            )
            got = npool.avg_pool_backward(gradient, x.shape, *names, count_include_pad=include_pad)
            np.testing.assert_allclose(got, wanted(call), 1e-5, 1e-7)
        if not padding and not ceil_mode:
            call = getattr(theirs, f"lp_pool{rank}d")(tensor, 2, kernel, stride)
            norms = npool.lp_pool(x, 2, *names)
            got = npool.lp_pool_backward(gradient, x, norms, 2, *names)
            np.testing.assert_allclose(got, wanted(call), 1e-5, 1e-7)
    sizes = (4, 3, 5)[:rank]
    gradient = rng.random((2, 3, *sizes)).astype(dtype)
    call = getattr(theirs, f"adaptive_avg_pool{rank}d")(tensor, sizes)
    got = npool.adaptive_avg_pool_backward(gradient, x.shape, sizes)
    np.testing.assert_allclose(got, wanted(call, gradient=gradient), 1e-5, 1e-7)
    call = getattr(theirs, f"adaptive_max_pool{rank}d")(tensor, sizes)
    _, places = npool.adaptive_max_pool(x, sizes, return_indices=True)
    got = npool.adaptive_max_pool_backward(gradient, places, x.shape, sizes)
    np.testing.assert_allclose(got, wanted(call, gradient=gradient), 1e-6)


def test_torch_unpools_alike():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = np.random.default_rng(0).random((2, 3, 8, 6))
    values, places = npool.max_pool(x, (2, 2), return_indices=True)
    tensor = torch.from_numpy(values).requires_grad_()
    whole = torch.nn.functional.max_unpool2d(tensor, torch.from_numpy(places), 2)
    gradient = np.random.default_rng(1).random(x.shape)
    (wanted,) = torch.autograd.grad(whole, tensor, torch.from_numpy(gradient))
    got = npool.max_unpool_backward(gradient, places, axes=(2, 3))
    assert np.array_equal(got, wanted.numpy())


# --- what gradients are --------------------------------------------------------------------------

LARGE = [
    # shape, kernel, stride, padding, dilation: each takes a way of its own
    ((4, 40, 50), (3, 3), 1, 1, 1),
    ((4, 40, 50), (31, 31), 1, 15, 1),
    ((4, 40, 50), (13, 4), (2, 4), 2, 1),
    ((4, 40, 50), (3, 3), 2, 1, 3),
    ((2, 900), (100,), 100, 0, 1),
    ((2, 3000), (2000,), 1500, 900, 1),
    ((30, 7, 7), (7, 7), 1, 0, 1),
    ((3, 12, 14, 10), (3, 3, 3), 2, 1, 1),
    ((2, 300), (40,), 3, 17, 2),
]


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), LARGE)
def test_gradients_of_linear_calls_are_adjoint(shape, kernel, stride, padding, dilation):
    rng = np.random.default_rng(0)
    x = rng.random(shape)
    arguments = (kernel, stride, padding, dilation, True)
    for name, options in (
        ("sum", {}), ("avg", {}), ("avg", {"count_include_pad": False}),
        ("avg", {"divisor_override": 7}),
    ):  # fmt: skip
        pooled = getattr(npool, f"{name}_pool")(x, *arguments, **options)
        gradient = rng.random(pooled.shape)
        back = getattr(npool, f"{name}_pool_backward")(gradient, shape, *arguments, **options)
        assert np.vdot(gradient, pooled) == pytest.approx(np.vdot(back, x), rel=1e-12)
    _, places = npool.max_pool(x, *arguments, return_indices=True)
    gradient = rng.random(places.shape)
    back = npool.max_pool_backward(gradient, places, shape, *arguments)
    axes = tuple(range(len(shape) - len(kernel), len(shape)))
    taken = npool.take_pooled(x, places, axes=axes)
    assert np.vdot(gradient, taken) == pytest.approx(np.vdot(back, x), rel=1e-12)


@pytest.mark.parametrize("order", ["C", "last"])
def test_any_number_of_threads_gives_the_same_bits(order):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 48, 300, 160)).astype(np.float32)
    if order == "last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for arguments in (((3, 3), 1, 1), ((3, 3), 2, 1), ((2, 2), 2, 0), ((33, 33), 2, 16)):
        values, places = npool.max_pool(x, *arguments, return_indices=True)
        gradient = rng.standard_normal(values.shape).astype(np.float32)
        gradient = values * 0 + gradient  # in the memory order of the values
        found = set()
        for threads in (1, 2, 5, 16):
            with npool.num_threads(threads):
                found.add((
                    npool.max_pool_backward(gradient, places, x.shape, *arguments).tobytes(),
                    npool.avg_pool_backward(
                        gradient, x.shape, *arguments, count_include_pad=False
                    ).tobytes(),
                ))  # fmt: skip
        assert len(found) == 1, arguments


def test_a_nan_stays_in_its_window():
    gradient = np.ones((1, 64, 64))
    gradient[0, 20, 30] = np.nan
    got = npool.avg_pool_backward(gradient, (1, 64, 64), (21, 21), 1, 10)
    spoilt = np.argwhere(np.isnan(got[0]))
    assert spoilt.min(0).tolist() == [10, 20]
    assert spoilt.max(0).tolist() == [30, 40]


def test_results_keep_the_memory_order():
    gradient = np.ones((2, 5, 4, 3), np.float32).transpose(0, 3, 1, 2)  # channels last
    places = np.zeros(gradient.shape, np.int64)
    calls = (
        npool.avg_pool_backward(gradient, (2, 3, 10, 8), (2, 2)),
        npool.sum_pool_backward(gradient, (2, 3, 5, 4), (3, 3), 1, 1),
        npool.max_pool_backward(gradient, places, (2, 3, 10, 8), (2, 2)),
    )
    for got in calls:
        assert got.transpose(0, 2, 3, 1).flags.c_contiguous


def test_out_may_overlap_all_that_is_read():
    rng = np.random.default_rng(0)
    x = rng.random(12)
    _, places = npool.max_pool(x, (3,), 1, 1, return_indices=True)
    gradient = rng.random(12)
    wanted = npool.max_pool_backward(gradient, places, (12,), (3,), 1, 1)
    memory = gradient.copy()
    assert npool.max_pool_backward(memory, places, (12,), (3,), 1, 1, out=memory) is memory
    assert np.array_equal(memory, wanted)
    memory = places.copy()
    npool.max_pool_backward(gradient, memory, (12,), (3,), 1, 1, out=memory.view(np.float64))
    assert np.array_equal(memory.view(np.float64), wanted)
    wanted = npool.take_pooled(x, places, axes=0)
    memory = places.copy()
    npool.take_pooled(x, memory, axes=0, out=memory.view(np.float64))
    assert np.array_equal(memory.view(np.float64), wanted)
    wanted = npool.avg_pool_backward(gradient, (24,), (2,))
    memory = np.zeros(24)
    memory[:12] = gradient
    npool.avg_pool_backward(memory[:12], (24,), (2,), out=memory[::-1])
    assert np.array_equal(memory[::-1], wanted)


def test_positions_count_where_they_say():
    # Anywhere in the array, if not in their windows: as the plain sum of one-hot gradients.
    rng = np.random.default_rng(0)
    places = rng.integers(-1, 40 * 30, (2, 20, 15))
    gradient = rng.integers(-9, 9, places.shape).astype(np.float32)
    got = npool.max_pool_backward(gradient, places, (2, 40, 30), (2, 2))
    assert np.array_equal(got, oracle.picked_backward(gradient, places, (2, 40, 30), (1, 2)))


@pytest.mark.parametrize("wide", [False, True])
def test_positions_outside_are_refused(wide):
    shape = (1, 2000, 1000) if wide else (1, 20, 10)
    places = np.zeros((1, shape[1] // 2, shape[2] // 2), np.int64)
    gradient = np.ones(places.shape)
    size = shape[1] * shape[2]
    for value in (size, -2, 2**62):
        places[0, -1, -1] = value
        out = np.full(shape, 3.0)
        for target in (None, out):
            with pytest.raises(ValueError, match=rf"is {value}, but .* to {size - 1}"):
                npool.max_pool_backward(gradient, places, shape, (2, 2), out=target)
            with pytest.raises(ValueError, match=rf"is {value}, but .* to {size - 1}"):
                npool.fractional_max_pool_backward(gradient, places, shape, axes=(1, 2), out=target)
        with pytest.raises(ValueError, match=rf"is {value}, but .* to {size - 1}"):
            npool.take_pooled(out, places, axes=(1, 2))
        assert (out == 3).all()


ONE, TWO = np.ones(3), np.zeros(3, np.int64)
REFUSED = [
    (TypeError, "dtype bool", lambda: npool.max_pool_backward(ONE > 0, TWO, (6,), (2,))),
    (TypeError, "floats and complex", lambda: npool.avg_pool_backward(TWO, (6,), (2,))),
    (TypeError, "int64 or int32", lambda: npool.max_pool_backward(ONE, ONE, (6,), (2,))),
    (TypeError, "numpy.ndarray", lambda: npool.max_pool_backward(ONE, [0, 1, 2], (6,), (2,))),
    (ValueError, r"pooling gives \(4,\)", lambda: npool.sum_pool_backward(ONE, (8,), (2,))),
    (ValueError, "shape of grad_output", lambda: npool.max_pool_backward(ONE, TWO[:2], (6,), (2,))),
    (ValueError, "differ only", lambda: npool.take_pooled(ONE[None], TWO[None].T, axes=1)),
    (ValueError, "out has shape", lambda: npool.sum_pool_backward(ONE, (6,), (2,), out=ONE)),
    (ValueError, "divide by zero", lambda: npool.avg_pool_backward(ONE, (6,), 2, axes=0,
                                                                    divisor_override=0)),
    (TypeError, "x has dtype float32", lambda: npool.lp_pool_backward(
        ONE, np.ones(6, np.float32), ONE, 2, (2,))),
    (ValueError, "above 0", lambda: npool.lp_pool_backward(ONE, np.ones(6), ONE, 0, (2,))),
    (ValueError, "input_shape", lambda: npool.sum_pool_backward(ONE, (-6,), (2,))),
    (TypeError, "grad_output must be", lambda: npool.sum_pool_backward([1, 2], (4,), (2,))),
    (TypeError, "axes", lambda: npool.take_pooled(ONE, TWO, axes=None)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "match", "call"), REFUSED)
def test_refused(kind, match, call):
    with pytest.raises(kind, match=match):
        call()


def test_nothing_and_empty():
    empty = np.zeros((0, 3), np.float32)
    assert npool.sum_pool_backward(empty, (0, 6), (2,)).shape == (0, 6)
    places = np.zeros((0, 3), np.int64)
    assert npool.max_pool_backward(empty, places, (0, 6), (2,)).shape == (0, 6)
    assert npool.take_pooled(np.zeros((0, 6)), places, axes=1).shape == (0, 3)
    none = np.zeros((2, 0), np.float32)
    assert (npool.adaptive_avg_pool_backward(none, (2, 6), (0,)) == np.zeros((2, 6))).all()


def test_windows_of_padding_alone():
    gradient = np.arange(1.0, 9.0)
    got = npool.avg_pool_backward(gradient, (2,), (2,), 1, 4, 2, count_include_pad=False)
    taps = oracle.window_taps((2,), (2,), 1, 4, 2, count_include_pad=False)
    wanted = oracle.sums_backward(
        np.where([bool(inside) for inside, _ in taps[0]], gradient, 0.0), (2,),
        {0: [(inside, max(1, count)) for inside, count in taps[0]]}, "count",
    )  # fmt: skip
    assert np.array_equal(got, wanted)
    gradient = np.ones(2**20 + 3)
    got = npool.sum_pool_backward(gradient, (4,), (2**19,), 1, 2**19 + 2**18 - 1)
    assert got.shape == (4,)


def test_minima_and_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    x = np.array([[3, 1, 2, 5], [4, 0, 7, 7]], ml_dtypes.bfloat16)
    _, places = npool.min_pool(x, (2,), 1, return_indices=True)
    gradient = np.array([[1, 2, 3], [4, 5, 6]], ml_dtypes.bfloat16)
    got = npool.min_pool_backward(gradient, places, x.shape, (2,), 1)
    assert got.dtype == gradient.dtype
    assert got.astype(float).tolist() == [[0, 3, 3, 0], [0, 9, 6, 0]]
    got = npool.avg_pool_backward(gradient, x.shape, (2,), 1)
    assert got.astype(float).tolist() == [[0.5, 1.5, 2.5, 1.5], [2, 4.5, 5.5, 3]]


@pytest.mark.parametrize(
    ("shape", "sizes", "axes"),
    [
        ((2, 3, 31, 29), (4, 3), (2, 3)),  # rows by their runs, rows copied
        ((2, 17, 9, 8), (4, 3), (2, 3)),  # channels last: a loop over channels
        ((3, 2, 7, 7), (2, 3), (2, 3)),  # small planes: one row each
        ((2, 5, 9), (20,), (2,)),  # more bins than elements
        ((2, 18, 7, 5, 6), (3, 2, 4), (2, 3, 4)),
        ((9, 4, 10), (4, 3), (0, 2)),  # an axis between that is not pooled
        ((1, 1, 211, 203), (10, 9), (2, 3)),  # several tasks for one plane
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
def test_bins_of_every_form(shape, sizes, axes, dtype):
    rng = np.random.default_rng(3)
    out = tuple(sizes[axes.index(i)] if i in axes else n for i, n in enumerate(shape))
    values = rng.integers(-9, 9, out).astype(dtype)
    wanted = oracle.sums_backward(values, shape, oracle.bin_taps(shape, sizes, axes), "count")
    for layout in ("C", "channels_last", "transposed", "sliced"):
        gradient = LAYOUTS[layout](values)
        seen = []
        for threads in (1, 2):
            with npool.num_threads(threads):
                got = npool.adaptive_avg_pool_backward(gradient, shape, sizes, axes=axes)
            check_close(got, wanted, gradient, f"{layout} {threads}")
            seen.append(got.tobytes())
        assert seen[0] == seen[1]
    into = np.full((*shape[:-1], 2 * shape[-1]), 7, dtype)
    npool.adaptive_avg_pool_backward(values, shape, sizes, axes=axes, out=into[..., ::2])
    check_close(into[..., ::2], wanted, values, "out")
    assert (into[..., 1::2] == 7).all()


def test_half_types_whose_positions_meet_after_all():
    """Windows that lie apart, positions that do not: summed in float32 all the same."""
    gradient = np.array([2048, 1, 1, 4], np.float16)
    got = npool.max_pool_backward(gradient, np.array([3, 3, 3, 6]), (8,), (2,))
    assert got.tolist() == [0, 0, 0, 2050, 0, 0, 4, 0]


def test_elements_of_one_window_are_known_round_the_period():
    one, other = (0, 1), (1, 1)
    assert alike([one] * 3) == [3, 3, 3]
    assert alike([one, one, other]) == [2, 1, 1]
    assert alike([other, one, other]) == [1, 1, 2]
    assert alike([one]) == [1]


@pytest.mark.parametrize("kernel", [3, 5, 8])
def test_rows_of_one_window_where_rows_lie_apart(kernel):
    # A row is made once and copied, all copies at once only where rows lie together.
    gradient = np.random.default_rng(kernel).standard_normal((4, 30))
    room = np.full((4 * kernel + 1, 64), 7.0)
    npool.sum_pool_backward(gradient, (len(room), 30), (kernel, 1), out=room[:, 3:33])
    wanted = np.vstack([np.repeat(gradient, kernel, axis=0), np.zeros((1, 30))])
    assert np.array_equal(room[:, 3:33], wanted)
    assert (room[:, :3] == 7).all()
    assert (room[:, 33:] == 7).all()


@pytest.mark.parametrize(("kernel", "padding", "dilation"), [
    (7, 0, 1), (2, 0, 1), (5, 2, 1), (12, 3, 1), (3, 1, 2), (9, 4, 1),
])  # fmt: skip
@pytest.mark.parametrize("axis", [0, 1])
def test_steps_of_seven(kernel, padding, dilation, axis):
    # Elements of a period that lie in the same windows are written together, others are not.
    shape, stride = (61, 40) if axis == 0 else (40, 61), 7
    out = npool.output_shape(shape, (kernel,), stride, padding, dilation, axes=axis)
    gradient = np.random.default_rng(kernel).integers(-9, 10, out).astype(np.float64)
    wanted = np.zeros((40, 61))
    for o, row in enumerate(np.moveaxis(gradient, axis, 0)):
        for j in range(kernel):
            at = o * stride - padding + j * dilation
            if 0 <= at < 61:
                wanted[:, at] += row
    got = npool.sum_pool_backward(gradient, shape, (kernel,), stride, padding, dilation, axes=axis)
    assert np.array_equal(got, wanted.T if axis == 0 else wanted)


def test_averages_over_wide_windows_inside_the_input():
    # They are divided first, by axes that are not pooled and yet have a count each.
    gradient = np.random.default_rng(0).standard_normal((4, 22, 1))
    got = npool.avg_pool_backward(gradient, (4, 30, 6), (9, 6), (1, 7))
    wanted = npool.sum_pool_backward(gradient / 54, (4, 30, 6), (9, 6), (1, 7))
    np.testing.assert_allclose(got, wanted, rtol=1e-14)
