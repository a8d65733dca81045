"""Tensors on a device: what `npool.torch` gives on the CPU, by kernels registered for CUDA.

The tensors (`far.py`) say that they lie on a device, and torch's dispatcher and autograd take them
at their word; the driver's place is taken by the executor of PTX (`away.py`).
"""

import contextlib
import warnings

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

import far
from away import Executor, on
from far import LAUNCHED, Factories, far_cuda, home, send
from test_torch_operators import CALLS, DIFFERENTIABLE

import npool
import npool.torch
from npool.cuda.holders import held
from npool.torch import functional as F
from npool.torch import nn, serving, tensors
from npool.torch.library import OPERATORS

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*forward AD.*:UserWarning", "ignore:.*deprecated.*"
)

EXECUTOR = Executor((9, 0), ((9, 0),))


@pytest.fixture
def cuda():
    EXECUTOR.reports.clear()
    EXECUTOR.streams.clear()
    with on(EXECUTOR), far_cuda() as ours:
        yield ours
    assert ours.current == 0, "a device was left current"


def single(tree):
    """float32, which is what kernels are mostly of, for every float64."""
    return torch.utils._pytree.tree_map_only(
        torch.Tensor,
        lambda x: (x.detach().float() if x.dtype is torch.float64 else x.detach()).requires_grad_(
            x.requires_grad
        ),
        tree,
    )


def sent(arguments, device):
    return [send(a, device) if isinstance(a, torch.Tensor) else a for a in arguments]


def agree(got, wanted):
    """Results on a device and on the CPU: values, types, and where they lie in memory."""
    many = got if isinstance(got, tuple) else (got,)
    for far_one, one in zip(many, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert (far_one.shape, far_one.dtype) == (one.shape, one.dtype)
        lies, ought = (
            [s for n, s in zip(x.shape, x.stride(), strict=True) if n > 1] for x in (far_one, one)
        )
        assert lies == ought, "another memory format"
        torch.testing.assert_close(home(far_one.detach()), one.detach(), equal_nan=True)


#: Operators of what only the CPU's nodes keep: the numbers of taps (`npool.torch.numbering`).
TAPS = ("_taps_backward", "pool_positions")
ROWS = {name: single(CALLS[name]) for name in CALLS if not name.endswith(TAPS)}
# Cubes are taken in float64 under torch's name: by a function of NVVM's, which is not executed.
ROWS["lp_pool_as_torch"] = (ROWS["lp_pool_as_torch"][0], 2, *ROWS["lp_pool_as_torch"][2:])
PLAIN = [torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8).to(memory_format=torch.channels_last)]


@pytest.mark.parametrize("name", ROWS)
def test_operators(cuda, name):
    """By the dispatcher, to the kernel under its key CUDA; torch's words alone need no launch."""
    arguments, words = ROWS[name], name == "torch_positions"
    device = torch.device("far:0" if words else "cuda:1")
    with torch.no_grad(), Factories():
        got = OPERATORS[name](*sent(arguments, device))
        agree(got, OPERATORS[name](*arguments))
    assert [name] == LAUNCHED
    assert (got[0] if isinstance(got, tuple) else got).device == device
    # On the stream that was current on that device, asked for while the device was.
    assert set(EXECUTOR.streams) == (set() if words else {(1, far.STREAM + 1)})
    assert set(cuda.asked) == (set() if words else {1})


@pytest.mark.parametrize("name", [name for name in DIFFERENTIABLE if name in ROWS])
def test_derivatives(cuda, name):
    """Of first and second order, as on the CPU."""
    arguments = ROWS[name]

    def derivatives(arguments, like):
        inputs = [a for a in arguments if isinstance(a, torch.Tensor) and a.requires_grad]
        made = OPERATORS[name](*arguments)
        made = made[0] if isinstance(made, tuple) else made
        seed = like(torch.linspace(-1, 1, made.numel()).reshape(made.shape).requires_grad_())
        first = torch.autograd.grad(made, inputs, seed, create_graph=True)
        again = [like(torch.linspace(-1, 2, x.numel()).reshape(x.shape)) for x in first]
        second = torch.autograd.grad(first, [*inputs, seed], again, allow_unused=True)
        return [*first, *(x for x in second if x is not None)]

    with Factories():
        got = derivatives(sent(arguments, "far:0"), send)
    wanted = derivatives(arguments, lambda x: x)
    assert len(got) == len(wanted) > 1
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(home(one.detach()), other.detach())
    assert EXECUTOR.reports


