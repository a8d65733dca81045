"""Every reducer against its definition; a user's own; averages of integers, exactly."""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import npool
from npool.averages import ROUNDINGS, average
from npool.geometry import make_plan
from npool.reducers import REDUCERS

NAN, INF = math.nan, math.inf


# --- definitions: of the elements of one window, as Python numbers -------------------------------


def largest(v):
    if any(e != e for e in v):
        return NAN
    return max(v)


def smallest(v):
    return NAN if any(e != e for e in v) else min(v)


def total(v):
    try:
        return math.fsum(v) if any(isinstance(e, float) for e in v) else sum(v)
    except (OverflowError, ValueError):  # fsum refuses inf - inf
        return sum(v)


def mean(v):
    t = total(v)
    return t / len(v) if isinstance(t, float) else float(Fraction(t, len(v)))


def product(v):
    return math.prod(v)


def norm(v):
    return math.sqrt(total([float(e) * float(e) for e in v]))


def spread(v):
    return largest(v) - smallest(v)


def finite(v):
    return all(math.isfinite(e) for e in v)


def variance(v):
    if not finite(v):
        return NAN
    exact = [Fraction(e) for e in v]
    middle = sum(exact) / len(exact)
    return float(sum((e - middle) ** 2 for e in exact) / len(exact))


def log_sum_exp(v):
    top = largest(v)
    if not math.isfinite(top):
        return top
    return top + math.log(math.fsum(math.exp(e - top) for e in v))


DEFINITIONS = {
    "max": largest,
    "min": smallest,
    "avg": mean,
    "sum": total,
    "lp": norm,
    "any": lambda v: any(v),
    "all": lambda v: all(v),
    "prod": product,
    "range": spread,
    "absmax": lambda v: largest([abs(e) for e in v]),
    "rms": lambda v: norm(v) / math.sqrt(len(v)),
    "var": variance,
    "std": lambda v: math.sqrt(variance(v)),
    "logsumexp": log_sum_exp,
}
#: What a window wholly in the padding gives, by the kind of the result.
EMPTY = {
    "max": lambda r: {"f": -INF, "b": False}.get(r.kind, lowest(r)),
    "min": lambda r: {"f": INF, "b": True}.get(r.kind, highest(r)),
    "avg": lambda r: NAN,
    "sum": lambda r: 0,
    "lp": lambda r: 0.0,
    "any": lambda r: False,
    "all": lambda r: True,
    "prod": lambda r: 1,
    "range": lambda r: 0,
    "absmax": lambda r: 0,
    "rms": lambda r: NAN,
    "var": lambda r: NAN,
    "std": lambda r: NAN,
    "logsumexp": lambda r: -INF,
}


def lowest(dtype):
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else None


def highest(dtype):
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else None


def result_type(name, dtype):
    """numpy's own type for the reduction, or the one that the documents promise."""
    wide = {"b": "int64", "i": "int64", "u": "uint64"}
    if name in ("max", "min"):
        return dtype
    if name in ("any", "all"):
        return np.dtype(bool)
    if name in ("sum", "prod"):
        return np.dtype(wide.get(dtype.kind, dtype))
    if name in ("range", "absmax"):
        return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "i" else dtype
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype


def dtype_named(name):
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def is_real(dtype):
    return dtype.kind not in "biu"


def sample(dtype):
    """An array with the values at which a reduction may go wrong, ties among them."""
    rng = np.random.default_rng(1)
    if dtype.kind == "b":
        return rng.random((6, 9)) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        x = rng.integers(max(info.min, -40), 40, (6, 9)).astype(dtype)
        x[0, 0], x[0, 1], x[2, 3] = info.max, info.min, info.min
        x[4, 7] = x[4, 8] = info.max
        return x
    x = (rng.integers(-40, 40, (6, 9)) / 8).astype(dtype)
    x[0, 0], x[2, 5], x[4, 2], x[5, 8] = NAN, INF, -INF, NAN
    x[3, 8] = INF
    return x


