"""npool.functional against numbers worked out by hand, and against torch's own signatures."""

import inspect
import pickle
import re
import warnings

import numpy as np
import pytest

import npool
from npool import functional as F

NAN, INF = np.nan, np.inf


def check_equal(got, want, dtype=None):
    """`got` is exactly `want`, in its dtype (or `dtype`) and shape."""
    want = np.asarray(want, dtype)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


# --- max ---------------------------------------------------------------------------------------


def test_max_pool1d():
    x = np.array([[[1.0, 5.0, 2.0, 4.0, 3.0]]], np.float32)
    check_equal(F.max_pool1d(x, 2), [[[5, 4]]], np.float32)
    check_equal(F.max_pool1d(x, 2, 1), [[[5, 5, 4, 4]]], np.float32)
    check_equal(F.max_pool1d(x, 2, ceil_mode=True), [[[5, 4, 3]]], np.float32)
    check_equal(F.max_pool1d(x[0], 3, 2, 1), [[5, 5, 4]], np.float32)
    check_equal(F.max_pool1d(x[0], 2, 1, 0, 3), [[4, 5]], np.float32)


def test_max_pool1d_positions_of_ties_nan_and_minus_infinity():
    values, indices = F.max_pool1d(np.array([[2, 7, 7, 1]]), 4, return_indices=True)
    check_equal(values, [[7]])
    check_equal(indices, [[1]], np.int64)
    x = np.array([[NAN, 1.0, NAN, 3.0]])
    values, indices = F.max_pool1d(x, 3, 1, 1, return_indices=True)
    check_equal(values, [[NAN, NAN, NAN, NAN]])
    check_equal(indices, [[0, 2, 2, 2]], np.int64)
    values, indices = F.max_pool1d(np.full((1, 4), -INF), 2, 1, 1, return_indices=True)
    check_equal(values, [[-INF] * 5])
    check_equal(indices, [[0, 0, 1, 2, 3]], np.int64)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        *(pytest.param(one, marks=pytest.mark.thorough) for one in ("float64", "int64", "uint8")),
    ],
)
@pytest.mark.parametrize("step", [-1, -2, 2, 3])
def test_positions_of_strided_views(dtype, step):
    for length in (4, 5, 9):
        x = np.arange(3 * length * abs(step)).reshape(3, -1).astype(dtype)[:, ::step]
        for kernel in (1, 2, 3):
            for stride in (1, 2, 3, 4):
                got = F.max_pool1d(x, kernel, stride, return_indices=True)
                want = F.max_pool1d(np.ascontiguousarray(x), kernel, stride, return_indices=True)
                check_equal(got[0], want[0])
                check_equal(got[1], want[1])


def test_max_pool2d():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    check_equal(F.max_pool2d(x, 3), [[[[10.0]]]])
    check_equal(F.max_pool2d(x, 3, stride=2, padding=1), [[[[5.0, 7], [13, 15]]]])
    check_equal(F.max_pool2d(x, (2, 3), (2, 3), (1, 1)), [[[[1.0, 3], [9, 11], [13, 15]]]])
    check_equal(F.max_pool2d(x[0], 2, 1, 0, (2, 1)), [[[9.0, 10, 11], [13, 14, 15]]])
    values, indices = F.max_pool2d(np.stack([x[0], -x[0]]), 2, return_indices=True)
    check_equal(values, [[[[5.0, 7], [13, 15]]], [[[0, -2], [-8, -10]]]])
    check_equal(indices, [[[[5, 7], [13, 15]]], [[[0, 2], [8, 10]]]], np.int64)


def test_max_pool3d():
    x = np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4)
    check_equal(F.max_pool3d(x, 2), [[[[17, 19]]]], np.int16)
    check_equal(F.max_pool3d(x, (1, 3, 2), return_indices=True)[1], [[[[9, 11]], [[21, 23]]]])
    check_equal(F.max_pool3d(-x, (2, 1, 4)), [[[[0], [-4], [-8]]]], np.int16)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_with_indices_gives_positions_whatever_is_asked(n):
    x = np.random.default_rng(n).integers(0, 9, (2, 3, *(4,) * n))
    want = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
    for asked in (False, True):
        got = getattr(F, f"max_pool{n}d_with_indices")(x, 2, return_indices=asked)
        assert isinstance(got, tuple)
        check_equal(got[0], want[0])
        check_equal(got[1], want[1])