TRANSFORMED = {
    "max": lambda x: npool.max_pool(x, (3, 3), 2, 1),
    "avg": lambda x: npool.avg_pool(x, (2, 3), 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "lp": lambda x: npool.lp_pool(x, 2, (2, 2)),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transforms_of_functions(cuda, name):
    function = TRANSFORMED[name]
    x, t = torch.randn(3, 2, 5, 6), torch.randn(3, 2, 5, 6)
    whole = torch.func.vmap(torch.func.grad(lambda x: function(x).square().sum()))
    far_x, far_t = send(x), send(t)
    agree(torch.func.vmap(function)(send(x, "cuda:0")), torch.func.vmap(function)(x))
    with Factories():
        agree(torch.func.jvp(function, (far_x,), (far_t,)), torch.func.jvp(function, (x,), (t,)))
        torch.testing.assert_close(home(whole(far_x)), whole(x))


ANY_AXES = {
    "max": lambda x: npool.max_pool(x, (3, 2), 2, "same", return_indices=True),
    "min": lambda x: npool.min_pool(x, 3, axes=(1, 2), index_dtype=torch.int32,
                                    return_indices=True),
    "avg": lambda x: npool.avg_pool(x, (3, 3), 2, ((1, 0), 1), count_include_pad=False),
    "sum": lambda x: npool.sum_pool(x, (2, 2), 1, 0, 2),
    "lp": lambda x: npool.lp_pool(x, 2, (2, 2)),
    "range": lambda x: npool.pool(x, (2, 2), reduce="range"),
    "adaptive max": lambda x: npool.adaptive_max_pool(x, (3, 3), return_indices=True),
    "adaptive avg": lambda x: npool.adaptive_avg_pool(x, 2, axes=1),
    "adaptive min": lambda x: npool.adaptive_pool(x, (2,), reduce="min", return_indices=True),
    "nn.Pool": lambda x: nn.Pool((3, 3), 2, 1, reduce="max")(x),
}  # fmt: skip


@pytest.mark.parametrize("short", [False, True], ids=["dispatched", "short"])
@pytest.mark.parametrize("name", ANY_AXES)
def test_any_axes(cuda, monkeypatch, name, short):
    """Past the dispatcher too, as ordinary tensors go that nothing differentiates."""
    if short:
        ordinary(monkeypatch)
    elif name == "adaptive min":
        pytest.skip("its positions have no operator")
    for x in PLAIN:
        agree(ANY_AXES[name](send(x, "cuda:0")), ANY_AXES[name](x))
    assert bool(LAUNCHED) is not short
    assert len(EXECUTOR.reports) >= 2


def ordinary(monkeypatch):
    """Take far tensors for torch's own: told by the keys that these have, too."""
    keys = torch._C._dispatch_keys

    class Keys:
        def __init__(self, x):
            self.found = keys(x)

        def raw_repr(self):
            return self.found.raw_repr() & ~MORE

    monkeypatch.setattr(tensors, "_ORDINARY", (*tensors._ORDINARY, far.Far))
    monkeypatch.setattr(tensors, "_dispatch_keys", Keys)
    plain = keys(send(torch.empty(1))).raw_repr() & ~MORE
    monkeypatch.setattr(tensors, "_PLAIN_KEYS", (*tensors._PLAIN_KEYS, plain))


MORE = 0
for _key in ("Python", "PythonTLSSnapshot"):
    MORE |= torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _key)).raw_repr()


def test_the_keys_of_an_ordinary_tensor():
    """npool puts them together by name: for CPU tensors they are torch's own, and so for CUDA's."""
    kinds = [torch.empty(1)]
    with torch.inference_mode():
        kinds.append(torch.empty(1))
    known = {torch._C._dispatch_keys(x).raw_repr() for x in kinds}
    known.add(torch._C._dispatch_keys(send(kinds[0], "cuda:0")).raw_repr() & ~MORE)
    assert known < set(tensors._PLAIN_KEYS)
    assert len(known) == 3
    assert not tensors.is_eager(send(kinds[0], "cuda:0"))


