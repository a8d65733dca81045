"""Unit tests of npool.geometry: every shape rule, by hand and by counting."""

import dataclasses
import itertools
import random
from fractions import Fraction

import numpy as np
import pytest

import npool
from npool.geometry import LIMIT, Window, make_plan


def window(n, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The window of one pooled axis of length `n`."""
    (found,) = make_plan((n,), (kernel,), stride, padding, dilation, ceil_mode).windows
    return found


def pads(w):
    return w.before, w.after


# --- what the rules say, by counting and no formula ----------------------------------------------


def positions(w, i):
    """Where output `i` looks, padding included."""
    return [i * w.stride - w.before + j * w.dilation for j in range(w.kernel)]


def counted_outputs(w, ceil_mode):
    """How many windows fit; with `ceil_mode`, may run past the end by less than a stride."""
    last = w.size + w.after - 1
    slack = w.stride - 1 if ceil_mode else 0
    count = 0
    while positions(w, count)[-1] <= last + slack:
        count += 1
    # The last window must start inside the input or the leading padding.
    if ceil_mode and count and (count - 1) * w.stride >= w.size + w.before:
        count -= 1
    return count


def check_window(w, ceil_mode):
    assert w.out == counted_outputs(w, ceil_mode)
    divisors = {True: [], False: []}
    for i in range(w.out):
        seen = positions(w, i)
        assert w.start(i) == seen[0]
        inside = [j for j, at in enumerate(seen) if 0 <= at < w.size]
        first, stop = w.taps(i)
        assert 0 <= first <= stop
        assert inside == list(range(first, stop))
        # [start, min(start + extent, size + after)) on the dilated grid
        end = min(seen[0] + w.extent, w.size + w.after)
        divisors[True].append(sum(at < end for at in seen))
        divisors[False].append(len(inside))
        for include in (True, False):
            assert w.count(i, include) == divisors[include][i]
    for include in (True, False):
        runs = w.runs(include)
        flat = []
        for stop, count in runs:
            assert stop > len(flat)
            flat += [count] * (stop - len(flat))
        assert flat == divisors[include]
        assert all(a[1] != b[1] for a, b in itertools.pairwise(runs))
    assert w.has_empty == (0 in divisors[False])


def drawn(rng, high):
    n, k, s, d = (rng.randint(1, high) for _ in range(4))
    before, after = rng.randint(0, high), rng.randint(0, high)
    return n, k, s, d, before, after, rng.random() < 0.5


@pytest.mark.parametrize(("high", "count"), [(3, 1500), (6, 2500), (12, 1000), (40, 300)])
def test_random_windows_are_as_counted(high, count):
    rng = random.Random(high)
    checked = refused = 0
    while checked < count:
        n, k, s, d, before, after, ceil_mode = drawn(rng, high)
        probe = Window(n, k, s, d, before, after, 0)
        if counted_outputs(probe, ceil_mode) == 0:
            with pytest.raises(ValueError, match="effective window"):
                window(n, k, s, ((before, after),), d, ceil_mode)
            refused += 1
            continue
        check_window(window(n, k, s, ((before, after),), d, ceil_mode), ceil_mode)
        checked += 1
    assert refused > count // 100


def test_large_windows_are_looked_at_only_at_their_edges():
    w = window(2**60, 3, 2, 1)
    assert w.out == 2**59
    assert w.runs(False) == ((1, 2), (2**59, 3))
    assert w.runs(True) == ((2**59, 3),)
    assert not w.has_empty
    assert npool.output_shape((2**40, 2**20), (3, 5), (2, 7), (1, 2)) == (2**39, 149797)


# --- output lengths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k", "s", "p", "d", "floor", "ceil"),
    [
        (5, 2, 2, 0, 1, 2, 3),  # a ragged end: dropped, or a clipped window
        (4, 2, 2, 0, 1, 2, 2),  # it fits: the same
        (4, 2, 3, 1, 1, 2, 2),  # a third window would start in the trailing padding
        (3, 1, 2, 0, 1, 2, 2),
        (6, 3, 2, 0, 1, 2, 3),
        (10, 3, 2, 1, 2, 4, 5),
        (1, 1, 5, 0, 1, 1, 1),
        (5, 5, 1, 0, 1, 1, 1),
        (112, 3, 2, 1, 1, 56, 57),
        (7, 2, 1, 0, 6, 1, 1),  # two taps at the two ends
        (2, 3, 4, 1, 1, 1, 1),
        (1, 3, 4, 3, 1, 2, 1),  # the rule holds where the window fits, too: one fewer than floor
    ],
)
def test_output_lengths(n, k, s, p, d, floor, ceil):
    assert window(n, k, s, p, d).out == floor
    assert window(n, k, s, p, d, True).out == ceil


def test_the_stride_is_the_window_unless_given():
    assert window(12, 4).stride == 4
    assert window(12, 4, None, 0, 2).stride == 4  # the window, not its dilated extent
    plan = make_plan((12, 12), (2, 3))
    assert [w.stride for w in plan.windows] == [2, 3]


# --- SAME ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k", "s", "d", "upper", "out"),
    [
        (5, 3, 2, 1, (1, 1), 3),
        (4, 3, 2, 1, (0, 1), 2),
        (4, 2, 1, 1, (0, 1), 4),
        (7, 1, 3, 1, (0, 0), 3),
        (6, 2, 1, 2, (1, 1), 6),
        (6, 3, 1, 2, (2, 2), 6),
        (9, 2, 4, 1, (0, 1), 3),  # 2 * 4 + 2 - 9 = 1
        (1, 4, 1, 1, (1, 2), 1),
        (224, 7, 2, 1, (2, 3), 112),
        (10, 2, 5, 1, (0, 0), 2),  # the window skips elements: nothing to pad
    ],
)
def test_same_by_hand(n, k, s, d, upper, out):
    w = window(n, k, s, "same", d)
    assert (pads(w), w.out) == (upper, out)
    w = window(n, k, s, "same_lower", d)
    assert (pads(w), w.out) == (upper[::-1], out)


def test_same_covers_every_stride():
    rng = random.Random(7)
    for _ in range(3000):
        n, k, s, d = (rng.randint(1, 20) for _ in range(4))
        w = window(n, k, s, "same", d)
        assert w.out == -(-n // s)
        assert 0 <= w.after - w.before <= 1
        assert pads(window(n, k, s, "same_lower", d)) == pads(w)[::-1]
        if w.before + w.after:  # no more than it takes
            assert (w.out - 1) * s + w.extent == n + w.before + w.after


def test_valid_is_no_padding():
    assert window(9, 4, 2, "valid") == window(9, 4, 2, 0)


# --- divisors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k", "s", "p", "d", "ceil_mode", "with_pad", "without"),
    [
        (6, 2, 1, 1, 2, False, [2] * 6, [1, 2, 2, 2, 2, 1]),  # semantics: dilated avg
        (5, 2, 2, 0, 1, True, [2, 2, 1], [2, 2, 1]),  # clipped at the end of the input
        (5, 3, 2, 1, 1, True, [3, 3, 3], [2, 3, 2]),
        (6, 3, 2, 1, 1, True, [3, 3, 3, 2], [2, 3, 3, 1]),  # clipped at the end of the padding
        (4, 3, 3, 1, 1, False, [3, 3], [2, 2]),
        (4, 2, 2, 0, 3, True, [2], [2]),
        (5, 3, 1, ((2, 0),), 1, False, [3] * 5, [1, 2, 3, 3, 3]),
        (5, 3, 1, ((0, 2),), 1, False, [3] * 5, [3, 3, 3, 2, 1]),
        (7, 3, 3, 0, 2, True, [3, 2], [3, 2]),  # the grid 3, 5, 7: the last tap is clipped
        (2, 3, 1, 3, 1, False, [3] * 6, [0, 1, 2, 2, 1, 0]),
    ],
)
def test_divisors_by_hand(n, k, s, p, d, ceil_mode, with_pad, without):
    w = window(n, k, s, p, d, ceil_mode)
    assert [w.count(i, True) for i in range(w.out)] == with_pad
    assert [w.count(i, False) for i in range(w.out)] == without


def test_dilated_average_of_the_semantics():
    x = np.arange(1.0, 7.0)
    with_pad = npool.avg_pool(x, (2,), 1, 1, 2)
    without = npool.avg_pool(x, (2,), 1, 1, 2, count_include_pad=False)
    assert with_pad.tolist() == [1, 2, 3, 4, 5, 2.5]
    assert without.tolist() == [2, 2, 3, 4, 5, 5]


@pytest.mark.parametrize(
    ("args", "empty"),
    [
        ((3, 2, 1, 2), True),  # the first window lies before the input
        ((3, 2, 1, ((2, 0),)), True),
        ((3, 2, 1, ((0, 2),)), True),
        ((3, 2, 1, 1), False),
        ((3, 3, 1, 2), False),
        ((1, 2, 1, 1, 2), True),  # taps on both sides of the input
        ((1, 3, 2, 1, 1), False),
        ((2, 2, 2, 1, 3), True),  # taps at -1 and 2
        ((2, 2, 4, 3, 3), False),  # taps at -3 and 0, then at 1 and 4
        ((2, 2, 1, 3, 3), True),  # but at -1 and 2 between them
        ((4, 3, 2, 4, 2, True), False),
    ],
)
def test_windows_wholly_in_the_padding(args, empty):
    w = window(*args)
    assert w.has_empty == empty
    assert any(not any(0 <= at < w.size for at in positions(w, i)) for i in range(w.out)) == empty


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation"])
def test_sizes_are_capped_at_31_bits(name):
    def planned(size):
        arguments = {"kernel_size": 1, "axes": 0, "padding": 0, name: size}
        if name == "kernel_size":
            arguments["padding"] = LIMIT
        return make_plan((5,), **arguments)

    assert LIMIT == 2**31 - 1
    assert planned(LIMIT).out_shape[0] > 0
    for size in (LIMIT + 1, 2**31 + 5, 2**32, 2**63 - 1, 2**63, 2**64, 2**70, 10**30):
        with pytest.raises(ValueError, match=rf"{name}.*{size}.*2147483647"):
            planned(size)
        with pytest.raises(ValueError, match=rf"{name}"):
            planned((size,))
    for size in (-1, -(2**31), -(2**70)):
        with pytest.raises(ValueError, match=rf"{name}.*{size}"):
            planned(size)


def test_products_of_sizes_are_capped():
    with pytest.raises(ValueError, match="more than 2\\*\\*62 elements"):
        make_plan((1, 1, 1), 1, 1, LIMIT, 1, False, (0, 1, 2))
    with pytest.raises(ValueError, match="more than 2\\*\\*62 taps"):
        make_plan((1, 1, 1), LIMIT, LIMIT, LIMIT, 1, False, (0, 1, 2))
    with pytest.raises(ValueError, match="2\\*\\*62"):
        npool.output_shape((2**40, 2**40), (1,))


def test_extents_do_not_wrap():
    # dilation * (kernel - 1) is 2**62: a negative number in 64 bits after a few more steps
    with pytest.raises(ValueError, match=f"effective window {(LIMIT - 1) * LIMIT + 1}"):
        window(9, LIMIT, 1, LIMIT, LIMIT)
    assert window(9, 2, 1, LIMIT, LIMIT).out == 9 + 2 * LIMIT - LIMIT


# --- types: an integer is an integer, and nothing else is ----------------------------------------


class Index:
    """Something that only has __index__."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value

    def __repr__(self):  # test ids must be the same in every process
        return f"Index({self.value})"


SHAPE = (6, 9)
SPELLINGS = [
    (2, 3),
    [2, 3],
    np.array([2, 3]),
    np.array([2, 3], np.uint8),
    (np.int8(2), np.uint64(3)),
    range(2, 4),
    (Index(2), 3),
    (np.array(2), 3),
]


@pytest.mark.parametrize("given", SPELLINGS, ids=repr)
def test_sequences_of_integers_in_any_spelling(given):
    plan = make_plan(SHAPE, given, given, 0, 1, False)
    assert plan == make_plan(SHAPE, (2, 3), (2, 3), 0, 1, False)
    padded = make_plan(SHAPE, (4, 4), 1, given)
    assert [pads(w) for w in padded.windows] == [(2, 2), (3, 3)]
    assert make_plan(SHAPE, (1, 1), 1, 0, given).windows[1].dilation == 3
    assert all(type(v) is int for w in plan.windows for v in dataclasses.astuple(w))


@pytest.mark.parametrize(
    "given",
    [{2, 3}, frozenset({2, 3}), {2: 3}, {2: 3}.keys(), iter((2, 3)), (n for n in (2, 3)), "23",
     b"\2\3", bytearray((2, 3)), np.array([[2, 3]]), np.array(["2", "3"]), map(int, "23")],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
@pytest.mark.parametrize("name", ["kernel_size", "stride", "dilation", "axes"])
def test_what_has_no_order_or_can_be_read_once_is_no_sequence(name, given):
    good = {"kernel_size": (2, 3), "axes": (0, 1)}
    with pytest.raises(TypeError, match=name):
        make_plan(SHAPE, **{**good, name: given})


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation", "axes"])
def test_endless_sequences_are_not_read(name):
    with pytest.raises(ValueError, match=f"{name}.*1000000000000.*64"):
        make_plan(SHAPE, **{"kernel_size": (2, 3), name: range(10**12)})
    with pytest.raises(TypeError, match=name):
        make_plan(SHAPE, **{"kernel_size": (2, 3), name: itertools.count(1)})


@pytest.mark.parametrize("two", [2, np.int8(2), np.uint64(2), np.array(2), Index(2)], ids=repr)
def test_one_integer_serves_every_axis(two):
    plan = make_plan(SHAPE, two, two, two, two, False, (0, 1))
    assert plan == make_plan(SHAPE, (2, 2), (2, 2), ((2, 2), (2, 2)), (2, 2), False, (0, 1))
    assert make_plan(SHAPE, 2, axes=np.array([1])).axes == (1,)


@pytest.mark.parametrize(
    "pairs",
    [
        ((1, 0), (2, 1)),
        [[1, 0], [2, 1]],
        np.array([[1, 0], [2, 1]]),
        [(np.int8(1), 0), range(2, 0, -1)],
        [np.array([1, 0]), (Index(2), 1)],
    ],
    ids=repr,
)
def test_pairs_of_padding_in_any_spelling(pairs):
    plan = make_plan(SHAPE, (3, 3), 1, pairs)
    assert [pads(w) for w in plan.windows] == [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    "two", [2.0, np.float64(2), Fraction(2), 2 + 0j, np.array(2.0), "2", b"2", None], ids=repr
)
@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation", "axes"])
def test_no_cached_plan_makes_an_equal_thing_an_integer(name, two):
    if name in ("stride", "axes") and two is None:
        return
    good = {"kernel_size": 2, "stride": 2, "padding": 2, "dilation": 2, "axes": (0, 1)}
    if name == "axes":
        good["kernel_size"] = (2,)
    make_plan((9, 9, 9), **{**good, name: 2})
    wrong = ValueError if name == "padding" and two == "2" else TypeError
    with pytest.raises(wrong, match=name):
        make_plan((9, 9, 9), **{**good, name: two})
    with pytest.raises((TypeError, ValueError), match=name):
        make_plan((9, 9, 9), **{**good, name: (two, two)})


@pytest.mark.parametrize("true", [True, np.True_, np.array(True)], ids=repr)
@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation", "axes"])
def test_no_cached_plan_makes_true_a_one(name, true):
    good = {"kernel_size": 1, "stride": 1, "padding": 1, "dilation": 1, "axes": (0, 1)}
    if name == "axes":
        good["kernel_size"] = (1,)
    make_plan((9, 9), **{**good, name: 1})
    with pytest.raises(TypeError, match=name):
        make_plan((9, 9), **{**good, name: true})
    with pytest.raises(TypeError, match=name):
        make_plan((9, 9), **{**good, name: [true] * (1 if name == "axes" else 2)})


@pytest.mark.parametrize("given", [0, 1, None, "True", 1.0, np.array(True)], ids=repr)
def test_ceil_mode_is_a_bool(given):
    make_plan((9,), (2,), ceil_mode=True)
    make_plan((9,), (2,), ceil_mode=False)
    with pytest.raises(TypeError, match="ceil_mode"):
        make_plan((9,), (2,), ceil_mode=given)


def test_a_numpy_bool_is_a_bool():
    assert make_plan((9,), (2,), ceil_mode=np.True_) == make_plan((9,), (2,), ceil_mode=True)
    assert make_plan((9,), (2,), ceil_mode=np.False_) == make_plan((9,), (2,))


# --- axes ----------------------------------------------------------------------------------------


def test_a_sequence_pools_the_last_axes():
    plan = make_plan((2, 3, 8, 9), (2, 3))
    assert plan.axes == (2, 3)
    assert plan.out_shape == (2, 3, 4, 3)


def test_axes_keep_the_order_given():
    plan = make_plan((8, 3, 9), (2, 3), axes=(-1, 0))
    assert plan.axes == (2, 0)
    assert [w.size for w in plan.windows] == [9, 8]
    assert plan.out_shape == (2, 3, 4)
    assert make_plan((8, 3, 9), 2, axes=-3).axes == (0,)


def test_unpooled_axes_may_be_empty_and_pooled_ones_not():
    assert npool.output_shape((0, 3, 8), (2,)) == (0, 3, 4)
    for axes, kernel in ((0, 1), ((0, 1), 1)):
        with pytest.raises(ValueError, match="length 0"):
            make_plan((0, 3, 8), kernel, padding=3, axes=axes)


def test_an_integer_without_axes_names_the_three_ways_out():
    with pytest.raises(ValueError) as caught:
        make_plan((4, 4), 3)
    for words in ("kernel_size=3", "(3, 3)", "axes=", "npool.functional"):
        assert words in str(caught.value)


def test_a_window_that_does_not_fit_says_what_does_not():
    with pytest.raises(ValueError) as caught:
        make_plan((2, 5), (2, 4), padding=((0, 0), (1, 2)), dilation=3)
    for words in ("axis 0", "(2, 5)", "length 2", "(0, 0)", "effective window 4"):
        assert words in str(caught.value)


# --- the plan ------------------------------------------------------------------------------------


def test_plans_are_frozen_and_kept():
    plan = make_plan((7, 8), (2, 2), 1)
    assert make_plan((7, 8), (2, 2), 1) is plan
    assert make_plan((7, 8), [2, 2], np.int8(1)) is plan
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.shape = (1,)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.windows[0].kernel = 9
    assert hash(plan) == hash(dataclasses.replace(plan))


def test_output_shape_is_the_plans():
    rng = random.Random(3)
    for _ in range(500):
        n, k, s, d, before, after, ceil_mode = drawn(rng, 9)
        arguments = (k, s, ((before, after),), d, ceil_mode)
        try:
            plan = make_plan((2, n, 4), *arguments, axes=1)
        except ValueError:
            with pytest.raises(ValueError, match="effective window"):
                npool.output_shape((2, n, 4), *arguments, axes=1)
            continue
        assert npool.output_shape((2, n, 4), *arguments, axes=1) == plan.out_shape
        assert npool.output_shape([2, np.int64(n), 4], *arguments, axes=1) == plan.out_shape
