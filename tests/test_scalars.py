"""npool.scalars, which says what a reducer's words mean, against what they are compiled to."""

import math
import struct

import numba
import numpy as np
import pytest

from npool import scalars

instructions = pytest.importorskip("npool.cpu.instructions")
WORDS = {function.__name__: word for function, word in instructions.VOCABULARY.items()}

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="nothing is compiled under NUMBA_DISABLE_JIT"
)

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64"]


def samples(dtype):
    """Values at which an instruction may go wrong."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        near = {info.min, info.min + 1, info.max - 1, info.max, info.max // 2, info.max // 2 + 1}
        near |= {v for v in (-2, -1, 0, 1, 2, 100) if info.min <= v <= info.max}
        return np.array(sorted(near), dtype)
    info = np.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_subnormal, 1 + info.eps, 1.0, 0.5, 2.0, 3.0, 1e-3]
    positive = np.array([0.0, *ends, np.inf], dtype)
    return np.concatenate([-positive, positive, np.array([np.nan, -np.nan], dtype)])


def same(got, wanted):
    """Whether two numbers are the same but for the sign of a zero and the payload of a NaN."""
    if math.isnan(wanted) or math.isnan(got):
        return math.isnan(wanted) and math.isnan(got)
    return got == wanted


def compiled(word, arguments):
    """`word` over whole arrays; the type of the result is the word's own."""
    space = {"word": WORDS[word]}
    names = "abc"[:arguments]
    exec(f"def call({', '.join(names)}):\n    return word({', '.join(names)})", space)
    scalar = numba.njit(error_model="numpy")(space["call"])
    return lambda *columns: [scalar(*values) for values in zip(*columns, strict=True)]


def pairs(values):
    left, right = np.meshgrid(values, values)
    return left.ravel(), right.ravel()


def test_every_word_has_an_instruction():
    assert sorted(WORDS) == sorted(scalars.__all__)
    assert all(getattr(scalars, name) in instructions.VOCABULARY for name in scalars.__all__)


@pytest.mark.parametrize("dtype", FLOATS)
def test_divide_rounds_as_division_does(dtype):
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype).type
    a = np.concatenate([samples(dtype), rng.standard_normal(20_000).astype(dtype) * kind(1e3)])
    # Integers, whose quotients lie near the middle of two neighbours or upon one.
    a = np.concatenate([a, rng.integers(-(2**23), 2**23, 20_000).astype(dtype)])
    a = a[(a == 0) | ~(np.abs(a) < np.finfo(dtype).tiny * 1e9)]
    for n in (1, 2, 3, 4, 6, 7, 9, 25, 49, 961, 10_001, 2**23 - 1, -3, 0):
        count = np.full(a.shape, n, dtype)
        got = np.array(compiled("divide", 2)(a, count), dtype)
        with np.errstate(all="ignore"):
            assert np.array_equal(got, a / count, equal_nan=True), n
        wanted = [scalars.divide(v, w) for v, w in zip(a[:40], count[:40], strict=True)]
        assert np.array_equal(got[:40], np.array(wanted, dtype), equal_nan=True)


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
@pytest.mark.parametrize("word", ["maximum", "minimum"])
def test_extremes(word, dtype):
    a, b = pairs(samples(dtype))
    meaning = getattr(scalars, word)
    got = compiled(word, 2)(a, b)
    wanted = [meaning(v, w) for v, w in zip(a.tolist(), b.tolist(), strict=True)]
    assert len(got) > 3
    for v, w, x, y in zip(a, b, got, wanted, strict=True):
        assert same(x, y), f"{word}({v!r}, {w!r}) = {x!r}, not {y!r}"
        assert isinstance(x, bool if dtype == "bool" else (int, float))
        assert math.isnan(x) == (math.isnan(v) or math.isnan(w))


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, *FLOATS])
def test_select_isnan_and_absolute(dtype):
    values = samples(dtype)
    a, b = pairs(values)
    condition = np.arange(a.size) % 3 == 0
    for x, test, v, w in zip(compiled("select", 3)(condition, a, b), condition, a, b, strict=True):
        assert same(x, scalars.select(bool(test), v.item(), w.item()))
    for x, v in zip(compiled("isnan", 1)(values), values.tolist(), strict=True):
        assert isinstance(x, bool)
        assert x == scalars.isnan(v) == math.isnan(v)
    for x, v in zip(compiled("absolute", 1)(values), values.tolist(), strict=True):
        wanted = scalars.absolute(v)
        if np.dtype(dtype).kind == "i":
            # The smallest integer's bits, read as unsigned, are its absolute value.
            x %= 2 ** (8 * np.dtype(dtype).itemsize)
        assert same(x, wanted)
        assert math.copysign(1, x) == 1 or math.isnan(x)


