"""npool.torch.functional and npool.torch.nn against torch: its own samples, errors and modules.

Values, positions, dtypes, memory formats and gradients must be torch's.
"""

import inspect
import itertools
import pickle
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    pytest.importorskip("expecttest")  # torch's test machinery imports it
    methods = pytest.importorskip(
        "torch.testing._internal.common_methods_invocations", exc_type=ImportError
    )

import npool
import npool.torch
from npool.torch import functional as F
from npool.torch import nn

OPS = {
    op.name.rpartition(".")[2]: op
    for op in methods.op_db
    if op.name.startswith("nn.functional.") and "pool" in op.name and not op.variant_test_name
}
#: Of how many samples one is taken, where torch has thousands.
EVERY = {"max_pool2d": 23, "max_pool3d": 23, "max_pool1d": 7}
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 1.6e-2, torch.float32: 2e-6, torch.float64: 1e-9}
CASES = [
    pytest.param(
        name,
        dtype,
        id=f"{name}-{str(dtype).removeprefix('torch.')}",
        marks=() if dtype in (torch.float32, torch.int64) else pytest.mark.slow,
    )
    for name, op in sorted(OPS.items())
    for dtype in sorted(op.dtypes, key=str)
]


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread():
    """Thousands of tiny calls: torch's threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def theirs(name, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(torch.nn.functional, name)(*args, **kwargs)


def both(name, x, args, kwargs):
    """Answers of npool and of torch, as tuples; random ones drawn from the same state."""
    answers = []
    for call in (getattr(F, name), lambda *a, **k: theirs(name, *a, **k)):
        torch.manual_seed(3)
        made = call(x, *args, **kwargs)
        answers.append(made if isinstance(made, tuple) else (made,))
    return answers


def check_same(got, want, rounded):
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if got.numel():
        assert got.is_contiguous() == want.is_contiguous()
        if got.ndim == 4:
            last = torch.channels_last
            assert got.is_contiguous(memory_format=last) == want.is_contiguous(memory_format=last)
    tolerance = TOLERANCE.get(got.dtype, 0) if rounded else 0
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)


def test_these_are_all_of_torchs_names():
    pooling = {
        name
        for name in dir(torch.nn.functional)
        if "pool" in name and not name.startswith("_")
    }  # fmt: skip
    assert pooling == set(F.__all__) - {"ArgumentError"}
    modules = {name for name in dir(torch.nn) if "pool" in name.lower() and name[0].isupper()}
    assert modules == set(nn.__all__) - {"Pool"}


def test_arguments_have_torchs_names_order_and_defaults():
    functional = torch.nn.functional
    for name in sorted(set(F.__all__) - {"ArgumentError"}):
        mine = [
            (p.name, p.default if p.default is not None else None)
            for p in inspect.signature(getattr(F, name)).parameters.values()
        ]
        found = getattr(functional, name)
        if hasattr(functional, f"_{name}"):  # torch dispatches on return_indices
            found = getattr(functional, f"_{name}")
            extra = [("return_indices", False)]
        try:
            signature = inspect.signature(found)
        except ValueError:  # built in: its documentation says
            shown = found.__doc__.strip().splitlines()[0]
            text = shown[shown.index("(") + 1 : shown.index(")")]
            wanted = [part.strip().partition("=")[::2] for part in text.split(",")]
            got = [(n, "" if d is inspect.Parameter.empty else str(d)) for n, d in mine]
            assert got == wanted, name
            continue
        wanted = [(p.name, p.default) for p in signature.parameters.values()]
        assert dict(wanted).items() <= dict(mine).items(), name
        assert [n for n, _ in mine] == [n for n, _ in wanted] or (
            [n for n, _ in wanted if n != "_random_samples"]
            == [n for n, _ in mine if n != "_random_samples"]
        ), (name, extra)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_torchs_samples(name, dtype):
    torch.manual_seed(20)
    differentiable = dtype.is_floating_point
    looked_at = 0
    samples = OPS[name].sample_inputs("cpu", dtype, requires_grad=differentiable)
    for sample in itertools.islice(samples, 0, None, EVERY.get(name, 1)):
        x, args, kwargs = sample.input, sample.args, sample.kwargs
        drawn = kwargs.get("_random_samples")
        if drawn is not None and (drawn.min() < 0 or drawn.max() > 1):
            # torch's own test draws normal numbers there, which are no samples.
            with pytest.raises(ValueError, match="samples must lie between 0 and 1"):
                getattr(F, name)(x, *args, **kwargs)
            continue
        looked_at += 1
        # Under no_grad the call goes to the array functions, else through operators.
        got, want = both(name, x, args, kwargs)
        with torch.no_grad():
            plain, _ = both(name, x, args, kwargs)
        rounded = "max" not in name
        if rounded and dtype.itemsize == 2:
            # torch adds some in the half type itself: its answer in float64 is the judge.
            want = tuple(one.to(dtype) for one in both(name, x.double(), args, kwargs)[1])
        for mine, direct, other in zip(got, plain, want, strict=True):
            check_same(mine.detach(), other.detach(), rounded)
            assert torch.equal(mine.detach().nan_to_num(), direct.nan_to_num())
        if not (differentiable and want[0].requires_grad and want[0].numel()):
            continue
        grad = torch.randn_like(want[0])
        (mine,) = torch.autograd.grad(got[0], x, grad)
        (other,) = torch.autograd.grad(want[0], x, grad)
        tolerance = 4 * TOLERANCE[dtype]
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
    assert looked_at >= 2


def error_cases():
    for name, op in sorted(OPS.items()):
        if op.error_inputs_func is not None:
            for number, error in enumerate(op.error_inputs("cpu")):
                yield pytest.param(name, error, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "error"), list(error_cases()))
@pytest.mark.parametrize("differentiated", [False, True], ids=["plain", "grad"])
def test_torchs_error_inputs(name, error, differentiated):
    sample = error.sample_input
    x = sample.input
    if differentiated and x.is_floating_point():
        x = x.detach().requires_grad_()
    with pytest.raises(error.error_type, match=error.error_regex):
        getattr(F, name)(x, *sample.args, **sample.kwargs)
    with pytest.raises(error.error_type, match=error.error_regex):
        theirs(name, sample.input, *sample.args, **sample.kwargs)


# --- memory, dtypes, autocast --------------------------------------------------------------------

TWO = {
    "max_pool2d": (3, 2, 1), "avg_pool2d": (3, 2, 1), "lp_pool2d": (2.0, 3),
    "adaptive_avg_pool2d": (3,), "adaptive_max_pool2d": ((None, 2),),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_memory_formats_are_torchs(name, requires_grad):
    x = torch.rand(2, 3, 8, 9)
    for given in (
        x,
        x.to(memory_format=torch.channels_last),
        x.to(memory_format=torch.channels_last)[:, :, ::2],
        x.transpose(2, 3),
        x.transpose(0, 1),
        x[:, :1].to(memory_format=torch.channels_last),
        x.expand(2, 3, 8, 9)[..., :1].expand(2, 3, 8, 9),
        x[0],
        x[0].permute(1, 2, 0).contiguous().permute(2, 0, 1),
    ):
        given = given.detach().requires_grad_(requires_grad)
        got, want = getattr(F, name)(given, *TWO[name]), theirs(name, given, *TWO[name])
        torch.testing.assert_close(got, want)
        if "lp" not in name or given.shape[1] > 1:  # torch's steps are not of one mind there
            assert got.stride() == want.stride()
        if requires_grad:
            grad = torch.randn_like(want)
            (mine,) = torch.autograd.grad(got, given, grad)
            (other,) = torch.autograd.grad(want, given, grad)
            torch.testing.assert_close(mine, other)
            if given.is_contiguous(memory_format=torch.channels_last):
                assert mine.is_contiguous(memory_format=torch.channels_last)


def test_a_tensor_is_pooled_where_it_lies():
    """The array that npool reads is the tensor's own memory, in float and in bfloat16."""
    from npool.torch.tensors import array_of, tensor_of

    for dtype in (torch.float32, torch.bfloat16, torch.bool, torch.uint16, torch.complex64):
        x = torch.zeros(4, 5, dtype=dtype).t()
        array = array_of(x)
        assert array.__array_interface__["data"][0] == x.data_ptr()
        assert array.strides == tuple(s * x.element_size() for s in x.stride())
        back = tensor_of(array)
        assert back.data_ptr() == x.data_ptr()
        assert back.dtype == dtype


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.int8, torch.uint16, torch.uint64, torch.int64, torch.bfloat16]
)
def test_types_that_torch_lacks(dtype):
    values = np.random.default_rng(1).integers(0, 2 if dtype is torch.bool else 100, (2, 9, 9))
    x = torch.from_numpy(values).to(dtype)
    wide = torch.from_numpy(values).double()
    assert torch.equal(F.max_pool2d(x, 2).double(), theirs("max_pool2d", wide, 2))
    assert F.max_pool2d(x, 2).dtype == dtype
    assert torch.equal(npool.min_pool(x, (2, 2)).double(), -theirs("max_pool2d", -wide, 2))
    averages = npool.avg_pool(x, (2, 2)).double()
    torch.testing.assert_close(averages, theirs("avg_pool2d", wide, 2), rtol=1e-2, atol=0)
    assert npool.sum_pool(x, (2, 2)).dtype == {
        torch.bool: torch.int64, torch.int8: torch.int64, torch.uint16: torch.uint64,
        torch.uint64: torch.uint64, torch.int64: torch.int64, torch.bfloat16: torch.bfloat16,
    }[dtype]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*quantized tensor.*:UserWarning")
