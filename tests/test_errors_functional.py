"""npool.functional refuses what torch refuses, in words that hold torch's own phrase."""

import numpy as np
import pytest

from npool import functional as F

X1, X2, X3 = np.ones((1, 2, 8)), np.ones((1, 2, 8, 8)), np.ones((1, 2, 8, 8, 8))
INPUTS = {1: X1, 2: X2, 3: X3}
HUGE = 2**70


def check_refused(error, phrases, pool, *args, **kwargs):
    """The call raises `error`, whose message holds each of `phrases`."""
    with pytest.raises(error) as caught:
        pool(*args, **kwargs)
    message = str(caught.value)
    for phrase in (pool.__name__, *phrases):
        assert phrase in message
    assert isinstance(caught.value, F.ArgumentError) == (error is not TypeError)
    assert "\n" not in message


def call_of(op, n):
    """A function of `op` in `n` dimensions that takes the arguments after norm_type by name."""
    pool = getattr(F, f"{op}_pool{n}d")

    def call(input, kernel_size, **kwargs):
        norm = (2,) if op == "lp" else ()
        return pool(input, *norm, kernel_size, **kwargs)

    call.__name__ = pool.__name__
    return call


OPS = [("max", 1), ("max", 2), ("max", 3), ("avg", 1), ("avg", 2), ("avg", 3),
       ("lp", 1), ("lp", 2), ("lp", 3)]  # fmt: skip
PADDED = [(op, n) for op, n in OPS if op != "lp"]
every = pytest.mark.parametrize(("op", "n"), OPS)


# --- sizes -------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("value", [3.0, True, "3", None, b"3", {3}, {3: 3}, np.array(3.0), 1j])
def test_kernel_size_of_a_wrong_type(op, n, value):
    phrases = ["argument 'kernel_size' must be tuple of ints, not", repr(value), "give"]
    check_refused(TypeError, phrases, call_of(op, n), INPUTS[n], value)


@every
@pytest.mark.parametrize("entry", [3.0, True, "3", None, (3,)])
def test_kernel_size_with_an_entry_of_a_wrong_type(op, n, entry):
    phrases = ["argument 'kernel_size' must be tuple of ints", repr(entry)]
    check_refused(TypeError, phrases, call_of(op, n), INPUTS[n], [entry] * n)


@every
@pytest.mark.parametrize("value", [2.0, False, "same"])
def test_stride_of_a_wrong_type(op, n, value):
    phrases = ["argument 'stride' must be tuple of ints, not", repr(value)]
    check_refused(TypeError, phrases, call_of(op, n), INPUTS[n], 2, stride=value)


@pytest.mark.parametrize(("op", "n"), PADDED)
@pytest.mark.parametrize("value", [None, 1.0, True, "same", ((1, 1),)])
def test_padding_of_a_wrong_type(op, n, value):
    phrases = ["argument 'padding' must be tuple of ints, not", repr(value)]
    check_refused(TypeError, phrases, call_of(op, n), INPUTS[n], 2, padding=value)


@every
def test_wrong_numbers_of_entries(op, n):
    call = call_of(op, n)
    for count in {0, 2, 3, 4} - {n}:
        phrases = ["kernel_size must either be a single int, or a tuple of", f"{count} entries"]
        check_refused(ValueError, phrases, call, INPUTS[n], (2,) * count)
        if count:
            phrases = ["stride must either be a single int", f"{count} entries"]
            check_refused(ValueError, phrases, call, INPUTS[n], 2, stride=(2,) * count)
        if op != "lp":
            phrases = ["padding must either be a single int", f"{count} entries"]
            check_refused(ValueError, phrases, call, INPUTS[n], 2, padding=(1,) * count)
        if op == "max":
            phrases = ["dilation must either be a single int", f"{count} entries"]
            check_refused(ValueError, phrases, call, INPUTS[n], 2, dilation=(1,) * count)


@every
@pytest.mark.parametrize("value", [0, -1, -HUGE])
def test_sizes_below_one(op, n, value):
    call = call_of(op, n)
    phrases = [f"kernel_size must be greater than zero, but got {value}", "1 or more"]
    check_refused(ValueError, phrases, call, INPUTS[n], value)
    phrases = [f"stride must be greater than zero, but got {value}", "1 or more"]
    check_refused(ValueError, phrases, call, INPUTS[n], 2, stride=value)
    check_refused(ValueError, phrases, call, INPUTS[n], 2, stride=(2,) * (n - 1) + (value,))
    if op == "max":
        phrases = [f"dilation must be greater than zero, but got {value}", "1 or more"]
        check_refused(ValueError, phrases, call, INPUTS[n], 2, dilation=value)