def test_window_of_padding_alone_has_torchs_position():
    # Taps at -1 and 3 of three elements: the first that is not negative is 3, outside.
    for dtype, lowest in ((np.float32, -INF), (np.int8, -128), (bool, False)):
        values, indices = F.max_pool1d(np.ones((1, 3), dtype), 2, 1, 1, 4, return_indices=True)
        check_equal(values, [[lowest]], dtype)
        check_equal(indices, [[3]], np.int64)
    # Row taps at -1 and 3 of three: row 3 of width 4 is 12, then the column's own first tap.
    x = np.arange(12.0).reshape(1, 3, 4)
    values, indices = F.max_pool2d(x, 2, 1, 1, (4, 1), return_indices=True)
    check_equal(values, [[[-INF] * 5]])
    check_equal(indices, [[[12, 12, 13, 14, 15]]], np.int64)
    # Only some windows are empty: columns start at -1 (taps -1 and 3 of 3), then 1 (1 and 5).
    x = np.arange(9.0).reshape(1, 3, 3)
    values, indices = F.max_pool2d(x, (1, 2), (1, 2), (0, 1), (1, 4), return_indices=True)
    check_equal(values, [[[-INF]] * 3])
    check_equal(indices, [[[3], [6], [9]]], np.int64)
    assert npool.max_pool(x, (1, 2), (1, 2), (0, 1), (1, 4), return_indices=True)[1].max() == -1


# --- avg ---------------------------------------------------------------------------------------


def test_avg_pool1d():
    x = np.array([[[1.0, 2, 3, 4, 5, 6, 7]]])
    check_equal(F.avg_pool1d(x, 3, stride=2), [[[2.0, 4, 6]]])
    check_equal(F.avg_pool1d(x, 2, 2, 1), [[[0.5, 2.5, 4.5, 6.5]]])
    check_equal(F.avg_pool1d(x, 2, 2, 1, False, False), [[[1.0, 2.5, 4.5, 6.5]]])
    # Windows start at 0, 3, 6; ceil mode keeps the last, in which one tap counts.
    check_equal(F.avg_pool1d(x, 3, ceil_mode=True), [[[2.0, 5, 7]]])
    # The last window holds 6, 7, one tap of padding, and one past it that does not count.
    check_equal(F.avg_pool1d(x, 4, 6, 1, True), [[[1.5, 13 / 3]]])


def test_avg_pool2d():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    check_equal(F.avg_pool2d(x, 2), [[[[2.5, 4.5], [10.5, 12.5]]]])
    check_equal(F.avg_pool2d(x, 2, 2, 1), [[[[0, 0.75, 0.75], [3, 7.5, 4.5], [3, 6.75, 3.75]]]])
    check_equal(
        F.avg_pool2d(x, 2, 2, 1, False, False), [[[[0, 1.5, 3], [6, 7.5, 9], [12, 13.5, 15]]]]
    )
    check_equal(F.avg_pool2d(x, 2, divisor_override=-2), [[[[-5.0, -9], [-21, -25]]]])
    check_equal(F.avg_pool2d(x[0], (4, 1)), [[[6.0, 7, 8, 9]]])


def test_avg_pool3d():
    x = np.arange(16.0, dtype=np.float32).reshape(1, 2, 2, 4)
    check_equal(F.avg_pool3d(x, 2), [[[[6.5, 8.5]]]], np.float32)
    check_equal(F.avg_pool3d(x, (1, 2, 4), divisor_override=4), [[[[7]], [[23]]]], np.float32)
    check_equal(F.avg_pool3d(x, 2, 2, 1)[0, 0, 0], [0, 0.375, 0.375], np.float32)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_avg_of_integers_is_cut_off_toward_zero(dtype):
    x = np.array([[-3, 1, -4, 0, 7, 9, -9, 2]], dtype)
    # Sums -2, -6, -3, 3, 16, 7, 2, -7 over 3.
    check_equal(F.avg_pool1d(x, 3, 1, 1), [[0, -2, -1, 1, 5, 2, 0, -2]], dtype)
    # Sums -2, -4, 16, -7 over -3.
    check_equal(F.avg_pool2d(x[None], (1, 2), divisor_override=-3), [[[0, 1, -5, 2]]], dtype)