def test_what_is_no_dense_tensor_is_refused_in_words():
    with pytest.raises(TypeError, match=r"dtype torch.quint8.*use one of"):
        F.max_pool2d(torch.quantize_per_tensor(torch.rand(1, 4, 4), 0.1, 0, torch.quint8), 2)
    with pytest.raises(NotImplementedError, match=r"npool::max_pool.*Sparse"):
        npool.max_pool(torch.eye(4).to_sparse(), (2, 2))
    with pytest.raises(TypeError, match="complex"):
        F.max_pool2d(torch.zeros(1, 4, 4, dtype=torch.complex64), 2)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast_gives_torchs_types(half):
    shapes = {1: (1, 2, 8), 2: (1, 2, 8, 8), 3: (1, 2, 8, 8, 8)}
    for name in sorted(set(F.__all__) - {"ArgumentError"}):
        if "indices" in name or "unpool" in name:
            continue
        n = int(name[-2])
        args = (2.0, 2) if "lp" in name else (2,)
        kwargs = {"output_size": 3} if "fractional" in name else {}
        for dtype in (torch.float32, half, torch.float64):
            x = torch.rand(shapes[n]).to(dtype)
            with torch.autocast("cpu", dtype=half):
                assert getattr(F, name)(x, *args, **kwargs).dtype == theirs(
                    name, x, *args, **kwargs
                ).dtype, (name, dtype)  # fmt: skip


