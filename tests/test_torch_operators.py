"""npool's operators in torch: derivatives of every order and mode, batches, tracing, checks.

Every operator has a row in `CALLS`; a test fails if one is missing there.
"""

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

import npool
import npool.torch
from npool.bins import make_bins_plan
from npool.geometry import make_plan
from npool.torch import functional as F
from npool.torch import nn
from npool.torch.arguments import array_arguments
from npool.torch.library import OPERATORS

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*forward AD.*:UserWarning", "ignore:.*deprecated.*"
)


def distinct(*shape, requires_grad=True, dtype=torch.float64):
    """Distinct values on both sides of 0, apart by more than gradcheck's step."""
    torch.manual_seed(5)
    size = int(np.prod(shape))
    x = torch.randperm(size).to(dtype).sub(size // 2).add(0.3).div(size / 4).reshape(shape)
    return x.requires_grad_(requires_grad)


# --- one row for each operator ------------------------------------------------------------------

#: A dilated window with uneven padding over axes 1 and 3 of 4, and bins over the same.
WINDOW = ((2, 3), (1, 2), (1, 0, 1, 1), (2, 1), False, (-3, -1))
SHAPE, POOLED = (2, 4, 3, 5), (2, 3, 3, 3)
BINS = ((3, 2), (-3, -1))
ORDER = (0, 2, 1, 3)
AXES = (-3, -1)


def positions(name, *arguments):
    return getattr(torch.ops.npool, f"{name}_with_indices")(
        distinct(*SHAPE, requires_grad=False), *arguments, torch.int64
    )[1]


def taps(indices, plan):
    """The numbers of the taps at positions."""
    found = torch.zeros(indices.shape, dtype=torch.uint8)
    at = np.unravel_index(indices.numpy(), [window.size for window in plan.windows])
    for axis, window, place in zip(plan.axes, plan.windows, at, strict=True):
        starts = np.array([window.start(o) for o in range(window.out)])
        starts = starts.reshape([-1 if i == axis else 1 for i in range(indices.ndim)])
        tap = torch.from_numpy((place - starts) // window.dilation).to(torch.uint8)
        found = found * window.kernel + tap
    return found


def samples():
    return torch.rand(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


DRAWN = ((2, 2), (3, 3), AXES)


def calls():
    """``{operator: arguments}``; tensors of floats are differentiable."""
    x, small = distinct(*SHAPE), distinct(*POOLED)
    drawn = torch.ops.npool.fractional_max_pool_with_indices(
        x.detach(), samples(), *DRAWN, torch.int64
    )[1]
    bins, at = positions("adaptive_max_pool", *BINS), positions("max_pool", *WINDOW)
    few = distinct(2, 3, 3, 2)
    bin_taps = taps(bins, make_bins_plan(SHAPE, *BINS))
    window_taps = taps(at, make_plan(SHAPE, **array_arguments(*WINDOW)))
    apart = positions("max_pool", (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False, AXES)
    norm = torch.ops.npool.lp_pool(x.detach(), 3.0, *WINDOW)
    average = (*WINDOW, False, None)
    return {
        "max_pool": (x, *WINDOW),
        "max_pool_with_indices": (x, *WINDOW, torch.int32),
        "min_pool": (x, *WINDOW),
        "min_pool_with_indices": (x, *WINDOW, torch.int64),
        "max_pool_backward": (small, at, SHAPE, ORDER, *WINDOW),
        "max_pool_pick": (x, at, *WINDOW),
        "max_pool_positions": (window_taps, SHAPE, ORDER, *WINDOW),
        "max_pool_taps_backward": (small, window_taps, SHAPE, ORDER, *WINDOW),
        "torch_positions": (at, SHAPE, ORDER, *WINDOW),
        "avg_pool": (x, *average, None, "half_even"),
        "avg_pool_backward": (small, SHAPE, ORDER, *average),
        "sum_pool": (x, *WINDOW, None),
        "sum_pool_backward": (small, SHAPE, ORDER, *WINDOW),
        "lp_pool": (x, 3.0, *WINDOW),
        "lp_pool_backward": (small.detach(), x.detach(), norm, 3.0, *WINDOW),
        "lp_pool_as_torch": (distinct(2, 3, 6).abs().detach().requires_grad_(), 3, (2,), (2,),
                             (0, 0), (1,), True, (-1,)),
        "reduce_pool": (x.detach(), "range", *WINDOW, None),
        "adaptive_max_pool": (x, *BINS),
        "adaptive_max_pool_with_indices": (x, *BINS, torch.int64),
        "adaptive_max_pool_backward": (few, bins, SHAPE, ORDER, *BINS),
        "adaptive_max_pool_pick": (x, bins, *BINS),
        "adaptive_max_pool_positions": (bin_taps, SHAPE, ORDER, *BINS),
        "adaptive_max_pool_taps_backward": (few, bin_taps, SHAPE, ORDER, *BINS),
        "adaptive_avg_pool": (x, *BINS, None, "half_even"),
        "adaptive_avg_pool_backward": (few, SHAPE, ORDER, *BINS),
        "adaptive_reduce_pool": (x.detach(), "sum", *BINS, None),
        "fractional_max_pool": (x, samples(), *DRAWN),
        "fractional_max_pool_with_indices": (x, samples(), *DRAWN, torch.int64),
        "fractional_max_pool_backward": (small, drawn, SHAPE, ORDER, AXES),
        "fractional_max_pool_pick": (x, drawn, AXES),
        # Of windows apart from each other: of elements put to one place the last one counts, and
        # torch gives all of them its gradient.
        "max_unpool": (distinct(2, 2, 3, 2), apart, (2, 2), (2, 2), (0, 0), (4, 5), AXES),
        "max_unpool_backward": (x, apart, (2, 2, 3, 2), ORDER, AXES),
    }  # fmt: skip


CALLS = calls()


def test_every_operator_has_a_row():
    assert sorted(CALLS) == sorted(OPERATORS)


@pytest.mark.parametrize("device", ["CPU", "CUDA"])
def test_every_operator_has_a_kernel(device):
    for name in OPERATORS:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"npool::{name}", device)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_opcheck(name):
    """Schema, autograd registration, shape function and AOT dispatch, by torch's own checker."""
    result = torch.library.opcheck(OPERATORS[name], CALLS[name])
    assert set(result.values()) == {"SUCCESS"}


def differentiable(name):
    """The operator as a function of its differentiable tensors, and these."""
    arguments = CALLS[name]
    given = [i for i, a in enumerate(arguments) if isinstance(a, torch.Tensor) and a.requires_grad]

    def function(*tensors):
        whole = list(arguments)
        for i, tensor in zip(given, tensors, strict=True):
            whole[i] = tensor
        made = OPERATORS[name](*whole)
        return made[0] if isinstance(made, tuple) else made

    return function, tuple(arguments[i].detach().clone().requires_grad_() for i in given)


DIFFERENTIABLE = [
    name
    for name, arguments in CALLS.items()
    if any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments)
]


def test_what_has_no_derivative_is_known():
    assert set(CALLS) - set(DIFFERENTIABLE) == {
        "torch_positions", "max_pool_positions", "adaptive_max_pool_positions",
        "lp_pool_backward", "reduce_pool", "adaptive_reduce_pool",
    }  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_of_first_and_second_order(name):
    function, tensors = differentiable(name)
    assert torch.autograd.gradcheck(
        function, tensors, check_forward_ad=True, check_batched_grad=True,
        check_batched_forward_grad=True,
    )  # fmt: skip
    assert torch.autograd.gradgradcheck(
        function, tensors, check_fwd_over_rev=True, check_batched_grad=True
    )


@pytest.mark.parametrize("name", CALLS)
def test_vmap(name):
    """A batch of calls is as the calls one by one: all tensors batched, and the first alone."""
    arguments = CALLS[name]
    tensors = [a.detach() for a in arguments if isinstance(a, torch.Tensor)]
    rest = arguments[len(tensors) :]
    for batched in (len(tensors), 1):
        stacks = [
            torch.stack([t, t.flip(0), t], dim=2 if i == 0 else 0) if i < batched else t
            for i, t in enumerate(tensors)
        ]
        dims = tuple((2 if i == 0 else 0) if i < batched else None for i in range(len(tensors)))
        if batched < len(tensors) and "pick" not in name and "unpool" not in name:
            continue  # positions of other elements would not lie in their windows
        got = torch.func.vmap(lambda *ts: OPERATORS[name](*ts, *rest), in_dims=dims)(*stacks)
        one_by_one = [
            OPERATORS[name](
                *(t if d is None else t.select(d, i) for t, d in zip(stacks, dims, strict=True)),
                *rest,
            )
            for i in range(3)
        ]
        if isinstance(got, tuple):
            got, one_by_one = got[0], [made[0] for made in one_by_one]
        torch.testing.assert_close(got, torch.stack(one_by_one), equal_nan=True)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 1.5])
