"""Random problems through npool.torch: bit for bit what the array functions give, both ways.

1,000 of them in all; `make check` looks at the first 100.
"""

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

import npool
import npool.torch

QUICK, ALL = 100, 1000
DTYPES = ("float32", "float64", "bfloat16")


def problem(seed):
    """A function by name, an array in some memory order, and a call's arguments."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(1, 6))
    count = int(rng.integers(1, min(ndim, 3) + 1))
    axes = tuple(int(a) for a in rng.permutation(ndim)[:count])
    lengths = rng.integers(1, 5, ndim)
    for axis in axes:
        lengths[axis] = rng.integers(4, 40 if count < 3 else 12)
    shape = tuple(int(n) for n in lengths)
    window = {
        "kernel_size": tuple(int(k) for k in rng.integers(1, 5, count)),
        "stride": tuple(int(s) for s in rng.integers(1, 4, count)),
        "padding": tuple((int(a), int(b)) for a, b in rng.integers(0, 4, (count, 2))),
        "dilation": tuple(int(d) for d in rng.integers(1, 3, count)),
        "ceil_mode": bool(rng.integers(2)),
        "axes": axes,
    }
    for i, axis in enumerate(axes):  # a window that fits
        room = shape[axis] + sum(window["padding"][i])
        if window["dilation"][i] * (window["kernel_size"][i] - 1) + 1 > room:
            kernels = list(window["kernel_size"])
            kernels[i] = 1
            window["kernel_size"] = tuple(kernels)
    order = rng.permutation(ndim)
    values = rng.standard_normal(tuple(shape[a] for a in order)).transpose(np.argsort(order))
    name = str(rng.choice(["max", "min", "avg", "sum", "lp", "adaptive_max", "adaptive_avg"]))
    more = {}
    if name.startswith("adaptive"):
        sizes = tuple(int(rng.integers(1, shape[a] + 2)) for a in axes)
        window = {"output_size": sizes, "axes": axes}
    if name == "avg":
        more = {"count_include_pad": bool(rng.integers(2))}
        if rng.random() < 0.3:
            more["divisor_override"] = int(rng.choice([-3, 2, 7]))
    return name, values, {**window, **more}, str(rng.choice(DTYPES))


def as_tensor(values, dtype):
    """The values as a tensor of that dtype, in their own memory order."""
    return torch.from_numpy(values).to(getattr(torch, dtype))


def by_arrays(name, x, arguments, grad_of):
    """npool's array functions alone: the result, and its gradient for ``grad_of(result)``."""
    pool = getattr(npool, f"{name}_pool")
    shape = x.shape
    # Sums are added in an order that goes by memory: a tensor's gradient lies as the tensor does.
    out = np.empty_like(x)
    if name in ("max", "min", "adaptive_max"):
        y, places = pool(x, return_indices=True, index_dtype=np.int32, **arguments)
        backward = getattr(npool, f"{name.replace('min', 'max')}_pool_backward")
        return y, backward(grad_of(y), places, shape, out=out, **arguments)
    if name == "lp":
        y = pool(x, 3.0, **arguments)
        return y, npool.lp_pool_backward(grad_of(y), x, y, 3.0, out=out, **arguments)
    y = pool(x, **arguments)
    return y, getattr(npool, f"{name}_pool_backward")(grad_of(y), shape, out=out, **arguments)


def check(seed):
    from npool.torch.tensors import array_of

    name, values, arguments, dtype = problem(seed)
    x = as_tensor(values, dtype)
    drawn = np.random.default_rng(seed + 1)

    def grad_of(y):
        return drawn.standard_normal(y.shape).astype(y.dtype)

    want, want_grad = by_arrays(name, array_of(x), arguments, grad_of)
    drawn = np.random.default_rng(seed + 1)
    given = x.detach().requires_grad_()
    pool = getattr(npool, f"{name}_pool")
    got = pool(given, 3.0, **arguments) if name == "lp" else pool(given, **arguments)
    grad = as_tensor(grad_of(want).astype(np.float64), dtype)
    (got_grad,) = torch.autograd.grad(got, given, grad)
    for mine, expected in ((got, want), (got_grad, want_grad)):
        array = array_of(mine)
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        assert array.tobytes() == expected.tobytes(), (seed, name, arguments, dtype)
    return name


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    before = npool.get_num_threads()
    npool.set_num_threads(request.param)
    yield
    npool.set_num_threads(before)


def test_some_random_problems(threads):
    assert {check(seed) for seed in range(QUICK)} >= {"max", "avg", "lp", "adaptive_max"}


@pytest.mark.slow
def test_all_random_problems(threads):
    assert len([check(seed) for seed in range(QUICK, ALL)]) == ALL - QUICK