def test_select_takes_integers_as_conditions():
    choose = compiled("select", 3)
    assert choose([0, 1, 2, -1], [10] * 4, [20] * 4) == [20, 10, 10, 10]
    assert choose([0.0, 0.5], [10] * 2, [20] * 2) == [20, 10]


@pytest.mark.parametrize("dtype", FLOATS)
def test_square_roots_are_exactly_rounded(dtype):
    rng = np.random.default_rng(1)
    values = np.concatenate([samples(dtype), rng.uniform(0, 1e6, 500).astype(dtype)])
    for x, v in zip(compiled("sqrt", 1)(values), values, strict=True):
        wanted = float(np.dtype(dtype).type(scalars.sqrt(float(v))))
        assert same(x, wanted), f"sqrt({v!r}) = {x!r}, not {wanted!r}"
    assert compiled("sqrt", 1)([np.int64(2**62)]) == [2.0**31]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("word", ["exp", "log"])
def test_exp_and_log(word, dtype):
    rng = np.random.default_rng(2)
    span = rng.uniform(-120, 120, 500) if word == "exp" else rng.uniform(0, 1e4, 500)
    check_real(word, [np.concatenate([samples(dtype), span.astype(dtype)])], dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_power(dtype):
    values = np.array([*samples(dtype), -3.0, -2.5, 7.0], dtype)
    exponents = [-np.inf, -3.0, -2.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 2.0, 3.0, 2.0**60, np.inf]
    a, b = (v.ravel() for v in np.meshgrid(values, np.array([*exponents, np.nan], dtype)))
    check_real("power", [a, b], dtype)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_rounding_to_half_types(name):
    kind = np.dtype(bfloat16() if name == "bfloat16" else name)
    rng = np.random.default_rng(3)
    every = ALL_BITS.view(kind).astype(np.float32)
    # Each of them, what lies half-way to the next, ends, and any number.
    ends = np.float32([65519, 65520, 65521, -65520, 3.4e38, -3.4e38, 1e-8, np.inf, np.nan])
    bits = rng.integers(0, 2**32, 4000, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        ties = (every[:-1] + (every[1:] - every[:-1]) / 2)[::7]
    for values in (every[::3], ends, bits, ties):
        with np.errstate(all="ignore"):
            wanted = values.astype(kind).astype(np.float32).tolist()
        meaning = getattr(scalars, f"round_{name}")
        got = compiled(f"round_{name}", 1)(values)
        for v, x, w in zip(values.tolist(), got, wanted, strict=True):
            assert same(x, w), f"round_{name}({v!r}) = {x!r}, not {w!r}"
            assert same(meaning(v), w), f"{v!r} means {meaning(v)!r}, not {w!r}"


def check_real(word, columns, dtype):
    """The compiled word lies within 2 ulp of its meaning, rounded to `dtype`."""
    meaning, kind = getattr(scalars, word), np.dtype(dtype).type
    checked = 0
    for x, *v in zip(compiled(word, len(columns))(*columns), *columns, strict=True):
        exact = meaning(*(float(c) for c in v))
        with np.errstate(over="ignore", under="ignore"):
            wanted = float(kind(exact))
        assert type(x) is float
        assert float(kind(x)) == x or math.isnan(x)
        half = min(abs(wanted), float(np.finfo(dtype).max)) / 2  # spacing() of max overflows
        near = same(x, wanted) or abs(x - wanted) <= 4 * float(np.spacing(kind(half)))
        # libm may overflow, or not, at the last representable number.
        near = near or (math.isinf(x) and abs(wanted) > 0.999999 * float(np.finfo(dtype).max))
        assert near, f"{word}{tuple(v)} = {x!r}, not {wanted!r}"
        checked += 1
    assert checked > 30


# --- the half types ------------------------------------------------------------------------------


ALL_BITS = np.arange(2**16, dtype=np.uint16)


def over(function, values, result):
    """`function`, jitted, over all of `values`."""

    @numba.njit(error_model="numpy")
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    y = np.empty(values.shape, result)
    loop(values, y)
    return y


def bfloat16():
    return pytest.importorskip("ml_dtypes").bfloat16


DECODERS = {
    "instruction": ("float16", "decode_half"),
    "by_bits": ("float16", "half_by_bits"),
    "bfloat16": ("bfloat16", "decode_bfloat"),
}
ENCODERS = {
    "instruction": ("float16", "encode_half"),
    "by_bits": ("float16", "encode_half_by_bits"),
    "bfloat16": ("bfloat16", "encode_bfloat"),
}


def usable(form):
    """Skip the form that needs instructions this processor lacks; else its storage type."""
    if form == "instruction" and not instructions.HAS_HALF:
        pytest.skip("this processor does not convert halves")
    return bfloat16() if form == "bfloat16" else np.float16


@pytest.mark.parametrize("form", DECODERS)
def test_decoders_on_every_bit_pattern(form):
    storage = usable(form)
    got = over(getattr(instructions, DECODERS[form][1]), ALL_BITS, np.float32)
    wanted = ALL_BITS.view(storage).astype(np.float32)
    nan = np.isnan(wanted)
    assert 0 < nan.sum() < 2**12
    assert np.array_equal(np.isnan(got), nan)
    assert np.array_equal(got[~nan].view(np.uint32), wanted[~nan].view(np.uint32))


def float32_samples(storage):
    """Every value of `storage`, every midpoint of neighbours, what lies just beside them, and
    float32 bit patterns of all kinds."""
    with np.errstate(invalid="ignore"):
        values = ALL_BITS.view(storage).astype(np.float64)
    values = np.unique(values[np.isfinite(values)])
    largest = float(values[-1])
    past = largest + (largest - float(values[-2]))  # where infinity rounds from
    ends = np.concatenate([values, [past, -past]])
    ends.sort()
    middles = (ends[:-1] + ends[1:]) / 2
    exact = np.concatenate([values, middles])
    with np.errstate(over="ignore"):
        exact = exact.astype(np.float32)
    inf = np.float32(np.inf)
    around = [exact, np.nextafter(exact, inf), np.nextafter(exact, -inf)]
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, 300_000, np.uint64).astype(np.uint32)
    tiny = rng.integers(0, 2**24, 50_000, np.uint64).astype(np.uint32)
    specials = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan], np.float32)
    return np.concatenate([*around, bits.view(np.float32), tiny.view(np.float32), specials])