#: Of the results in units of the last place; 0 where they are exact.
ULPS = {"avg": 1, "sum": 1, "lp": 2, "prod": 2, "rms": 2, "var": 2, "std": 2, "logsumexp": 3}
#: Each pair compiles kernels of its own, so not all are here: the property tests draw the rest.
PAIRS = [
    *((name, "float32") for name in DEFINITIONS),
    *((name, "uint8") for name in ("max", "sum", "avg", "range", "any", "prod", "std")),
    *((name, "bool") for name in ("min", "sum", "all", "avg")),
    *((name, "int8") for name in ("sum", "absmax", "range")),
    *((name, "uint64") for name in ("max", "range")),
    *((name, "float16") for name in ("max", "sum", "avg", "range", "lp")),
    *((name, "bfloat16") for name in ("min", "sum", "avg")),
    *((name, "float64") for name in ("var", "logsumexp")),
]
GEOMETRIES = [
    ((2, 3), (1, 2), 0, 1),
    ((3, 2), 2, ((2, 1), (3, 2)), 1),
    ((2, 2), 1, 2, 2),
    ((1, 1), 1, 1, 1),
    ((6, 9), 1, 0, 1),
]


def window_of(x, plan, at):
    """The elements that output `at` sees, in row-major order."""
    lines = []
    for i, w in zip(at, plan.windows, strict=True):
        lines.append([p for p in (w.start(i) + j * w.dilation for j in range(w.kernel))
                      if 0 <= p < w.size])  # fmt: skip
    return [x[p] for p in itertools.product(*lines)]


def close(got, wanted, dtype, ulps, scale=0):
    """Whether `got` is `wanted` to within `ulps` of it, or of `scale` if that is larger."""
    got = float(got) if is_real(dtype) else int(got)
    if not is_real(dtype):
        return got == wanted
    if wanted != wanted or got != got:
        return wanted != wanted and got != got
    with np.errstate(over="ignore"):
        rounded = float(dtype.type(wanted))
    if got == rounded:
        return True
    if not ulps or not math.isfinite(rounded) or not math.isfinite(got):
        return False
    near = dtype.type(max(abs(rounded), scale))
    step = float(np.nextafter(near, dtype.type(INF))) - float(near)
    return abs(got - rounded) <= ulps * step


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids=lambda v: v)
def test_reducers_are_what_they_are_defined_as(name, kind):
    dtype = dtype_named(kind)
    x = sample(dtype)
    values = x.astype(np.float64) if is_real(dtype) else x
    as_python = np.array(values.tolist(), object)
    options = {"count_include_pad": False} if name == "avg" else {}
    checked = empty = 0
    for kernel, stride, padding, dilation in GEOMETRIES:
        plan = make_plan(x.shape, kernel, stride, padding, dilation)
        got = npool.pool(x, kernel, stride, padding, dilation, reduce=name, **options)
        assert got.dtype == result_type(name, dtype)
        assert got.shape == plan.out_shape
        for at in np.ndindex(*plan.out_shape):
            window = window_of(as_python, plan, at)
            if window:
                wanted = DEFINITIONS[name](window)
            else:
                wanted = EMPTY[name](np.dtype("f4") if is_real(got.dtype) else got.dtype)
                empty += 1
            if not is_real(got.dtype) and got.dtype.kind != "b":
                wanted = int(wanted) % 2**64  # products wrap, as numpy's do
                if got.dtype.kind == "i" and wanted >= 2**63:
                    wanted -= 2**64
            # log sum exp is a sum, of the largest and a logarithm, in which digits may cancel
            scale = max((abs(e) for e in window if abs(e) < INF), default=0)
            scale = scale if name == "logsumexp" else 0
            near = close(got[at], wanted, got.dtype, ULPS.get(name, 0), scale)
            assert near, f"{name} of {window} is {wanted!r}, not {got[at]!r}"
            checked += 1
    assert checked > 200
    assert empty > 20