NAMES = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True),
    "max_pool2d dilated": lambda x: F.max_pool2d(x, 2, 1, 1, 7, return_indices=True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, 3, 2),
    "lp_pool2d infinite": lambda x: F.lp_pool2d(x, float("inf"), 3, 2),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, None), return_indices=True),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "max_unpool2d": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "fractional_max_pool2d": lambda x: F.fractional_max_pool2d(
        x, 2, 3, return_indices=True, _random_samples=like(torch.full((2, 3, 2), 0.3), x)
    ),
    "nn.AvgPool2d": lambda x: nn.AvgPool2d(2, count_include_pad=False)(x),
}


def like(tensor, x):
    return send(tensor, x.device) if isinstance(x, far.Far) else tensor


@pytest.mark.parametrize("name", NAMES)
def test_names_of_torch(cuda, monkeypatch, name):
    """As on the CPU, and as torch's own."""
    ordinary(monkeypatch)
    transposed = torch.randn(2, 3, 8, 7).transpose(2, 3)
    for x in (*PLAIN, transposed):
        with Factories() if "dilated" in name else contextlib.nullcontext():
            got = NAMES[name](send(x))
        agree(got, NAMES[name](x))
    assert EXECUTOR.reports
    assert bool(LAUNCHED) is ("dilated" in name)


def test_gradients_come_in_any_layout(cuda):
    """That of a sum is one element; others are laid out unlike the positions that they meet."""
    x = torch.randn(2, 3, 7, 8).to(memory_format=torch.channels_last).requires_grad_()
    for function in (torch.sum, lambda y: (y * y.new_ones(y.shape)).sum(),
                     lambda y: y.transpose(0, 1).contiguous().square().sum()):  # fmt: skip
        grads = [
            torch.autograd.grad(function(npool.max_pool(t, (3, 3), 2, 1)), t)[0]
            for t in (send(x), x)
        ]
        agree(*grads)
        assert grads[0].shape == x.shape


def test_modules_train(cuda):
    """A gradient ends in `grad` of a leaf, as of a parameter."""
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    far_x = send(x)
    for t in (far_x, x):
        nn.MaxPool2d(2)(nn.AvgPool2d(3, 1, 1)(t)).sum().backward()
    agree(far_x.grad, x.grad)
    assert x.grad.count_nonzero() > 0


def test_out_lies_on_the_device(cuda):
    x = torch.randn(2, 3, 6, 8)
    out = send(torch.zeros(2, 3, 3, 4), "cuda:0")
    assert npool.max_pool(send(x, "cuda:0"), (2, 2), out=out) is out
    torch.testing.assert_close(home(out), npool.max_pool(x, (2, 2)))


def test_tensors_of_two_devices_are_refused(cuda):
    x = torch.randn(1, 1, 4, 4)
    values, places = npool.max_pool(x, (2, 2), return_indices=True)
    for far_places in (places, send(places, "cuda:1")):
        with pytest.raises(ValueError, match="lie on cuda:0 and c"):
            npool.max_unpool(send(values, "cuda:0"), far_places, (2, 2))
    with pytest.raises(ValueError, match="lie on cpu and cuda:0"):
        npool.max_unpool(values, send(places, "cuda:0"), (2, 2))


def test_gradients_are_not_lost_by_functions_of_arrays(cuda):
    x = send(torch.randn(1, 1, 4, 4, requires_grad=True), "cuda:0")
    with pytest.raises(TypeError, match=r"use npool\.max_pool .* pass x\.detach\(\)"):
        held(x)
    about = held(x.detach())
    assert (about.stream, about.device, held(about)) == (far.STREAM, 0, about)


def test_accelerate_leaves_other_devices_to_torch(cuda, monkeypatch):
    ordinary(monkeypatch)
    x = send(torch.randn(8, 64, 32, 32), "cuda:0")
    for name in ("max_pool1d", "max_pool2d", "max_pool3d"):
        (served,) = [s for s in serving.SERVED if s.name == name]
        with pytest.raises(serving.Left):
            served.answer(x, 2)
    assert {s.key for s in serving.SERVED} == {"CPU", "CompositeImplicitAutograd"}
    assert not EXECUTOR.reports


def test_what_is_traced_is_traced_for_its_device(cuda):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        for device in ("cpu", "cuda"):
            x = torch.empty(2, 3, 8, 8, device=device, memory_format=torch.channels_last)
            values, places = F.max_pool2d(x, 3, 2, 1, return_indices=True)
            assert values.device.type == places.device.type == device
            assert values.shape == (2, 3, 4, 4)
            assert values.is_contiguous(memory_format=torch.channels_last)
    assert not EXECUTOR.reports