# --- any axes ------------------------------------------------------------------------------------


def test_any_axes_functions_take_tensors():
    rng = np.random.default_rng(2)
    array = rng.random((2, 5, 6, 3), np.float32)
    x = torch.from_numpy(array)
    calls = [
        (npool.max_pool, (2, 1, "same", 2), {"axes": (1, 2)}),
        (npool.min_pool, ((2, 3),), {"return_indices": True, "index_dtype": np.int32}),
        (npool.avg_pool, (3, 2, ((0, 2),)), {"axes": -2, "count_include_pad": False}),
        (npool.avg_pool, ((2, 2),), {"dtype": np.float64}),
        (npool.sum_pool, ((2, 2, 3),), {}),
        (npool.lp_pool, (3, (2, 2)), {}),
        (npool.pool, ((2, 2),), {"reduce": "logsumexp"}),
        (npool.pool, ((2, 2),), {"reduce": npool.Reducer("mine", lambda a, b: a + b, 0)}),
        (npool.adaptive_max_pool, ((3, 2),), {"axes": (1, 3), "return_indices": True}),
        (npool.adaptive_avg_pool, (4,), {"axes": 2}),
        (npool.adaptive_pool, ((3, 2),), {"reduce": "range"}),
    ]
    for function, args, kwargs in calls:
        want = function(array, *args, **kwargs)
        got = function(x, *args, **kwargs)
        want, got = (made if isinstance(made, tuple) else (made,) for made in (want, got))
        for tensor, expected in zip(got, want, strict=True):
            assert type(tensor) is torch.Tensor
            np.testing.assert_array_equal(tensor.numpy(), expected, strict=True)


