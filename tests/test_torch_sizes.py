"""torch's OpInfo samples and error inputs for adaptive, fractional and un-pooling.

As `tests/test_torch_opinfo.py` for the functions with a kernel and a stride; and random problems,
refused by both or by neither.
"""

import warnings

import numpy as np
import pytest

from npool import functional as F

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    pytest.importorskip("expecttest")
    methods = pytest.importorskip(
        "torch.testing._internal.common_methods_invocations", exc_type=ImportError
    )

from test_torch_opinfo import (
    TOLERANCE,
    as_array,
    check_same_form,
    one_torch_thread,  # noqa: F401
    samples,
    torch_call,
)

NAMES = [
    *(f"adaptive_{op}_pool{n}d" for op in ("avg", "max") for n in (1, 2, 3)),
    *(f"max_unpool{n}d" for n in (1, 2, 3)),
    "fractional_max_pool2d",
    "fractional_max_pool3d",
]
OPS = {}
for _op in methods.op_db:
    _name = _op.name.rpartition(".")[2]
    if _op.name == f"nn.functional.{_name}" and _name in NAMES:
        OPS.setdefault(_name, []).append(_op)
CASES = [
    pytest.param(name, op, dtype, id=f"{name}{op.variant_test_name}-{str(dtype)[6:]}")
    for name, ops in OPS.items()
    for op in ops
    for dtype in sorted(op.dtypes, key=str)
]


def cases(part):
    return [case for case in CASES if part in case.id]


def test_torch_has_the_samples_that_this_file_is_about():
    assert sorted(OPS) == sorted(NAMES)
    assert len(CASES) >= 4 * len(NAMES)


@pytest.mark.parametrize(("name", "op", "dtype"), cases("adaptive"))
def test_adaptive_samples(name, op, dtype):
    compared = 0
    for x, args, kwargs in samples(op, dtype):
        compared += 1
        got, want = (
            getattr(F, name)(as_array(x), *args, **kwargs),
            torch_call(name, x, *args, **kwargs),
        )
        if isinstance(want, tuple):
            np.testing.assert_array_equal(got[1], want[1].numpy())
            assert got[1].dtype == np.int64
            got, want = got[0], want[0]
        result, wanted = check_same_form(got, want)
        if "max" in name:
            np.testing.assert_array_equal(result, wanted)
        else:
            if dtype.itemsize == 2:  # of which torch sums up to 3-D bins in their own type
                wanted = torch_call(name, x.float(), *args, **kwargs).double().numpy()
            tolerance = TOLERANCE[got.dtype.name]
            np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=min(tolerance, 1e-5))
    assert compared >= 5


@pytest.mark.parametrize(("name", "op", "dtype"), cases("unpool"))
def test_unpool_samples(name, op, dtype):
    compared = 0
    for x, (places, *args), kwargs in samples(op, dtype):
        want = torch_call(name, x, places, *args, **kwargs)
        got = getattr(F, name)(as_array(x), as_array(places), *args, **kwargs)
        np.testing.assert_array_equal(*check_same_form(got, want))
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize(("name", "op", "dtype"), cases("fractional"))
def test_fractional_samples(name, op, dtype):
    n = int(name[-2])
    compared = 0
    for x, args, kwargs in samples(op, dtype):
        planes = x.shape[0] if x.dim() == n + 2 else 1
        drawn = torch.rand(planes, x.shape[-n - 1], n, dtype=dtype)
        kwargs = {**kwargs, "_random_samples": drawn}
        want = torch_call(f"{name}_with_indices", x, *args, **kwargs)
        kwargs["_random_samples"] = as_array(drawn)
        got = getattr(F, f"{name}_with_indices")(as_array(x), *args, **kwargs)
        np.testing.assert_array_equal(got[1], want[1].numpy())
        np.testing.assert_array_equal(*check_same_form(got[0], want[0]))
        alone = getattr(F, name)(as_array(x), *args, **kwargs)
        alone = alone[0] if kwargs.get("return_indices") else alone
        np.testing.assert_array_equal(alone, got[0])
        compared += 1
    assert compared >= 30


def error_cases():
    for name, ops in OPS.items():
        for op in ops:
            # torch has none for some.
            for number, error in enumerate(op.error_inputs("cpu") if op.error_inputs_func else ()):
                yield pytest.param(name, error, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "error"), list(error_cases()))
def test_error_inputs(name, error):
    sample = error.sample_input
    given = [as_array(a) if isinstance(a, torch.Tensor) else a for a in sample.args]
    with pytest.raises(error.error_type, match=error.error_regex) as caught:
        getattr(F, name)(as_array(sample.input), *given, **sample.kwargs)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RuntimeError)
    with pytest.raises(error.error_type, match=error.error_regex):
        torch_call(name, sample.input, *sample.args, **sample.kwargs)


# --- random problems ------------------------------------------------------------------------------


def both(name, x, *args, **kwargs):
    """torch's result and npool's, or None where torch refuses and npool does, too."""
    arrays = [a.numpy() if isinstance(a, torch.Tensor) else a for a in args]
    options = {k: a.numpy() if isinstance(a, torch.Tensor) else a for k, a in kwargs.items()}
    try:
        want = torch_call(name, torch.from_numpy(x), *args, **kwargs)
    except (RuntimeError, ValueError, IndexError):
        with pytest.raises(F.ArgumentError, match=name.removesuffix("_with_indices")):
            getattr(F, name)(x, *arrays, **options)
        return None
    return want, getattr(F, name)(x, *arrays, **options)