def test_avg_of_unsigned_and_of_large_integers_does_not_wrap():
    check_equal(F.avg_pool1d(np.array([[255, 255, 254, 0]], np.uint8), 2), [[255, 127]], np.uint8)
    big = np.array([[2**62, 2**62, 2**62]])
    check_equal(F.avg_pool1d(big, 3), [[2**62]])
    top = np.array([[2**64 - 1, 2**64 - 1]], np.uint64)
    check_equal(F.avg_pool1d(top, 2), [[2**64 - 1]], np.uint64)


def test_avg_of_bool_is_float64_and_complex_is_kept():
    check_equal(F.avg_pool1d(np.array([[True, False, True, True]]), 2), [[0.5, 1]])
    z = np.array([[1 + 2j, 3 - 4j]], np.complex64)
    check_equal(F.avg_pool1d(z, 2), [[2 - 1j]], np.complex64)


def test_one_nan_or_infinity_stays_in_its_windows():
    x = np.array([[1.0, INF, NAN, 2, 2, -INF, 4, 4]])
    check_equal(F.avg_pool1d(x, 2), [[INF, NAN, -INF, 4]])


# --- lp ----------------------------------------------------------------------------------------


def test_lp_pool1d():
    x = np.array([[3.0, -4, 6, 8]])
    check_equal(F.lp_pool1d(x, 2, 2), [[5.0, 10]])
    check_equal(F.lp_pool1d(x, 2.0, 2), [[5.0, 10]])
    check_equal(F.lp_pool1d(x, 1, 2), [[-1.0, 14]])  # no absolute value
    check_equal(F.lp_pool1d(x, INF, 2), [[4.0, 8]])
    check_equal(F.lp_pool1d(x, -INF, 2), [[3.0, 6]])
    np.testing.assert_allclose(F.lp_pool1d(x, 3, 2), [[NAN, 728 ** (1 / 3)]], rtol=1e-15)
    np.testing.assert_allclose(F.lp_pool1d(x, -1, 2), [[12, 24 / 7]], rtol=1e-15)


def test_lp_scales_clipped_windows_to_the_full_one():
    x = np.arange(1.0, 6)[None]
    # 1, 2, 3 and 4, 5: the mean of 16 and 25 times 3.
    want = [[14**0.5, (41 / 2 * 3) ** 0.5]]
    np.testing.assert_allclose(F.lp_pool1d(x, 2, 3, ceil_mode=True), want, rtol=1e-15)
    np.testing.assert_allclose(
        npool.lp_pool(x, 2, (3,), ceil_mode=True), [[14**0.5, 41**0.5]], rtol=1e-15
    )


def test_lp_pool2d_and_3d():
    x = np.array([[[1.0, 2], [2, 4]]])
    check_equal(F.lp_pool2d(x, 2, 2), [[[5.0]]])
    check_equal(F.lp_pool2d(x, 1, (1, 2), 1), [[[3.0], [6]]])
    check_equal(F.lp_pool3d(np.array([[[[1.0, 3], [3, 9]]]]), 2, (1, 2, 2)), [[[[10.0]]]])


def test_lp_pool3d_wants_a_whole_window_but_for_an_infinite_norm():
    x = np.array([[[[1.0, 3], [-4, 2]]]])
    check_equal(F.lp_pool3d(x, INF, 2, ceil_mode=True), [[[[4.0]]]])
    check_equal(F.lp_pool3d(x, -INF, 2, ceil_mode=True), [[[[1.0]]]])
    with pytest.raises(ValueError, match="smaller than kernel size"):
        F.lp_pool3d(x, 2, 2, ceil_mode=True)


