"""Maxima and gradients by the numbers of taps, against positions and sums by NumPy."""

import sys

import ml_dtypes
import numpy as np
import pytest
from fresh_process import run

import npool
from npool.bins import make_bins_plan
from npool.geometry import make_plan
from npool.gradients.taps import pool_with_taps, positions_of_taps, taps_backward
from npool.layout import empty_like_order, order_of
from npool.testing import oracle

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
#: Seeds of problems, and problems of a seed.
SEEDS, EACH = range(6), 40
#: Lengths, kernels and so on that reach each kind of loop, and both ends of its vectors.
FIXED = {
    "rows at every element": ((2, 3, 40, 150), {"kernel_size": 3, "stride": 1, "padding": 1}),
    "rows at every second": ((1, 2, 9, 131), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "rows of fours": ((3, 517), {"kernel_size": 4, "axes": (1,)}),
    "rows of threes, dilated": (
        (2, 400), {"kernel_size": 2, "stride": 3, "dilation": 5, "axes": 1}
    ),
    "elements that no window sees": ((2, 403), {"kernel_size": 1, "stride": 3, "axes": 1}),
    "planes": ((70, 7, 7), {"kernel_size": 3, "stride": 1, "padding": 1}),
    "planes of ones": ((37, 7, 7), {"kernel_size": 7}),
    "planes of one size more than a vector": ((81, 17, 1), {"kernel_size": (2, 1), "stride": 1}),
    "volumes": ((20, 5, 6, 7), {"kernel_size": 2, "padding": 1, "dilation": 2}),
}  # fmt: skip


def gradient(grad, positions, shape, axes):
    """Sums at positions, each plane's in the order of its windows."""
    dtype = np.float64 if grad.dtype == np.float64 else np.float32
    last = tuple(range(-len(axes), 0))
    size = int(np.prod([shape[axis] for axis in axes]))
    places = np.moveaxis(positions, axes, last)
    others = places.shape[: len(shape) - len(axes)]
    count = int(np.prod(others))
    sums = np.zeros((count, size), dtype)
    values = np.moveaxis(grad, axes, last).astype(dtype).reshape(count, -1)
    places = places.reshape(count, -1)
    np.add.at(sums, (np.arange(count)[:, None].repeat(places.shape[1], 1), places), values)
    sums = sums.reshape(*others, *(shape[axis] for axis in axes))
    return np.moveaxis(sums, last, axes).astype(grad.dtype)


def wide(x):
    return x.astype(np.float64)


def check(rng, x, plan, given, lowest=False, bins=False):
    """Values, positions and gradients of a problem; whether it was served by taps."""
    made = pool_with_taps(x, plan, lowest)
    if made is None:
        return False
    values, taps = made
    pool = npool.adaptive_max_pool if bins else npool.min_pool if lowest else npool.max_pool
    want, places = pool(x, return_indices=True, **given)
    np.testing.assert_array_equal(wide(values), wide(want))
    found = positions_of_taps(taps, plan)
    np.testing.assert_array_equal(found, places)
    grad = empty_like_order(plan.out_shape, order_of(x), x.dtype)
    grad[...] = rng.standard_normal(grad.shape).astype(x.dtype)
    got = taps_backward(grad, taps, plan, order_of(x))
    assert order_of(got) == order_of(x)
    np.testing.assert_array_equal(wide(got), wide(gradient(grad, places, x.shape, plan.axes)))
    got = taps_backward(np.ascontiguousarray(grad), taps, plan, order_of(x))
    np.testing.assert_array_equal(wide(got), wide(gradient(grad, places, x.shape, plan.axes)))
    # A gradient of any strides, such as a sum's, which is one number.
    flat = np.broadcast_to(grad.flat[0], grad.shape)
    got = taps_backward(flat, taps, plan, order_of(x))
    np.testing.assert_array_equal(wide(got), wide(gradient(flat, places, x.shape, plan.axes)))
    return True


def filled(rng, shape, order, dtype):
    """An array with ties, NaN and infinities as often as not."""
    x = empty_like_order(shape, order, np.dtype(dtype))
    few = rng.random() < 0.5
    x[...] = (rng.integers(-4, 4, shape) if few else rng.standard_normal(shape)).astype(dtype)
    if rng.random() < 0.4:
        x[rng.random(shape) < 0.1] = np.nan
    if rng.random() < 0.3:
        x[rng.random(shape) < 0.5] = -np.inf if rng.random() < 0.7 else np.inf
    return x


def drawn(rng):
    """An array, the plan of a call on it, and the call's arguments; None where they do not fit."""
    rank = int(rng.integers(1, 4))
    lengths = [int(rng.integers(1, 60 if rank < 3 else 14)) for _ in range(rank)]
    if rng.random() < 0.4:
        lengths[-1] = int(rng.integers(1, 300))
    channels = int(rng.choice([1, 3, 16, 17, 31, 64, 70, 130]))
    shape = (int(rng.integers(1, 3)), channels, *lengths)
    axes = tuple(range(2, 2 + rank))
    order = [(0, *axes, 1), (*axes, 1, 0), (1, 0, *axes), range(rank + 2)][rng.integers(4)]
    bins = rng.random() < 0.25
    if bins:
        sizes = tuple(int(rng.integers(1, n + 1)) for n in lengths)
        given = {"output_size": sizes, "axes": axes}
        plan = make_bins_plan(shape, sizes, axes)
    else:
        kernels = tuple(int(rng.integers(1, 6)) for _ in lengths)
        given = {
            "kernel_size": kernels,
            "stride": tuple(int(rng.integers(1, 6)) for _ in lengths),
            "padding": tuple((int(rng.integers(k)), int(rng.integers(k))) for k in kernels),
            "dilation": tuple(int(rng.choice([1, 1, 1, 2, 3])) for _ in lengths),
            "ceil_mode": bool(rng.random() < 0.5),
            "axes": axes,
        }  # fmt: skip
        try:
            plan = make_plan(shape, **given)
        except ValueError:
            return None
    x = filled(rng, shape, tuple(order), DTYPES[int(rng.integers(len(DTYPES)))])
    return x, plan, given, bins


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.thorough if seed > 1 else ()) for seed in SEEDS]
)
def test_problems_drawn_at_random(seed, have_taps):
    rng = np.random.default_rng(seed)
    served = 0
    for _ in range(EACH):
        problem = drawn(rng)
        if problem is not None:
            x, plan, given, bins = problem
            served += check(rng, x, plan, given, not bins and rng.random() < 0.3, bins)
    assert served > EACH / 4