def spatial(rng, n, least=1):
    leading = tuple(int(v) for v in rng.integers(1, 4, rng.integers(1, 3)))
    return (*leading, *(int(v) for v in rng.integers(least, 12, n)))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("op", ["avg", "max"])
def test_random_adaptive_problems(op, n):
    rng = np.random.default_rng([n, len(op)])
    pooled = 0
    for number in range(150):
        shape = spatial(rng, n)
        if number % 15 == 0:
            shape = (*shape[:-1], 0) if number % 2 else shape[1:]
        x = rng.integers(-8, 9, shape).astype(np.float32)
        x[rng.random(shape) < 0.05] = np.nan
        size = [int(v) for v in rng.integers(-1 if number % 10 == 3 else 0, 14, n)]
        if n > 1 and number % 4 == 0:
            size[0] = None
        if number % 25 == 7:
            size = [*size, 1]
        if op == "avg" and 0 in shape[-n:]:
            continue  # torch's mean of nothing, for a size of 1, is NaN
        name = f"adaptive_{op}_pool{n}d" + ("_with_indices" if op == "max" else "")
        found = both(name, x, tuple(size))
        if found is None:
            continue
        want, got = found
        pooled += 1
        if op == "max":
            np.testing.assert_array_equal(got[1], want[1].numpy())
            np.testing.assert_array_equal(*check_same_form(got[0], want[0]))
        else:
            np.testing.assert_allclose(*check_same_form(got, want), rtol=2e-6, atol=1e-6)
    assert pooled >= 80


@pytest.mark.parametrize("n", [1, 2, 3])
def test_random_unpooling(n):
    rng = np.random.default_rng(n)
    pooled = 0
    for number in range(150):
        shape = spatial(rng, n)
        if number % 15 == 0:
            shape = (*shape[:-1], 0) if number % 2 else shape[2:]
        kernel = tuple(int(v) for v in rng.integers(1, 4, n))
        stride = tuple(int(v) for v in rng.integers(1, 4, n))
        lengths = [(m - 1) * s + k for m, s, k in zip(shape[-n:], stride, kernel, strict=False)]
        size = None
        if number % 3 == 0:
            size = tuple(max(1, m + int(rng.integers(-2, 3))) for m in lengths)
            size = (9, 9, *size) if number % 2 else size
        places = rng.integers(0, max(1, np.prod(lengths) - number % 2), shape)
        if number % 9 == 1:
            places = places.astype(np.int32)
        x = rng.integers(1, 9, shape).astype(np.float64)
        found = both(f"max_unpool{n}d", x, torch.from_numpy(places), kernel, stride,
                     output_size=size)  # fmt: skip
        if found is None:
            continue
        want, got = found
        pooled += 1
        np.testing.assert_array_equal(*check_same_form(got, want))
    assert pooled >= 60


@pytest.mark.parametrize("n", [2, 3])
def test_random_fractional_problems(n):
    rng = np.random.default_rng(n)
    torch.manual_seed(n)
    pooled = 0
    for number in range(150):
        shape = spatial(rng, n, 3)
        kernel = tuple(int(v) for v in rng.integers(1, 4, n))
        size = tuple(
            max(0, int(rng.integers(1, m - k + 2 + (number % 6 == 0))))
            for m, k in zip(shape[-n:], kernel, strict=True)
        )
        planes = shape[0] if len(shape) == n + 2 else 1
        drawn = torch.rand(planes, shape[-n - 1], n)
        if number % 20 == 7:
            drawn = drawn.double() if number % 2 else drawn[..., 1:]
        x = rng.integers(-8, 9, shape).astype(np.float32)
        x[rng.random(shape) < 0.05] = np.nan
        found = both(f"fractional_max_pool{n}d_with_indices", x, kernel, size,
                     _random_samples=drawn)  # fmt: skip
        if found is None:
            continue
        want, got = found
        pooled += 1
        np.testing.assert_array_equal(got[1], want[1].numpy())
        np.testing.assert_array_equal(*check_same_form(got[0], want[0]))
    assert pooled >= 50


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [("adaptive_avg_pool2d", (2, 3, 30, 31), 7), ("adaptive_max_pool3d", (2, 2, 40, 40, 40), 3)],
)
def test_bins_that_are_torchs_are_found_again(name, shape, size, monkeypatch):
    import npool.torch
    from npool.torch.functional import adaptive_average, adaptive_maximum, small

    monkeypatch.setattr(small, "_known", {})
    module = adaptive_average if "avg" in name else adaptive_maximum
    ours, theirs = getattr(npool.torch.functional, name), getattr(torch.nn.functional, name)
    x = torch.rand(shape, requires_grad=True)
    ours(x, size)
    assert len(small._known) == 1
    looks = []
    decide = module._is_torchs
    monkeypatch.setattr(module, "_is_torchs", lambda *given: looks.append(1) or decide(*given))
    again = ours(x, size)
    assert not looks
    assert torch.equal(again, theirs(x, size))
    assert again.grad_fn.name() == theirs(x, size).grad_fn.name()
    for other in (x.detach(), x[..., ::2], x.double()):
        assert torch.allclose(ours(other, size), theirs(other, size))
    with torch.no_grad():
        assert ours(x, size).grad_fn is None
        assert small.own_bins(module._OWN, x, size) is None  # npool's way by arrays is faster
    for wrong in (float(size), True, "7", (size, 7.0, size)[: len(shape) - 2]):
        with pytest.raises((TypeError, ValueError)):
            ours(x, wrong)