def test_lp_of_integers_follows_the_type_of_the_norm():
    x = np.array([[1, 2, 3, 4, 5]])
    # In int64: the mean of 16 and 25 is 20, times 3; in float32 it is 20.5.
    check_equal(F.lp_pool1d(x, 2, 3, 3, True)[0, 1:], [60**0.5], np.float32)
    check_equal(F.lp_pool1d(x, 2.0, 3, 3, True)[0, 1:], [61.5**0.5], np.float32)
    for dtype in ("int8", "uint8", "int32", "uint64"):
        check_equal(F.lp_pool1d(x.astype(dtype), 2, 3, 3, True)[0, 1:], [61.5**0.5], np.float32)
    check_equal(F.lp_pool1d(np.array([[True, True, False]]), 2, 3), [[0.0]], np.float32)
    check_equal(F.lp_pool1d(np.array([[True, False, True, True]]), 2.0, 4), [[3**0.5]], np.float32)
    check_equal(F.lp_pool1d(x.astype("int8"), INF, 5), [[5]], np.int8)
    check_equal(F.lp_pool1d(np.array([[True, False]]), -INF, 2), [[False]])
    # |-128| is -128 in int8: never the largest, and never the smallest either.
    check_equal(F.lp_pool1d(np.array([[3, -128]], "int8"), INF, 2), [[3]], np.int8)
    check_equal(F.lp_pool1d(np.array([[3, -128]], "int8"), -INF, 2), [[3]], np.int8)


def test_lp_rounds_each_step_of_float16_as_torch_does():
    # 300 squared is past float16's 65504.
    check_equal(F.lp_pool1d(np.array([[300.0, 300]], np.float16), 2, 2), [[INF]], np.float16)
    check_equal(F.lp_pool1d(np.array([[30.0, 40]], np.float16), 2, 2), [[50]], np.float16)