def test_unpooling_and_fractional_pooling_take_tensors():
    array = np.random.default_rng(3).random((2, 6, 6))
    x = torch.from_numpy(array)
    values, places = npool.max_pool(array, (2, 2), return_indices=True)
    got = npool.max_unpool(torch.from_numpy(values), torch.from_numpy(places), (2, 2))
    np.testing.assert_array_equal(got.numpy(), npool.max_unpool(values, places, (2, 2)))
    samples = np.random.default_rng(4).random((2, 2))
    want = npool.fractional_max_pool(array, (2, 2), (3, 4), samples=samples)
    got = npool.fractional_max_pool(x, (2, 2), (3, 4), samples=torch.from_numpy(samples))
    np.testing.assert_array_equal(got.numpy(), want)
    drawn = [
        npool.fractional_max_pool(x, (2, 2), (3, 4), samples=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    assert torch.equal(*drawn)


def test_out_is_written_to_and_returned():
    x = torch.rand(3, 6, 6)
    out = torch.empty(3, 3, 3)
    assert npool.max_pool(x, (2, 2), out=out) is out
    assert torch.equal(out, theirs("max_pool2d", x, 2))
    values, indices = torch.empty(3, 3, 3), torch.empty(3, 3, 3, dtype=torch.int32)
    made = npool.max_pool(
        x, (2, 2), return_indices=True, index_dtype=torch.int32, out=(values, indices)
    )
    assert made[0] is values
    assert made[1] is indices
    want = theirs("max_pool2d", x, 2, return_indices=True)
    assert torch.equal(values, want[0])
    assert torch.equal(indices.long(), want[1])
    with pytest.raises(ValueError, match="out has shape"):
        npool.max_pool(x, (2, 2), out=torch.empty(3, 3, 4))
    with pytest.raises(RuntimeError, match="out= does not support automatic differentiation"):
        npool.max_pool(x.requires_grad_(), (2, 2), out=out)


def test_errors_of_any_axes_are_npools():
    for x in (torch.rand(3, 6, 6), torch.rand(3, 6, 6, requires_grad=True)):
        with pytest.raises(ValueError, match="does not say which axes"):
            npool.max_pool(x, 2)
        with pytest.raises(ValueError, match="count_include_pad and divisor_override are for"):
            npool.pool(x, (2, 2), reduce="max", count_include_pad=True)
        with pytest.raises(ValueError, match="does not fit axis 1"):
            npool.avg_pool(x, (7, 7))
        with pytest.raises(ValueError, match="is not known: use one of"):
            npool.pool(x, (2, 2), reduce="median?")
        with pytest.raises(TypeError, match="is not a dtype"):
            npool.avg_pool(x, (2, 2), dtype="nothing")


def test_a_reduction_without_a_gradient_says_so():
    x = torch.rand(3, 6, 6, requires_grad=True)
    y = npool.pool(x, (2, 2), reduce="range")
    with pytest.raises(RuntimeError, match="'range' has no gradient here"):
        y.sum().backward()
    mine = npool.Reducer("mine", lambda a, b: a + b, 0)
    with pytest.raises(RuntimeError, match="a reducer of your own"):
        npool.pool(x, (2, 2), reduce=mine)
    with torch.no_grad():
        assert npool.pool(x, (2, 2), reduce=mine).shape == (3, 3, 3)


def test_subclasses_and_parameters_are_tensors():
    parameter = torch.nn.Parameter(torch.rand(1, 4, 4))
    npool.max_pool(parameter, (2, 2)).sum().backward()
    assert int(parameter.grad.sum()) == 4

    class Mine(torch.Tensor):
        pass

    mine = torch.rand(1, 4, 4).as_subclass(Mine)
    got = npool.max_pool(mine, (2, 2))
    assert torch.equal(got.as_subclass(torch.Tensor), theirs("max_pool2d", mine, 2))


# --- modules -------------------------------------------------------------------------------------


def modules():
    for n in (1, 2, 3):
        yield f"MaxPool{n}d", (2,), {"return_indices": True, "ceil_mode": True}
        yield f"AvgPool{n}d", (2, 1), {"count_include_pad": False}
        yield f"LPPool{n}d", (2, 3), {}
        yield f"AdaptiveMaxPool{n}d", (2,), {}
        yield f"AdaptiveAvgPool{n}d", (3,), {}
        if n > 1:
            yield f"FractionalMaxPool{n}d", (2,), {"output_size": 3}


@pytest.mark.parametrize(("name", "args", "kwargs"), list(modules()))
def test_modules_are_torchs_but_for_forward(name, args, kwargs):
    mine, other = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert isinstance(mine, type(other))
    assert repr(mine) == repr(other)
    assert repr(pickle.loads(pickle.dumps(mine))) == repr(other)
    x = torch.rand(2, 3, *(8,) * int(name[-2]), requires_grad=True)
    answers = []
    for module in (mine, other):
        torch.manual_seed(3)
        made = module(x)
        answers.append(made if isinstance(made, tuple) else (made,))
    for got, want in zip(*answers, strict=True):
        torch.testing.assert_close(got, want)
    assert answers[0][0].grad_fn.name().startswith("npool_")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_modules(n):
    x = torch.rand(2, 3, *(7,) * n, requires_grad=True)
    results = []
    for room in (nn, torch.nn):
        values, places = getattr(room, f"MaxPool{n}d")(2, return_indices=True)(x)
        results.append(getattr(room, f"MaxUnpool{n}d")(2)(values, places, output_size=x.shape))
    assert torch.equal(*results)
    (mine,), (other,) = (torch.autograd.grad(y.square().sum(), x) for y in results)
    assert torch.equal(mine, other)


def test_the_module_for_all_that_torch_lacks():
    module = nn.Pool(2, 1, "same", 2, reduce="avg", axes=(1, 2), count_include_pad=False)
    x = torch.rand(2, 6, 7, 3)
    want = npool.avg_pool(x.numpy(), 2, 1, "same", 2, axes=(1, 2), count_include_pad=False)
    np.testing.assert_array_equal(module(x).numpy(), want)
    assert repr(module) == (
        "Pool(reduce='avg', kernel_size=2, stride=1, padding='same', dilation=2, axes=(1, 2), "
        "count_include_pad=False)"
    )


@pytest.mark.parametrize("differentiated", [False, True])
def test_windows_in_the_padding_have_torchs_positions(differentiated):
    """Dilated past the input, a window sees padding alone: torch says where it begins."""
    x = torch.rand(2, 1, 5, 5, requires_grad=differentiated)
    arguments = (x, 2, 1, 1, 6, False, True)
    got, want = F.max_pool2d(*arguments), theirs("max_pool2d", *arguments)
    assert torch.isneginf(want[0]).any()
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])
    if differentiated:
        # Such a window has no element to give its gradient to.
        (gradient,) = torch.autograd.grad(got[0], x, torch.ones_like(got[0]))
        assert int(gradient.sum()) == int(torch.isfinite(want[0]).sum())