@pytest.fixture
def have_taps():
    if pool_with_taps(np.zeros((64, 8, 8)), make_plan((64, 8, 8), (2, 2))) is None:
        pytest.skip("no vectors under masks here: positions serve all")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIXED)
def test_every_kind_of_loop(name, dtype, have_taps):
    shape, given = FIXED[name]
    axes = given.get("axes", (-3, -2, -1) if name == "volumes" else (-2, -1))
    given = given | {"axes": axes}
    rng = np.random.default_rng(0)
    plan = make_plan(shape, **given)
    for threads in (1, 2):
        with npool.num_threads(threads):
            x = filled(rng, shape, tuple(range(len(shape))), dtype)
            assert check(rng, x, plan, given)


def test_positions_are_those_of_the_oracle(have_taps):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (64, 9, 10)).astype(np.float32)
    given = {"kernel_size": 3, "stride": 2, "padding": 1, "axes": (1, 2)}
    plan = make_plan(x.shape, **given)
    values, taps = pool_with_taps(x, plan)
    want = oracle.pool(x, reduce="max", return_indices=True, **given)
    np.testing.assert_array_equal(values, want[0])
    np.testing.assert_array_equal(positions_of_taps(taps, plan), want[1])


@pytest.mark.parametrize("count", [1, 2])
def test_a_large_call_on_any_number_of_threads(count, have_taps):
    rng = np.random.default_rng(2)
    x = filled(rng, (2, 64, 130, 140), (0, 1, 2, 3), np.float32)
    given = {"kernel_size": 3, "stride": 2, "padding": 1, "axes": (2, 3)}
    with npool.num_threads(count):
        assert check(rng, x, make_plan(x.shape, **given), given)