def test_lp_of_special_values():
    x = np.array([[1.0, NAN, 2, INF, -INF, 0]])
    check_equal(F.lp_pool1d(x, 2, 2), [[NAN, INF, INF]])
    check_equal(F.lp_pool1d(x, 0.5, 2), [[NAN, INF, NAN]])  # torch's square root of -inf
    check_equal(F.lp_pool1d(np.array([[-INF, 4]]), -0.5, 1), [[NAN, 4]])
    check_equal(F.lp_pool1d(x, NAN, 2), [[NAN, NAN, NAN]])
    # The mean is -0, which torch turns to 0 before the root: inf, not -inf.
    check_equal(F.lp_pool1d(np.array([[-INF]]), -1, 1), [[INF]])
    check_equal(F.lp_pool1d(np.array([[-INF]], np.float16), -1, 1), [[INF]], np.float16)


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["max", "avg", "lp"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_entry_serves_all_axes_and_an_empty_stride_means_the_kernel(op, n):
    pool = getattr(F, f"{op}_pool{n}d")
    x = np.random.default_rng(n).standard_normal((2, *(6,) * n)) ** 2
    norm = (2,) if op == "lp" else ()
    want = pool(x, *norm, 2)
    for kernel in ((2,), [2], (2,) * n, [2] * n, np.int64(2), np.array(2), np.array([2])):
        check_equal(pool(x, *norm, kernel), want)
        check_equal(pool(x, *norm, kernel, []), want)
        check_equal(pool(x, *norm, kernel, ()), want)
        check_equal(pool(x, *norm, kernel, None), want)
        check_equal(pool(x, *norm, kernel, stride=kernel), want)
    check_equal(pool(input=x, **({"norm_type": 2} if norm else {}), kernel_size=2), want)


@pytest.mark.parametrize("op", ["max", "avg", "lp"])
def test_each_axis_has_its_own_entry(op):
    norm = (2,) if op == "lp" else ()
    x = np.arange(1.0, 241).reshape(1, 4, 5, 12)
    got = getattr(F, f"{op}_pool3d")(x, *norm, (1, 2, 3), (3, 2, 1))
    assert got.shape == (1, 2, 2, 10)
    reducer = {"max": np.max, "avg": np.mean, "lp": lambda w: np.sqrt((w * w).sum())}[op]
    np.testing.assert_allclose(got[0, 1, 1, 4], reducer(x[0, 3:4, 2:4, 4:7]), rtol=1e-14)


@pytest.mark.parametrize("op", ["max", "avg", "lp"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_batch_of_none_gives_a_batch_of_none(op, n):
    norm = (2,) if op == "lp" else ()
    x = np.empty((0, 3, *(4,) * n), np.float32)
    got = getattr(F, f"{op}_pool{n}d")(x, *norm, 2)
    assert (got.shape, got.dtype) == ((0, 3, *(2,) * n), np.float32)
    if op == "max":
        values, indices = getattr(F, f"max_pool{n}d")(x, 2, return_indices=True)
        assert (values.shape, indices.shape) == (got.shape, got.shape)
        assert indices.dtype == np.int64


@pytest.mark.parametrize("op", ["max", "avg", "lp"])
def test_input_is_not_written_and_its_memory_order_is_kept(op):
    norm = (2,) if op == "lp" else ()
    pool = getattr(F, f"{op}_pool2d")
    x = np.random.default_rng(5).integers(-9, 9, (2, 3, 6, 6)).astype(np.float32)
    want = pool(x, *norm, 2)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for view in (last, np.asfortranarray(x), x[..., ::-1].copy()[..., ::-1], x.astype(">f4")):
        before = view.copy()
        view.flags.writeable = False
        check_equal(pool(view, *norm, 2), want)
        np.testing.assert_array_equal(view, before)
    assert pool(last, *norm, 2).transpose(0, 2, 3, 1).flags.c_contiguous
    if op == "max":
        _, indices = pool(last, 2, return_indices=True)
        assert indices.transpose(0, 2, 3, 1).flags.c_contiguous


def test_big_endian_integers_average_to_native_ones():
    got = F.avg_pool1d(np.array([[1, 2, 3, 4]], ">i4"), 2)
    check_equal(got, [[1, 3]], np.int32)
    assert got.dtype.isnative


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_kept(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([[1.0, 2, 3, 5, -1, -2]]).astype(dtype)
    for got, want in (
        (F.max_pool1d(x, 2), [[2, 5, -1]]),
        (F.avg_pool1d(x, 2), [[1.5, 4, -1.5]]),
        (F.lp_pool1d(x, 1, 2), [[3, 8, -3]]),
        (F.lp_pool1d(x, INF, 2), [[2, 5, 2]]),
        (F.lp_pool1d(x, -INF, 2), [[1, 3, 1]]),
    ):
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(got.astype(np.float32), np.array(want, np.float32))


def test_the_error_is_both_of_its_kinds_and_survives_a_pickle():
    with pytest.raises(F.ArgumentError) as caught:
        F.max_pool1d(np.ones((1, 4)), 0)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# --- torch's signatures ------------------------------------------------------------------------


def test_all_holds_every_public_name():
    public = {
        name
        for name, value in vars(F).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(F.__name__)
    }
    assert public == set(F.__all__)
    assert list(F.__all__) == sorted(F.__all__)


def torch_signature(name):
    """Names and defaults of torch's function, from its Python form or its docstring."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch").nn.functional
    if name.startswith("avg") or name == "adaptive_avg_pool1d":  # builtins
        text = re.search(rf"{name}\((.*?)\) -> Tensor", getattr(torch, name).__doc__).group(1)
        return [tuple(entry.split("=")) for entry in text.split(", ")]
    # Of a pair that `return_indices` chooses from, the one without has a name of its own.
    plain = f"_{name}" if hasattr(torch, f"_{name}") else name
    parameters = inspect.signature(getattr(torch, plain)).parameters
    return [shown(parameter) for parameter in parameters.values()]


def shown(parameter):
    """``(name,)`` or ``(name, default)`` as strings."""
    if parameter.default is inspect.Parameter.empty:
        return (parameter.name,)
    return (parameter.name, str(parameter.default))


@pytest.mark.parametrize("name", [name for name in F.__all__ if "pool" in name])
def test_signature_is_torchs(name):
    parameters = inspect.signature(getattr(F, name)).parameters.values()
    # What npool adds can be given by name alone.
    added = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    assert added == (["generator"] if name.startswith("fractional") else [])
    own = [shown(one) for one in parameters if one.name not in added]
    assert own == torch_signature(name)


def test_every_pooling_function_of_torch_is_there():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch").nn.functional
    names = {name for name in dir(torch) if "pool" in name and not name.startswith("_")}
    assert names == set(F.__all__) - {"ArgumentError"}


# --- results of a given size ---------------------------------------------------------------------


def test_adaptive_pools():
    x = np.arange(20.0).reshape(1, 4, 5)
    check_equal(F.adaptive_avg_pool2d(x, (2, 2)), [[[3.5, 5.5], [13.5, 15.5]]])
    check_equal(F.adaptive_max_pool2d(x, (None, 1)), [[[4.0], [9], [14], [19]]])
    check_equal(F.adaptive_avg_pool2d(x[None], 1), [[[[9.5]]]])
    check_equal(F.adaptive_max_pool1d(x[0], 2), [[2.0, 4], [7, 9], [12, 14], [17, 19]])
    check_equal(F.adaptive_avg_pool1d(x[0].astype(np.float32), (1,)), [[2.0], [7], [12], [17]],
                np.float32)  # fmt: skip
    values, places = F.adaptive_max_pool3d(x[None], (1, 2, 2), return_indices=True)
    check_equal(values, [[[[7.0, 9], [17, 19]]]])
    check_equal(places, [[[[7, 9], [17, 19]]]], np.int64)
    for n in (1, 2, 3):
        x = np.random.default_rng(n).normal(size=(2, 3, *[5] * n))
        both = getattr(F, f"adaptive_max_pool{n}d")(x, 3, return_indices=True)
        for got, want in zip(
            getattr(F, f"adaptive_max_pool{n}d_with_indices")(x, 3), both, strict=True
        ):
            check_equal(got, want)


def test_integers_and_bool_of_a_given_size():
    x = np.array([[-1, -2, 7, 8, 9]], np.int16)
    check_equal(F.adaptive_avg_pool1d(x, 2), [[1, 8]], np.int16)
    check_equal(F.adaptive_avg_pool1d(x[:, :2], 1), [[-1]], np.int16)
    check_equal(F.adaptive_max_pool1d(x > 7, 2), [[False, True]], bool)


def test_unpooling():
    x = np.array([[[6.0, 8], [14, 16]]])
    places = np.array([[[5, 7], [13, 15]]])
    want = np.zeros((1, 4, 4))
    want[0, 1::2, 1::2] = x
    check_equal(F.max_unpool2d(x, places, 2), want)
    check_equal(F.max_unpool2d(x[None], places[None], 2, 2, 0, (1, 1, 4, 4)), want[None])
    check_equal(F.max_unpool2d(x, places, 2, output_size=[5, 5]).sum(), 44.0)
    check_equal(F.max_unpool1d(np.array([[3, 4]]), np.array([[1, 2]]), 2), [[0, 3, 4, 0]])
    check_equal(F.max_unpool3d(x[None], places[None], (1, 2, 2)), want[None])


def test_fractional_pools_draw_their_samples():
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype(np.float32)
    one = F.fractional_max_pool2d(x, 2, 4, generator=np.random.default_rng(3))
    two = F.fractional_max_pool2d(x, 2, output_ratio=0.5, generator=np.random.default_rng(3))
    check_equal(one, two, np.float32)
    assert F.fractional_max_pool2d(x, 2, (4, 3)).shape == (2, 3, 4, 3)
    values, places = F.fractional_max_pool3d(x, 1, (1, 4, 4), return_indices=True)
    check_equal(np.take_along_axis(x.reshape(2, -1), places.reshape(2, -1), 1),
                values.reshape(2, -1), np.float32)  # fmt: skip
    whole = np.arange(81).reshape(1, 9, 9)
    got = F.fractional_max_pool2d(whole, 2, 3, _random_samples=np.array([[[0.0, 0.5]]]))
    # The first sample is that of the columns: 0, 3 and 7; rows begin at 0, 4 and 7.
    check_equal(got, [[[10, 13, 17], [46, 49, 53], [73, 76, 80]]])
    with pytest.raises(TypeError, match=r"must be a numpy\.random\.Generator, got int"):
        F.fractional_max_pool2d(x, 2, 3, generator=5)
