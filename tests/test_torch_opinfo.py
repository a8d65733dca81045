"""torch's own OpInfo samples and error inputs, through npool.functional on plain arrays.

torch tests its operators on these: every sample of every dtype that torch has on the CPU goes
through the function of the same name here, and must give torch's values, dtype and positions.
"""

import itertools
import warnings

import numpy as np
import pytest

from npool import functional as F

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    # torch's test machinery needs packages of its own (expecttest, numpy).
    pytest.importorskip("expecttest")
    methods = pytest.importorskip(
        "torch.testing._internal.common_methods_invocations", exc_type=ImportError
    )

NAMES = [f"{op}_pool{n}d" for op in ("max", "avg") for n in (1, 2, 3)]
OPS = {
    op.name.rpartition(".")[2]: op
    for op in methods.op_db
    if op.name in {f"nn.functional.{name}" for name in NAMES}
}
#: The types whose samples are tested in the quick profile, too.
QUICK = (torch.float32, torch.bfloat16, torch.int64)
CASES = [
    pytest.param(
        name,
        dtype,
        id=f"{name}-{str(dtype).removeprefix('torch.')}",
        marks=() if dtype in QUICK else pytest.mark.thorough,
    )
    for name, op in OPS.items()
    for dtype in sorted(op.dtypes, key=str)
]
#: torch.testing.assert_close's own tolerances, which its OpInfo tests use.
TOLERANCE = {"float16": 1e-3, "bfloat16": 1.6e-2, "float32": 1.3e-6, "float64": 1e-7}
NORMS = (2, 3, 1, 2.0, 1.5, 0.5, -1.0, -2, float("inf"), -float("inf"))


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Thousands of tiny calls: torch's threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def as_array(tensor):
    """The NumPy form of a tensor, sharing its memory; bfloat16 as ml_dtypes has it."""
    if tensor.dtype is torch.bfloat16:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.detach().numpy()


def samples(op, dtype):
    """torch's samples as (input tensor, arguments, keyword arguments), the same each time."""
    torch.manual_seed(20)
    for sample in op.sample_inputs("cpu", dtype, requires_grad=False):
        yield sample.input, sample.args, sample.kwargs


def torch_call(name, *args, **kwargs):
    """The call of torch's function, with its chatter off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(torch.nn.functional, name)(*args, **kwargs)


def check_same_form(got, want):
    """Same shape and dtype; the wanted values and the given ones as float64 (or integers)."""
    want = as_array(want)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind in "iub":
        return got, want
    return got.astype(np.float64), want.astype(np.float64)


def test_torch_has_the_samples_that_this_file_is_about():
    assert sorted(OPS) == sorted(NAMES)
    assert len(CASES) >= 30
    assert sum(1 for _ in samples(OPS["max_pool2d"], torch.float32)) > 1000


@pytest.mark.parametrize(("name", "dtype"), [case for case in CASES if "max" in case.id])
def test_max_samples(name, dtype):
    for x, args, kwargs in samples(OPS[name], dtype):
        got = getattr(F, name)(as_array(x), *args, **kwargs)
        want = torch_call(name, x, *args, **kwargs)
        if kwargs.get("return_indices"):
            assert isinstance(got, tuple)
            assert got[1].dtype == np.int64
            np.testing.assert_array_equal(got[1], want[1].numpy())
            got, want = got[0], want[0]
        np.testing.assert_array_equal(*check_same_form(got, want))


@pytest.mark.parametrize(("name", "dtype"), [case for case in CASES if "max" in case.id])
def test_max_samples_with_nan_infinity_and_ties(name, dtype):
    """The same arguments on data that is mostly ties, NaN and infinities."""
    rng = np.random.default_rng(11)
    pool = f"{name}_with_indices"  # the plain 1-D function has fewer dtypes in torch
    for x, args, kwargs in samples(OPS[name], dtype):
        values = rng.integers(0, 3, tuple(x.shape)).astype(float)
        if dtype.is_floating_point:
            values[values == 1] = rng.choice([np.nan, np.inf, -np.inf, 1], (values == 1).sum())
        tensor = torch.empty_like(x).copy_(torch.from_numpy(values))
        got = getattr(F, pool)(as_array(tensor), *args, **kwargs)
        want = torch_call(pool, tensor, *args, **kwargs)
        np.testing.assert_array_equal(got[1], want[1].numpy())
        np.testing.assert_array_equal(*check_same_form(got[0], want[0]))


@pytest.mark.parametrize(("name", "dtype"), [case for case in CASES if "avg" in case.id])
def test_avg_samples(name, dtype):
    for x, args, kwargs in samples(OPS[name], dtype):
        got = getattr(F, name)(as_array(x), *args, **kwargs)
        result, want = check_same_form(got, torch_call(name, x, *args, **kwargs))
        if not dtype.is_floating_point:
            np.testing.assert_array_equal(result, want)
            continue
        tolerance = TOLERANCE[got.dtype.name]
        np.testing.assert_allclose(result, want, rtol=tolerance, atol=min(tolerance, 1e-5))
        # Nearer to the truth than torch need be: half an ulp of the result, and a few of the
        # accumulator's on the mean of the absolute values.
        exact = torch_call(name, x.double(), *args, **kwargs).numpy()
        scale = np.abs(torch_call(name, x.double().abs(), *args, **kwargs).numpy())
        ulp = torch.finfo(dtype).eps
        inner = ulp if ulp < 1e-3 else torch.finfo(torch.float32).eps
        assert np.all(np.abs(result - exact) <= 0.5 * ulp * np.abs(exact) + 8 * inner * scale)


def norm_samples(name, dtype):
    """OpInfo has no samples of lp_pool: avg_pool's, without the arguments lp_pool lacks."""
    names = ("kernel_size", "stride", "padding", "ceil_mode")
    for x, args, kwargs in samples(OPS[f"avg{name[2:]}"], dtype):
        given = dict(zip(names, args, strict=False)) | kwargs
        window = {key: given[key] for key in ("kernel_size", "stride", "ceil_mode") if key in given}
        if name == "lp_pool1d" and isinstance(window["kernel_size"], tuple):
            window["kernel_size"] = window["kernel_size"][0]  # torch multiplies by it
        for norm in NORMS:
            if dtype is torch.int64 and (norm == -2 or (abs(norm) == np.inf and "1d" in name)):
                continue  # torch has none
            yield x, norm, window


