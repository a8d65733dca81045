"""On a GPU: what the other tiers cannot show. Skips itself where there is none."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

from cuda_problems import GEOMETRIES, counted_gradient, picked_gradient, problem

import npool
from npool.cuda import launching
from npool.testing import oracle

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cuda():
    """Numba's CUDA, where a driver and a device are there."""
    try:
        launching.Driver().architecture(0)
    except RuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    from numba import cuda

    return cuda


def home(result):
    many = result if isinstance(result, tuple) else (result,)
    return tuple(r.copy_to_host() for r in many)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.name)
def test_folds_and_gradients(cuda, geometry):
    rng = np.random.default_rng(1)
    for _ in range(5):
        x, arguments = problem(geometry, rng)
        x = np.ascontiguousarray(x)
        away = cuda.to_device(x)
        for op in ("max", "min"):
            wanted = oracle.pool(x, **arguments, reduce=op, return_indices=True)
            got = home(npool.pool(away, **arguments, reduce=op, return_indices=True))
            for a, b in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(a, b)
        gradient = rng.integers(-9, 10, wanted[0].shape).astype(np.float32)
        (got,) = home(npool.max_pool_backward(cuda.to_device(gradient), cuda.to_device(wanted[1]),
                                              x.shape, **arguments))  # fmt: skip
        places = picked_gradient(gradient, wanted[1], x.shape, len(geometry.kernel))
        np.testing.assert_array_equal(got, places.astype(np.float32))
        (got,) = home(npool.sum_pool_backward(cuda.to_device(gradient), x.shape, **arguments))
        wanted = counted_gradient(gradient, x.shape, arguments, None)
        np.testing.assert_array_equal(got, wanted.astype(np.float32))


def test_the_same_bits_each_time(cuda):
    x = cuda.to_device(np.random.default_rng(0).normal(size=(4, 16, 65, 67)).astype(np.float32))
    first, second = (npool.avg_pool(x, (3, 3), 2, 1).copy_to_host() for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.fixture
def torch(cuda):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch


@pytest.mark.parametrize("form", ["contiguous_format", "channels_last"])
def test_torch_differentiates(torch, form):
    x = torch.randn(2, 4, 17, 18, dtype=torch.float64, device="cuda")
    x = x.to(memory_format=getattr(torch, form)).requires_grad_()
    for function in (lambda t: npool.max_pool(t, (3, 3), 2, 1),
                     lambda t: npool.avg_pool(t, (2, 2), 1),
                     lambda t: npool.adaptive_max_pool(t, (3, 5))):  # fmt: skip
        values = function(x)
        assert values.is_contiguous(memory_format=getattr(torch, form))
        small = x[:1, :2, :6, :6].detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(function, (small,))
        assert torch.autograd.gradgradcheck(function, (small,))
        batched = torch.func.vmap(function)(x.detach())
        torch.testing.assert_close(batched, values.detach())


def test_torch_goes_on_without_waiting(torch):
    x = torch.randn(8, 16, 64, 64, device="cuda", requires_grad=True)
    npool.max_pool(x, (3, 3), 2, 1).sum().backward()  # compiled by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        npool.max_pool(x, (3, 3), 2, 1).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(x.grad).all()


def test_dlpack_between_frameworks(torch):
    class Own:
        """An array whose package nobody knows."""

        def __init__(self, tensor):
            self.tensor = tensor

        def __array_namespace__(self):
            return torch

        def __dlpack_device__(self):
            return self.tensor.__dlpack_device__()

        def __dlpack__(self, **given):
            return self.tensor.__dlpack__(**given)

    x = torch.randn(4, 8, 33, 35, device="cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        got = npool.max_pool(Own(x), (3, 3), 2, 1) + 0
    torch.cuda.synchronize()
    assert torch.equal(got, torch.nn.functional.max_pool2d(x, 3, 2, 1))


def test_torch_on_a_stream_of_its_own(torch):
    stream = torch.cuda.Stream()
    x = torch.randn(4, 8, 33, 35, device="cuda")
    with torch.cuda.stream(stream):
        got = npool.max_pool(x * 2, (3, 3), 2, 1)
        assert isinstance(got, torch.Tensor)
        assert got.device == x.device
    stream.synchronize()
    assert torch.equal(got, torch.nn.functional.max_pool2d(x * 2, 3, 2, 1))