def test_the_definitions_are_of_reducers_that_exist():
    assert set(DEFINITIONS) <= set(REDUCERS)
    assert set(DEFINITIONS) == set(EMPTY)


# --- what each must get right --------------------------------------------------------------------


def of(name, values, dtype="float64", **options):
    x = np.array(values, dtype)
    return npool.pool(x, (x.size,), reduce=name, **options)[0]


def test_variance_is_no_difference_of_squares():
    assert of("var", [1e8, 1e8 + 1, 1e8 + 2]) == pytest.approx(2 / 3, rel=1e-15)
    assert of("var", [1e15, 1e15 + 2]) == 1.0
    assert of("std", [3e7] * 50, "float32") == 0.0
    assert of("var", [5.0]) == 0.0
    long = np.random.default_rng(2).normal(1e6, 1.0, 20000)
    assert of("var", long) == pytest.approx(np.var(long), rel=1e-9)


def test_logsumexp_never_overflows():
    assert of("logsumexp", [1000.0, 1000.0]) == pytest.approx(1000 + math.log(2), rel=1e-15)
    assert of("logsumexp", [-1000.0, -1001.0]) == pytest.approx(-1000 + math.log1p(math.exp(-1)))
    assert of("logsumexp", [1.7e308, -1.7e308]) == 1.7e308
    assert of("logsumexp", [-INF, -INF, -INF]) == -INF
    assert of("logsumexp", [INF, 1.0, INF]) == INF
    assert of("logsumexp", [-INF, 2.0]) == 2.0
    assert math.isnan(of("logsumexp", [INF, NAN, -INF]))
    assert of("logsumexp", [88.0] * 4, "float16") == np.float16(88 + math.log(4))


def test_extremes_of_integers_are_exact():
    for dtype in ("int8", "int64"):
        info = np.iinfo(dtype)
        ends = [info.min, info.max, 0]
        assert int(of("range", ends, dtype)) == 2 ** (8 * np.dtype(dtype).itemsize) - 1
        assert int(of("absmax", ends, dtype)) == 2 ** (8 * np.dtype(dtype).itemsize - 1)
    assert int(of("range", [2**64 - 1, 2**53 + 1], "uint64")) == 2**64 - 2 - 2**53
    assert int(of("max", [2**53 + 1, 2**53], "int64")) == 2**53 + 1


def test_sums_of_integers_have_room():
    assert of("sum", [127] * 1000, "int8") == 127000
    assert of("sum", [255] * 1000, "uint8") == 255000
    assert of("sum", [True] * 1000, "bool") == 1000
    assert of("avg", [127] * 1000, "int8") == 127.0
    assert int(of("sum", [2**63 - 1, 1, -5], "int64")) == 2**63 - 5  # it wraps and comes back
    assert of("avg", [2**63 - 1] * 5, "int64") == float(2**63 - 1)
    assert of("avg", [2**64 - 1] * 7, "uint64") == float(2**64 - 1)
    assert of("avg", [-(2**63)] * 3, "int64") == -float(2**63)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_are_reduced_in_float32(kind):
    dtype = dtype_named(kind)
    x = np.full(4096, 1, dtype)
    assert float(npool.sum_pool(x, (4096,))[0]) == 4096  # in halves it would stop at 256 or 2,048
    assert float(npool.avg_pool(x, (4096,))[0]) == 1
    big = np.full(16, 60000, dtype)
    assert float(npool.avg_pool(big, (16,))[0]) == float(dtype.type(60000))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.5, 1, 1.0, 2, 3, 2.5, 7])