@pytest.mark.parametrize("absolute", [True, False], ids=["npool", "torch"])
def test_gradients_of_norms(p, absolute):
    if absolute:
        x = distinct(2, 3, 6)
        function = lambda t: npool.lp_pool(t, p, (3,), 2, ((1, 0),), 2)  # noqa: E731
    else:
        x = (distinct(2, 3, 6).detach().abs() + 0.1).requires_grad_()
        function = lambda t: F.lp_pool1d(t, p, 3, 2, ceil_mode=True)  # noqa: E731
    assert torch.autograd.gradcheck(function, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (x,))


def test_the_gradient_of_a_norm_of_nothing_is_zero():
    for p in (2, 3, 1.5):
        for function in (lambda t, p=p: npool.lp_pool(t, p, (2,)),
                         lambda t, p=p: F.lp_pool1d(t, p, 2)):  # fmt: skip
            x = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
            (first,) = torch.autograd.grad(function(x).sum(), x, create_graph=True)
            (plain,) = torch.autograd.grad(function(x).sum(), x)
            assert torch.equal(first, torch.zeros(1, 4, dtype=torch.float64))
            assert torch.equal(plain, first)


def test_the_fast_gradient_of_a_norm_is_the_other():
    """Without ``create_graph`` one kernel computes what is composed with it."""
    x = distinct(2, 3, 40)
    for p in (1.0, 2.0, 2.5, 0.5):
        y = npool.lp_pool(x, p, (3,), 2, 1)
        grad = distinct(*y.shape, requires_grad=False)
        (fast,) = torch.autograd.grad(y, x, grad, retain_graph=True)
        (composed,) = torch.autograd.grad(y, x, grad, create_graph=True)
        torch.testing.assert_close(fast, composed)