@pytest.mark.parametrize(("name", "dtype"), [case for case in CASES if "avg" in case.id])
def test_lp_on_the_samples_of_avg(name, dtype):
    name = name.replace("avg", "lp")
    for x, norm, window in norm_samples(name, dtype):
        if norm not in (2, float("inf"), -float("inf")):
            x = x.abs()  # where powers cancel, two good sums may differ in every digit
        got = getattr(F, name)(as_array(x), norm, **window)
        result, want = check_same_form(got, torch_call(name, x, norm, **window))
        if want.dtype.kind in "iub":
            np.testing.assert_array_equal(result, want)
            continue
        tolerance = 4 * TOLERANCE[got.dtype.name]
        np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", [1, 2, 3, 4, 1.1, 1.5, 0.5, 0.3, -1])
def test_lp_of_half_types_makes_torchs_roundings(norm, dtype):
    """Powers, means, products and exponents are each rounded to the half type, as in torch."""
    torch.manual_seed(21)
    x = torch.rand(3, 40, 50).add(0.05).mul(3).to(dtype)
    got = F.lp_pool2d(as_array(x), norm, (3, 2), ceil_mode=True)
    want = as_array(torch_call("lp_pool2d", x, norm, (3, 2), ceil_mode=True))
    assert got.dtype == want.dtype
    apart = np.abs(got.view(np.int16).astype(int) - want.view(np.int16))
    # torch itself rounds the last few elements of a row otherwise than the rest.
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.98


def error_cases():
    for name, op in OPS.items():
        for number, error in enumerate(op.error_inputs("cpu")):
            yield pytest.param(name, error, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "error"), list(error_cases()))
def test_error_inputs(name, error):
    sample = error.sample_input
    with pytest.raises(error.error_type, match=error.error_regex) as caught:
        getattr(F, name)(as_array(sample.input), *sample.args, **sample.kwargs)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(error.error_type, match=error.error_regex):
        torch_call(name, sample.input, *sample.args, **sample.kwargs)


# --- random problems ---------------------------------------------------------------------------


def random_problem(rng, op, n):
    """A shape and arguments, as often refused as accepted at their edges."""
    kernel = tuple(int(k) for k in rng.integers(1, 5, n))
    kwargs = {"ceil_mode": bool(rng.integers(2))}
    if rng.random() < 0.7:
        kwargs["stride"] = tuple(int(s) for s in rng.integers(1, 5, n))
    if op != "lp" and rng.random() < 0.7:
        most = 3 if rng.random() < 0.1 else 0
        kwargs["padding"] = tuple(int(rng.integers(0, max(most, k // 2) + 1)) for k in kernel)
    if op == "max":
        kwargs["return_indices"] = bool(rng.integers(2))
        if rng.random() < 0.6:
            kwargs["dilation"] = tuple(int(d) for d in rng.integers(1, 6, n))
    if op == "avg":
        kwargs["count_include_pad"] = bool(rng.integers(2))
        if n > 1 and rng.random() < 0.3:
            kwargs["divisor_override"] = int(rng.choice([-3, -1, 0, 1, 2, 7, 1000]))
    leading = (int(rng.integers(1, 4)),)
    if rng.random() < 0.6:
        leading = (int(rng.integers(0, 3)), *leading)
    lengths = rng.integers(0 if rng.random() < 0.1 else 1, 12, n)
    return (*leading, *(int(length) for length in lengths)), kernel, kwargs


@pytest.mark.parametrize(
    ("op", "n", "dtype"),
    [
        pytest.param(*case, marks=pytest.mark.thorough if case[2] == "float64" else ())
        for case in itertools.product(("max", "avg"), (1, 2, 3), ("float32", "float64", "int64"))
    ],
)
def test_random_problems(op, n, dtype):
    """Same result or a refusal on both sides, on integer-valued data: every answer is exact."""
    rng = np.random.default_rng([ord(op[0]), n, len(dtype)])
    name = f"{op}_pool{n}d" + ("_with_indices" if op == "max" else "")
    pooled = 0
    for _ in range(200):
        shape, kernel, kwargs = random_problem(rng, op, n)
        x = rng.integers(-8, 9, shape).astype(dtype)
        if op == "max" and dtype != "int64":
            x[rng.random(shape) < 0.1] = np.nan
            x[rng.random(shape) < 0.2] = -np.inf
        try:
            want = torch_call(name, torch.from_numpy(x), kernel, **kwargs)
        except RuntimeError:
            want = None
        if want is None:
            with pytest.raises(F.ArgumentError, match=f"{op}_pool{n}d"):
                getattr(F, name)(x, kernel, **kwargs)
            continue
        got = getattr(F, name)(x, kernel, **kwargs)
        pooled += 1
        if op == "max":
            np.testing.assert_array_equal(got[1], want[1].numpy())
            got, want = got[0], want[0]
            np.testing.assert_array_equal(*check_same_form(got, want))
        elif dtype == "int64":
            np.testing.assert_array_equal(*check_same_form(got, want))
        else:
            np.testing.assert_allclose(*check_same_form(got, want), rtol=TOLERANCE[dtype])
    assert pooled >= 60