def test_lp_of_any_power(p, dtype):
    x = np.random.default_rng(3).normal(0, 2, (6, 9)).astype(dtype)
    got = npool.lp_pool(x, p, (2, 3), 1, 1)
    padded = np.abs(np.pad(x.astype(np.float64), 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3))
    wanted = (windows**p).sum(axis=(2, 3)) ** (1 / p)
    assert got.dtype == dtype
    assert np.allclose(got, wanted, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_results_do_not_depend_on_where_the_window_lies():
    # The same numbers in the same window, at every offset of a row: the same bits.
    rng = np.random.default_rng(4)
    values = rng.standard_normal(5).astype(np.float32)
    for name in ("sum", "avg", "var", "logsumexp", "max", "prod"):
        bits = set()
        for at in range(40):
            x = np.zeros(60, np.float32)
            x[at : at + 5] = values
            bits.add(npool.pool(x, (5,), 1, reduce=name)[at].tobytes())
        assert len(bits) == 1, name


# --- averages of integers ------------------------------------------------------------------------


def rounded(exact, how):
    """The integer that a fraction rounds to."""
    down = math.floor(exact)
    rest = exact - down
    if how == "floor":
        return down
    if how == "trunc":
        return math.trunc(exact)
    if how == "half_up":
        return math.floor(exact + Fraction(1, 2))
    if rest == Fraction(1, 2):
        return down + down % 2
    return math.floor(exact + Fraction(1, 2))


def saturated(n, dtype):
    info = np.iinfo(dtype)
    return min(max(n, int(info.min)), int(info.max))


def test_rounding_by_hand():
    halves = [Fraction(n, 2) for n in (-5, -3, -1, 0, 1, 3, 5)]
    assert [rounded(h, "half_even") for h in halves] == [-2, -2, 0, 0, 0, 2, 2]
    assert [rounded(h, "half_up") for h in halves] == [-2, -1, 0, 0, 1, 2, 3]
    assert [rounded(h, "floor") for h in halves] == [-3, -2, -1, 0, 0, 1, 2]
    assert [rounded(h, "trunc") for h in halves] == [-2, -1, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("source", "result"),
    [("int8", "int8"), ("int8", "uint8"), ("uint8", "int8"), ("bool", "int16"), ("int32", "int64")],
)
def test_every_small_sum_and_count(source, result, rounding):
    # The function that every engine compiles, run as Python
    finish = average(np.dtype(source), np.dtype(result), rounding).finish
    for t in range(-70, 71):
        for n in (*range(1, 25), *range(-24, 0)):
            assert finish(t, n) == saturated(rounded(Fraction(t, n), rounding), result), (t, n)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_pair_of_int8(rounding):
    every = np.arange(-128, 128).astype(np.int8)
    pairs = np.stack(np.meshgrid(every, every), axis=-1).reshape(-1, 2)
    got = npool.avg_pool(pairs, (2,), dtype=np.int8, rounding=rounding)[:, 0]
    sums = pairs.astype(int).sum(axis=1)
    wanted = {t: rounded(Fraction(int(t), 2), rounding) for t in np.unique(sums)}
    assert got.dtype == np.int8
    assert np.array_equal(got, [wanted[t] for t in sums])


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_divisors_of_either_sign_and_any_size(rounding):
    x = np.arange(-100, 101).astype(np.int8)
    for divisor in (1, 2, 3, 7, 100, 2**31, 2**62, -1, -2, -3, -7, -100, -(2**31), -(2**62)):
        got = npool.avg_pool(x, (3,), 1, dtype=np.int8, rounding=rounding, divisor_override=divisor)
        sums = (3 * v for v in range(-99, 100))
        wanted = [saturated(rounded(Fraction(s, divisor), rounding), np.int8) for s in sums]
        assert got.tolist() == wanted, divisor


def test_results_saturate():
    x = np.array([100, 100, -100, -100], np.int8)
    assert npool.avg_pool(x, (2,), dtype=np.int8, divisor_override=1).tolist() == [127, -128]
    assert npool.avg_pool(x, (2,), dtype=np.uint8).tolist() == [100, 0]
    assert npool.avg_pool(x, (2,), dtype=np.uint8, divisor_override=-1).tolist() == [0, 200]
    wide = np.array([2**40, -(2**40)], np.int64)
    assert npool.avg_pool(wide, (1,), dtype=np.int8).tolist() == [127, -128]


def extremes(dtype, rng, count):
    """Rows of 4 integers, many of them near the ends of the type."""
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    near = [low, low + 1, low + 2, high - 1, high, high - 2, 0, 1, 2, 3, high // 2, high // 2 + 1]
    near += [v for v in (-1, -2, 2**32, 2**32 - 1, -(2**32), 2**53 + 1) if low <= v <= high]
    rows = []
    for _ in range(count):
        anywhere = [int(v) for v in rng.integers(low, high, 4, dtype=dtype, endpoint=True)]
        rows.append([v if rng.random() < 0.3 else rng.choice(near) for v in anywhere])
    return rows


class _Choice:
    """numpy's generator, whose `choice` keeps Python's integers."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def choice(self, values):
        return values[int(self.rng.integers(len(values)))]

    def __getattr__(self, name):
        return getattr(self.rng, name)


@pytest.mark.parametrize(
    ("source", "result", "rounding"),
    [
        ("int64", "int64", "half_even"),
        ("int64", "int64", "trunc"),
        ("uint64", "uint64", "half_even"),
        ("uint64", "int64", "half_up"),
        ("int64", "uint64", "floor"),
        ("int64", "int8", "half_even"),
    ],
)
def test_averages_of_64_bits_are_exact(source, result, rounding):
    rows = extremes(source, _Choice(5), 400)
    x = np.array(rows, source)
    for kernel, divisor in ((4, None), (3, None), (2, None), (1, None), (4, 1), (4, -1), (3, 7),
                            (2, -3), (4, 2**62), (4, -(2**62)), (4, 2**33 + 1)):  # fmt: skip
        got = npool.avg_pool(
            x, (kernel,), 1, dtype=result, rounding=rounding, divisor_override=divisor
        )
        for line, row in zip(got.tolist(), rows, strict=True):
            for i, value in enumerate(line):
                exact = Fraction(sum(row[i : i + kernel]), divisor or kernel)
                assert value == saturated(rounded(exact, rounding), result), (row, i, divisor)


@pytest.mark.parametrize("source", ["int64", "uint64"])
def test_float_averages_of_64_bits(source):
    rows = extremes(source, _Choice(6), 300)
    got = npool.avg_pool(np.array(rows, source), (4,))[:, 0]
    assert got.dtype == np.float64
    for value, row in zip(got.tolist(), rows, strict=True):
        exact = float(Fraction(sum(row), 4))
        # 4 near the ends may cancel: a few units in the last place of the largest
        assert abs(value - exact) <= 2 * math.ulp(max(abs(exact), max(map(abs, row)) / 4))


def test_padding_in_integer_averages():
    x = np.array([7, 7, 7], np.uint8)
    assert npool.avg_pool(x, (2,), 1, 1, dtype=np.uint8).tolist() == [4, 7, 7, 4]
    without = npool.avg_pool(x, (2,), 1, 1, dtype=np.uint8, count_include_pad=False)
    assert without.tolist() == [7, 7, 7, 7]
    empty = {"kernel_size": (2,), "stride": 1, "padding": 2, "dtype": np.uint8}
    assert npool.avg_pool(x, **empty).tolist() == [0, 4, 7, 7, 4, 0]
    with pytest.raises(ValueError, match="NaN"):
        npool.avg_pool(x, **empty, count_include_pad=False)
    divided = npool.avg_pool(x, **empty, count_include_pad=False, divisor_override=7)
    assert divided.tolist() == [0, 1, 2, 2, 1, 0]


# --- a user's own reducers -----------------------------------------------------------------------


def reference(x, reducer, kernel, stride, padding, dilation=1):
    """`reducer` by its own Python functions, one window at a time."""
    plan = make_plan(x.shape, kernel, stride, padding, dilation)
    y = np.zeros(plan.out_shape)
    for at in np.ndindex(*plan.out_shape):
        window = window_of(x, plan, at)
        a = reducer.identity
        for element in window:
            e = float(element) if x.dtype.kind == "f" else int(element)
            a = reducer.combine(a, reducer.lift(e, *reducer.params) if reducer.lift else e)
        y[at] = reducer.finish(a, len(window), *reducer.params) if reducer.finish else a
    return y


def _pairs(a, b):
    return a[0] + b[0], a[1] + b[1]


def _triples(a, b):
    return a[0] + b[0], a[1] + b[1], max(a[2], b[2])


def _fours(a, b):
    return a[0] + b[0], a[1] + b[1], min(a[2], b[2]), a[3] * b[3]


SCALE = 3.0
R = npool.Reducer
OWN = {
    "product of absolute values": R("prod_abs", lambda a, b: a * b, 1.0, lift=lambda x: abs(x)),
    "no lift, no finish": R("plus", lambda a, b: a + b, 0.0),
    "harmonic mean": R(
        "harmonic", lambda a, b: a + b, 0.0, lift=lambda x: 1 / (abs(x) + 1),
        finish=lambda a, n: n / a if n > 0 else 0.0,
    ),
    "largest square": R("square", lambda a, b: max(a, b), 0.0, lift=lambda x: x * x,
                        idempotent=True),
    "two parts": R("mean", _pairs, (0.0, 0.0), lift=lambda x: (x, 1.0),
                   finish=lambda a, n: a[0] / (a[1] + 1)),
    "three parts": R("three", _triples, (0.0, 0.0, -1e30), lift=lambda x: (x, x * x, x),
                     finish=lambda a, n: a[0] + a[1] * a[2] if n > 0 else 0.0),
    "four parts": R("four", _fours, (0.0, 0, 1e30, 1), lift=lambda x: (x, 1.0, x, 1.5),
                    finish=lambda a, n: a[0] * a[3] + a[1] if n > 0 else 0.0),
    "numbers at run time": R("param", lambda a, b: a + b, 0.0, lift=lambda x, p, q: x * p + q,
                             finish=lambda a, n, p, q: a - q * n, params=(2.5, 4)),
    "a global and math": R("global", lambda a, b: a + b, 0.0,
                           lift=lambda x: math.sin(x) * SCALE + math.sqrt(abs(x))),
    "counts": R("counts", lambda a, b: a, 0.0, finish=lambda a, n: n * 1.0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in OWN), ("three parts", "float32"), ("counts", "float32")],
)
def test_own_reducers_follow_their_python(name, dtype):
    rng = np.random.default_rng(7)
    x = (rng.integers(-8, 9, (7, 12)) / 4).astype(dtype)
    for kernel, stride, padding, dilation in (((2, 3), 1, 1, 1), ((3, 2), (2, 1), 2, (1, 3)),
                                              ((1, 12), 1, 0, 1), ((2, 2), 1, 3, 1)):  # fmt: skip
        wanted = reference(x, OWN[name], kernel, stride, padding, dilation)
        got = npool.pool(x, kernel, stride, padding, dilation, reduce=OWN[name])
        assert got.dtype == dtype
        assert np.allclose(got, wanted, rtol=1e-5 if dtype == "float32" else 1e-12)
        strided = npool.pool(np.repeat(x, 2, 1)[:, ::2], kernel, stride, padding, dilation,
                             reduce=OWN[name])  # fmt: skip
        assert strided.tobytes() == got.tobytes()


def test_own_reducers_of_integers():
    xor = R("xor", lambda a, b: a ^ b, 0, accumulator="same", result="same")
    x = np.random.default_rng(8).integers(0, 256, (9, 20)).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 5))
    wanted = np.bitwise_xor.reduce(windows.reshape(*windows.shape[:2], -1), axis=2)
    got = npool.pool(x, (3, 5), 1, reduce=xor)
    assert got.dtype == np.uint8
    assert np.array_equal(got, wanted)
    odd = R("odd", lambda a, b: a + b, 0, lift=lambda x: x & 1, result="int32", accumulator="int32")
    assert np.array_equal(npool.pool(x, (3, 5), 1, reduce=odd), (windows & 1).sum(axis=(2, 3)))
    some = R("some", lambda a, b: a + b, 0, result="bool")
    assert npool.pool(x * np.uint8(0), (3, 5), reduce=some).view(np.uint8).max() == 0
    assert npool.pool(np.full((3, 5), 2, np.uint8), (3, 5), reduce=some).view(np.uint8) == 1


def test_another_number_at_run_time_is_another_answer():
    x = np.arange(6.0)
    combine, lift = (lambda a, b: a + b), (lambda v, p: v * p)
    for p in (2.0, -3.5, 0.0, 1e300):
        reducer = R("scaled", combine, 0.0, lift=lift, params=(p,))
        assert npool.pool(x, (2,), reduce=reducer).tolist() == [p, 5 * p, 9 * p]


def test_ends_of_the_accumulators_type():
    for dtype, identity, end in (("int16", "lowest", -32768), ("uint8", "highest", 255),
                                 ("float32", "highest", INF)):  # fmt: skip
        keep = R("end", lambda a, b: b, identity, accumulator="same", result="same")
        assert npool.pool(np.zeros(3, dtype), (1,), 1, 1, reduce=keep).tolist() == [
            end,
            0,
            0,
            0,
            end,
        ]


def test_a_reducer_may_divide():
    mine = R("mine", lambda a, b: a + b, 0.0, finish=lambda a, n: a / n,
             counts_padding=True, divides=True)  # fmt: skip
    x = np.random.default_rng(9).random((5, 6))
    for options in ({}, {"count_include_pad": False}, {"divisor_override": 5}):
        wanted = npool.avg_pool(x, (2, 3), 1, 1, **options)
        assert np.array_equal(npool.pool(x, (2, 3), 1, 1, reduce=mine, **options), wanted)


@pytest.mark.parametrize("name", ["max", "range", "var", "std", "lp", "sum", "logsumexp", "prod"])
@pytest.mark.parametrize("option", [{"count_include_pad": True}, {"count_include_pad": False},
                                    {"divisor_override": 2}])  # fmt: skip
def test_what_divides_by_nothing_takes_no_divisor(name, option):
    with pytest.raises(ValueError, match=f"averages.*{name}"):
        npool.pool(np.ones(4), (2,), reduce=name, **option)


def test_reducers_are_values():
    reducer = OWN["two parts"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        reducer.identity = 1
    assert reducer.parts == 2
    assert OWN["no lift, no finish"].parts == 1
    twin = dataclasses.replace(reducer)
    assert twin != reducer
    assert len({reducer, twin}) == 2
    x = np.arange(8.0)
    assert np.array_equal(npool.pool(x, (2,), reduce=twin), npool.pool(x, (2,), reduce=reducer))


def test_names_and_reducers_are_the_same_call():
    x = np.random.default_rng(10).random((6, 8)).astype(np.float32)
    for name in ("max", "sum", "avg", "range", "lp"):
        by_name = npool.pool(x, (2, 3), 1, 1, reduce=name)
        assert np.array_equal(by_name, npool.pool(x, (2, 3), 1, 1, reduce=REDUCERS[name]))
    assert np.array_equal(npool.max_pool(x, (2, 2)), npool.pool(x, (2, 2)))
    assert np.array_equal(npool.lp_pool(x, 2, (2, 2)), npool.pool(x, (2, 2), reduce="lp"))