# --- transforms and tracing ---------------------------------------------------------------------

FUNCTIONS = {
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), "max_pool2d", (3, 2, 1)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1), "avg_pool2d", (3, 2, 1)),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2, 3), "lp_pool2d", (2, 3)),
    "max_pool2d, global": (lambda x: F.max_pool2d(x, x.shape[2:]), None, ()),
    "max": (lambda x: npool.max_pool(x, (3, 2), 1, "same", axes=(1, 3)), None, ()),
    "min with positions": (
        lambda x: npool.min_pool(x, (2, 2), return_indices=True, index_dtype=torch.int32)[0],
        None, (),
    ),
    "avg": (lambda x: npool.avg_pool(x, (2, 2), 1, ((0, 1), (2, 1)), 2), None, ()),
    "sum": (lambda x: npool.sum_pool(x, 3, axes=-2), None, ()),
    "lp": (lambda x: npool.lp_pool(x, 3, (2, 2)), None, ()),
    "range": (lambda x: npool.pool(x.detach(), (2, 2), reduce="range"), None, ()),
    "adaptive max": (lambda x: npool.adaptive_max_pool(x, (3, 2)), None, ()),
    "adaptive avg": (lambda x: npool.adaptive_avg_pool(x, 3, axes=(1, 2)), None, ()),
    "unpool": (
        lambda x: npool.max_unpool(
            *npool.max_pool(x, (2, 2), return_indices=True), (2, 2), output_size=x.shape[2:]
        ),
        None, (),
    ),
    "module": (nn.MaxPool2d(2, padding=1), "max_pool2d", (2, None, 1)),
    "ceil": (lambda x: F.max_pool2d(x, 2, ceil_mode=True), "max_pool2d", (2, None, 0, 1, True)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compile_in_one_graph(name, dynamic):
    from torch._dynamo.testing import CompileCounterWithBackend

    function = FUNCTIONS[name][0]
    torch._dynamo.reset()
    frames = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=frames, dynamic=dynamic)
    for size in (8, 9, 10):
        x = distinct(2, 3, size, size + 1)
        got, want = compiled(x), function(x)
        assert torch.equal(got, want)
        assert got.stride() == want.stride()
        if want.requires_grad:
            torch.testing.assert_close(
                torch.autograd.grad(got.square().sum(), x),
                torch.autograd.grad(want.square().sum(), x),
            )
    if dynamic:
        assert frames.frame_count == 1, "another length was compiled anew"
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["max_pool2d", "avg", "adaptive max", "module"])
def test_export(name):
    function = FUNCTIONS[name][0]

    class Model(torch.nn.Module):
        def forward(self, x):
            return function(x) + 1

    x = torch.rand(2, 3, 8, 9)
    lengths = {"x": {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=4, max=512)}}
    program = torch.export.export(Model(), (x,), dynamic_shapes=lengths)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any(target.startswith("npool.") for target in called), called
    other = torch.rand(5, 3, 12, 9)
    assert torch.equal(program.module()(other), function(other) + 1)


@pytest.mark.parametrize("name", [n for n, row in FUNCTIONS.items() if row[1]])
def test_functional_transforms_agree_with_torch(name):
    function, torch_name, arguments = FUNCTIONS[name]
    theirs = lambda x: getattr(torch.nn.functional, torch_name)(x, *arguments)  # noqa: E731
    x, t = distinct(2, 3, 8, 9, requires_grad=False), distinct(2, 3, 8, 9, requires_grad=False)
    t = t.flip(-1)
    for transform in (
        lambda f: torch.func.grad(lambda a: f(a).square().sum())(x),
        lambda f: torch.func.vmap(f)(x.unsqueeze(1)),
        lambda f: torch.func.vmap(torch.func.grad(lambda a: f(a).square().sum()))(x),
        lambda f: torch.func.grad(lambda a: torch.func.vmap(f)(a[:, None]).square().sum())(x),
        lambda f: torch.func.jvp(f, (x,), (t,))[1],
        lambda f: torch.func.jacrev(f)(x[:1, :1]),
        lambda f: torch.func.jacfwd(f)(x[:1, :1]),
        lambda f: torch.func.jacrev(torch.func.jacrev(lambda a: f(a).pow(3).sum()))(x[:1, :1]),
        lambda f: torch.func.hessian(lambda a: f(a).pow(3).sum())(x[:1, :1]),
    ):
        torch.testing.assert_close(transform(function), transform(theirs))