@pytest.mark.parametrize("form", ENCODERS)
def test_encoders_round_half_to_even(form):
    storage = usable(form)
    values = float32_samples(storage)
    got = over(getattr(instructions, ENCODERS[form][1]), values, np.uint16)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        wanted = values.astype(storage)
    nan = np.isnan(values)
    assert np.isnan(got.view(storage).astype(np.float32))[nan].all()
    wrong = np.flatnonzero((got != wanted.view(np.uint16)) & ~nan)
    assert wrong.size == 0, [(values[i], hex(got[i]), wanted[i]) for i in wrong[:5]]


@pytest.mark.parametrize("form", ENCODERS)
def test_encoders_undo_decoders(form):
    storage = usable(form)
    finite = ~np.isnan(ALL_BITS.view(storage).astype(np.float32))
    floats = over(getattr(instructions, DECODERS[form][1]), ALL_BITS, np.float32)
    back = over(getattr(instructions, ENCODERS[form][1]), floats, np.uint16)
    assert np.array_equal(back[finite], ALL_BITS[finite])
    assert np.isnan(back[~finite].view(storage).astype(np.float32)).all()


def test_a_processor_without_conversions_gets_the_form_by_bits():
    decode = instructions.DECODERS["float16", "value"]
    encode = instructions.ENCODERS["float16", "value"]
    if instructions.HAS_HALF:
        assert (decode, encode) == (instructions.decode_half, instructions.encode_half)
    else:
        assert (decode, encode) == (instructions.half_by_bits, instructions.encode_half_by_bits)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("form", ["highest", "lowest"])
def test_keys_order_the_half_types_as_floats(name, form):
    storage = bfloat16() if name == "bfloat16" else np.float16
    values = ALL_BITS.view(storage).astype(np.float32)
    nan = np.isnan(values)
    keys = over(instructions.DECODERS[name, form], ALL_BITS, np.int16)
    # NaN is the end that wins: a maximum ("highest") or a minimum ("lowest").
    end = np.iinfo(np.int16).max if form == "highest" else np.iinfo(np.int16).min
    assert (keys[nan] == end).all()
    assert (keys[~nan] != end).all()
    order = np.argsort(keys[~nan], kind="stable")
    assert (np.diff(values[~nan][order]) >= 0).all()
    assert np.unique(keys[~nan]).size == (~nan).sum()
    back = over(instructions.ENCODERS[name, form], keys, np.uint16)
    assert np.array_equal(back[~nan], ALL_BITS[~nan])
    assert np.isnan(back[nan].view(storage).astype(np.float32)).all()


def test_the_reference_is_not_the_thing_tested():
    # numpy's conversion of one known midpoint, from IEEE 754: 2049 lies between 2048 and 2050
    assert np.float32(2049).astype(np.float16) == 2048
    assert np.float32(2051).astype(np.float16) == 2052
    assert struct.unpack("<e", struct.pack("<e", 65519.0))[0] == 65504.0