def test_windows_of_more_taps_than_a_byte_counts_are_left():
    x = np.zeros((64, 20, 20), np.float32)
    assert pool_with_taps(x, make_plan(x.shape, (16, 16), 1, axes=(1, 2))) is None


def test_taps_of_another_form_serve_too():
    """Those of a part of a batch: of it alone no vectors may be made."""
    x = np.random.default_rng(3).random((1, 5, 5))
    plan = make_plan(x.shape, (2, 2), 1, axes=(1, 2))
    _, places = npool.max_pool(x, 2, 1, axes=(1, 2), return_indices=True)
    taps = np.array(
        [[[places[0, i, j] // 5 - i, places[0, i, j] % 5 - j] for j in range(4)] for i in range(4)]
    )
    taps = (taps[..., 0] * 2 + taps[..., 1]).astype(np.uint8)[None]
    np.testing.assert_array_equal(positions_of_taps(taps, plan), places)
    got = taps_backward(np.ones((1, 4, 4)), taps, plan, (0, 1, 2))
    np.testing.assert_array_equal(got, gradient(np.ones((1, 4, 4)), places, x.shape, (1, 2)))


def check_memory(past):
    """Every kind of loop on arrays that begin, or end, at a guard page."""
    from test_guard_pages import guarded

    from npool.cpu import tiling
    from npool.cpu.tapping import fold_taps, form_of, hand_taps

    if past:
        tiling.LARGEST_CACHE = 0
    rng = np.random.default_rng(4)
    for name, (shape, given) in FIXED.items():
        axes = given.get("axes", (-3, -2, -1) if name == "volumes" else (-2, -1))
        for dtype, last in ((np.float32, False), (np.float16, False), (np.float64, True)):
            # With channels last, some that fill vectors and some that do not.
            size = (*shape, 35) if last else shape
            at = axes if isinstance(axes, tuple) else (axes,)
            at = tuple(axis % len(shape) for axis in at)
            plan = make_plan(size, **given | {"axes": at})
            x = filled(rng, size, tuple(range(len(size))), dtype)
            form = form_of(plan, order_of(x), x.dtype)
            values, numbers = pool_with_taps(x, plan)
            grad = rng.standard_normal(values.shape).astype(dtype)
            want = taps_backward(grad, numbers, plan, order_of(x))
            for at_end in (True, False):
                print(name, dtype, last, at_end, flush=True)
                read, made, taps = (
                    guarded(a, at_end) for a in (x, np.zeros_like(values), np.zeros_like(numbers))
                )
                fold_taps(read, made, taps, form, False)
                np.testing.assert_array_equal(made, values)
                np.testing.assert_array_equal(taps, numbers)
                given_back = guarded(np.zeros_like(want), at_end)
                hand_taps(guarded(grad, at_end), taps, given_back, form)
                np.testing.assert_array_equal(given_back, want)
    print("whole")


@pytest.mark.skipif(not sys.platform.startswith(("linux", "darwin")), reason="mprotect is POSIX's")
@pytest.mark.parametrize("past", [False, True], ids=["cached", "past the caches"])
def test_nothing_beyond_an_array_is_touched(past, have_taps):
    status, out, err = run(f"from test_taps import check_memory; check_memory({past})", timeout=300)
    last = out.splitlines()[-1] if out else ""
    assert (status, last, err) == (0, "whole", ""), f"exit status {status} after: {last}\n{err}"