def test_small_tensors_have_torchs_derivative(monkeypatch):
    """Where Python takes longer than torch, torch does it: the same bits, and npool's errors."""
    from npool.torch.functional import small

    monkeypatch.setattr(small, "FEW", 1 << 14)
    monkeypatch.setattr(small, "FEW_SHORT", 1 << 16)
    monkeypatch.setattr(small, "FEW_LAST", 1 << 16)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)

    def node(*args, **kwargs):
        return type(F.max_pool2d(*args, **kwargs).grad_fn).__name__

    assert node(x, 2).startswith("MaxPool2DWithIndicesBackward")
    for args in ((x, 2, 2, 0, (2, 2)), (x.half(), 2), (x, 9, 1), (x.repeat(1, 9, 1, 1), 2)):
        assert node(*args) == "npool_max_poolBackward", args[1:]
    assert F.max_pool1d(x[0], 2).grad_fn is not None
    long = torch.rand(1, 2, 20, 20, requires_grad=True).to(memory_format=torch.channels_last)
    for args in ((x, 3, 2, 1), (x, (2, 3)), (long, 5, 1, 2)):
        theirs, ours = torch.nn.functional.max_pool2d(*args), F.max_pool2d(*args)
        grad = torch.rand_like(theirs)
        assert torch.equal(theirs, ours)
        one, other = (torch.autograd.grad(y, args[0], grad)[0] for y in (theirs, ours))
        assert torch.equal(one, other)
    with pytest.raises(npool.functional.ArgumentError, match="pad should be at most half"):
        F.max_pool2d(x, 2, 1, 2)