@every
@pytest.mark.parametrize("value", [2**31, 2**62, 2**63, HUGE])
def test_sizes_past_every_machine_integer(op, n, value):
    call = call_of(op, n)
    small = "smaller than kernel size" if op != "max" and n == 3 else "Output size is too small"
    check_refused(ValueError, [small, str(value)], call, INPUTS[n], value)
    phrases = [str(value), "largest allowed", str(2**31 - 1)]
    check_refused(ValueError, phrases, call, INPUTS[n], 2, stride=value)
    if op == "max":
        check_refused(ValueError, phrases, call, INPUTS[n], 1, dilation=value)
        phrases = ["Output size is too small", str(value + 1)]
        check_refused(ValueError, phrases, call, INPUTS[n], 2, dilation=value)
    if op != "lp":
        phrases = ["at most half of effective kernel size", str(value), "give at most 1"]
        check_refused(ValueError, phrases, call, INPUTS[n], 2, padding=value)


@pytest.mark.parametrize(("op", "n"), PADDED)
def test_padding_past_half_of_the_kernel(op, n):
    call = call_of(op, n)
    phrases = ["pad must be non-negative, but got pad: -1", "give 0 or more"]
    check_refused(ValueError, phrases, call, INPUTS[n], 2, padding=-1)
    for kernel, pad in ((2, 2), (3, 2), (4, 3), (5, 3)):
        phrases = [
            "pad should be at most half of effective kernel size",
            f"but got pad={pad}, kernel_size={kernel} and dilation=1",
            f"give at most {kernel // 2}",
            f"npool.{op}_pool takes any padding",
        ]
        check_refused(ValueError, phrases, call, INPUTS[n], kernel, padding=pad)
        assert call(INPUTS[n], kernel, padding=kernel // 2).size
    if op == "max":
        # torch checks half of the window without its dilation too.
        phrases = ["pad should be smaller than or equal to half of kernel size", "pad=2"]
        check_refused(ValueError, phrases, call, INPUTS[n], 3, padding=2, dilation=2)
        phrases = ["pad should be at most half of effective kernel size", "pad=3"]
        check_refused(ValueError, phrases, call, INPUTS[n], 3, padding=3, dilation=2)


@every
def test_integers_too_long_to_print_are_refused_in_words(op, n):
    call, long = call_of(op, n), 10**5000
    for kwargs in (
        ({}, {"stride": long}) if op == "lp" else ({}, {"stride": long}, {"padding": long})
    ):
        for kernel in (long, 2, -long):
            if kwargs or kernel != 2:
                check_refused(ValueError, [], call, INPUTS[n], kernel, **kwargs)
    if op == "max":
        check_refused(ValueError, ["bits"], call, INPUTS[n], 2, dilation=long)
    if op == "lp":
        pool = getattr(F, f"lp_pool{n}d")
        check_refused(ValueError, ["bits"], pool, INPUTS[n], long, 2)
        check_refused(ValueError, ["bits"], pool, INPUTS[n].astype(int), -long, 2)
    elif op == "avg" and n > 1:
        check_refused(ValueError, [], call, INPUTS[n], 2, divisor_override=long)


# --- flags and numbers -------------------------------------------------------------------------


@every
@pytest.mark.parametrize("value", [1, 0, None, "no", 1.0])
def test_ceil_mode_that_is_not_a_bool(op, n, value):
    phrases = ["argument 'ceil_mode' must be bool, not", repr(value), "True or False"]
    check_refused(TypeError, phrases, call_of(op, n), INPUTS[n], 2, ceil_mode=value)
    assert call_of(op, n)(INPUTS[n], 2, ceil_mode=np.True_).size


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("value", [1, 0, None, "no", 1.0])
def test_count_include_pad_that_is_not_a_bool(n, value):
    phrases = ["argument 'count_include_pad' must be bool, not", repr(value)]
    check_refused(TypeError, phrases, call_of("avg", n), INPUTS[n], 2, count_include_pad=value)


@pytest.mark.parametrize("n", [2, 3])
def test_divisor_override(n):
    call = call_of("avg", n)
    for value in (1.5, 2.0, True, "2", 2j):
        phrases = ["argument 'divisor_override' must be int, not", repr(value)]
        check_refused(TypeError, phrases, call, INPUTS[n], 2, divisor_override=value)
    phrases = ["divisor must be not zero", "divisor_override=0"]
    check_refused(ValueError, phrases, call, INPUTS[n], 2, divisor_override=0)
    for value in (HUGE, -HUGE):
        check_refused(ValueError, [str(value)], call, INPUTS[n], 2, divisor_override=value)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_norm_type(n):
    pool = getattr(F, f"lp_pool{n}d")
    for value in (None, "2", True, 2j, [2], np.array(2.0)):
        phrases = ["argument 'norm_type' must be a number, not", repr(value), "give"]
        check_refused(TypeError, phrases, pool, INPUTS[n], value, 2)
    for value in (0, 0.0, -0.0, np.float32(0)):
        check_refused(ValueError, ["norm_type must not be 0", "give"], pool, INPUTS[n], value, 2)
    whole = INPUTS[n].astype(int)
    phrases = ["Integers to negative integer powers are not allowed", "norm_type=-2", "-2.0"]
    check_refused(ValueError, phrases, pool, whole, -2, 2)
    for x, value, largest in (
        (INPUTS[n].astype(np.float16), 1e6, "65504"),
        (INPUTS[n].astype(np.float32), 1e39, "3.4e+38"),
        (INPUTS[n], HUGE**20, "1.79e+308"),
        (whole, HUGE, "9.22337e+18"),
    ):
        check_refused(ValueError, [str(value)[:100], largest], pool, x, value, 2)


# --- input -------------------------------------------------------------------------------------


@every
def test_input_that_is_not_an_array(op, n):
    for value in (INPUTS[n].tolist(), None, 3.0, "x", memoryview(b"abc")):
        with pytest.raises(TypeError, match=r"must be a numpy\.ndarray"):
            call_of(op, n)(value, 2)
    masked = np.ma.array(INPUTS[n], mask=INPUTS[n] > 0)
    with pytest.raises(TypeError, match="mask"):
        call_of(op, n)(masked, 2)


@every
@pytest.mark.parametrize(
    "dtype", [object, "S3", "U2", "datetime64[s]", "m8[s]", "i4,f8", "longdouble"]
)
def test_dtypes_without_a_kernel(op, n, dtype):
    if dtype == "longdouble" and np.dtype("longdouble") == np.dtype("float64"):
        pytest.skip("longdouble is float64 here")
    x = np.zeros((2, *(4,) * n), dtype)
    with pytest.raises(TypeError, match="float64") as caught:
        call_of(op, n)(x, 2)
    assert str(np.dtype(dtype)) in str(caught.value)


@pytest.mark.parametrize(("op", "n"), [(op, n) for op, n in OPS if op != "avg"])
def test_complex_has_averages_alone(op, n):
    x = np.zeros((2, *(4,) * n), complex)
    with pytest.raises(TypeError, match="complex128"):
        call_of(op, n)(x, 2)
    if op == "lp":
        for norm in (np.inf, -np.inf):
            check_refused(TypeError, ["complex128"], getattr(F, f"lp_pool{n}d"), x, norm, 2)


@every
def test_ranks_and_empty_axes(op, n):
    call = call_of(op, n)
    ranks = f"{n + 1}D or {n + 2}D"
    for rank in {0, 1, 2, 3, 4, 5, 6} - {n + 1, n + 2}:
        expected = (
            f"non-empty {ranks} (batch mode) tensor expected for input"
            if n == 3
            else f"Expected {ranks} (batch mode) tensor with optional 0 dim batch size for input"
        )
        phrases = [expected, str([4] * rank), f"npool.{op}_pool pools any axes"]
        check_refused(ValueError, phrases, call, np.ones((4,) * rank), 1)
    for rank in (n + 1, n + 2):
        for axis in range(rank):
            shape = [4] * rank
            shape[axis] = 0
            if axis == 0 and rank == n + 2:
                assert call(np.ones(shape), 1).shape == tuple(shape)
                continue
            expected = (
                "Expected input's non-batch dimensions to have positive length"
                if n == 3
                else f"Expected {ranks} (batch mode) tensor with optional 0 dim batch size"
            )
            check_refused(ValueError, [expected, str(shape)], call, np.ones(shape), 1)


def test_windows_that_do_not_fit():
    phrases = ["Invalid computed output size: -2", "Output size is too small"]
    check_refused(ValueError, phrases, F.max_pool1d, np.ones((2, 2, 2)), 5, 1)
    phrases = ["Given input size: (2x2). ", "Invalid computed output size: 0"]
    check_refused(ValueError, phrases, F.avg_pool1d, np.ones((2, 2)), 5)
    phrases = ["Given input size: (2x8x8). Calculated output size: (2x8x-1). ",
               "Output size is too small", "(1, 10) of the input's (8, 8)"]  # fmt: skip
    check_refused(ValueError, phrases, F.max_pool2d, X2, (1, 4), 1, 0, (1, 3))
    phrases = ["Given input size: (2x8x8x8). Calculated output size: (2x0x4x4). "]
    check_refused(ValueError, phrases, F.max_pool3d, X3, (9, 2, 2), 2)
    for op in ("avg", "lp"):
        phrases = ["input image (T: 8 H: 8 W: 1) smaller than kernel size (kT: 2 kH: 2 kW: 2)"]
        check_refused(ValueError, phrases, call_of(op, 3), X3[..., :1], 2)
    # Elsewhere the padding counts.
    assert F.avg_pool2d(X2[..., :1], 2, padding=1).shape == (1, 2, 5, 1)
    assert F.max_pool3d(X3[..., :1], 2, padding=1).shape == (1, 2, 5, 5, 1)


def test_a_result_larger_than_the_memory_is_refused_in_words():
    x = np.broadcast_to(np.float32(1), (1, 2**44))
    check_refused(ValueError, ["GiB"], F.max_pool1d, x, 1)
