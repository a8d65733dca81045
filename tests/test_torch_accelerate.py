"""`npool.torch.accelerate`: the same answers from torch's own operators, and all undone on exit."""

import os
import threading
import warnings

import pytest
from fresh_process import check_runs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

import torch.nn.functional as TF

import npool
import npool.torch as nt
from npool.torch import acceleration, serving

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
aten = torch.ops.aten


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    # What is worth serving goes by torch's threads: the same on every machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    assert acceleration._count == 0
    assert acceleration._library is None
    assert acceleration._reports == ()


@pytest.fixture
def served_always(monkeypatch):
    """Serve calls however small they are: what is tested is the answer, not the choice."""
    monkeypatch.setattr(serving, "TINY", 0)
    monkeypatch.setattr(acceleration, "TINY", 0)
    monkeypatch.setattr(serving, "BIN", serving.NEVER)
    for kind in serving.WORTH:
        monkeypatch.setitem(serving.WORTH, kind, serving.Worth(0, 0, 0))


def tensors(n, dtype=torch.float32):
    """Contiguous, channels-last where torch has it, and without a batch."""
    torch.manual_seed(n)
    shape = (2, 3, *(9, 8, 7)[:n])
    x = torch.randint(-9, 10, shape).to(dtype)
    if dtype.is_floating_point:
        x[0, 0].view(-1)[3] = torch.nan
    yield x
    yield x[0].clone()
    if n > 1:
        last = {2: torch.channels_last, 3: torch.channels_last_3d}[n]
        yield x.to(memory_format=last)


def calls(n):
    """``(operator, arguments)`` on whose answers npool and torch agree to the last bit or so."""
    two = [2] * n
    window, wide = ([3] * n, [2] * n, [1] * n), ([2] * n, [1] * n, [1] * n)
    if n == 1:
        yield "max_pool1d", ([3], [2], [1], [1], True)
        yield "max_pool1d", ([2],)
        return
    yield f"max_pool{n}d", (*window, two, True)
    yield f"max_pool{n}d", (two,)
    yield f"max_pool{n}d_with_indices", (*window, two, True)
    yield f"max_pool{n}d_with_indices", (two,)
    yield f"avg_pool{n}d", (*window, True, False, None)
    yield f"avg_pool{n}d", (*wide, False, True, 3)
    yield f"avg_pool{n}d", (two,)
    yield f"adaptive_max_pool{n}d", ([3, 2, 4][:n],)
    yield f"_adaptive_avg_pool{n}d", ([3, 2, 4][:n],)


def counted(report, operator):
    return sum(times for call, times in report.calls.items()
               if call.operator == operator and not call.reason)  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_answers_are_torchs(n, dtype, served_always):
    looked_at = 0
    for name, arguments in calls(n):
        for x in tensors(n, dtype):
            operator = getattr(aten, name).default
            if dtype.itemsize == 2 and name == "avg_pool3d":
                with nt.accelerate(), pytest.raises(NotImplementedError):  # as without
                    operator(x, *arguments)
                continue
            want = operator(x, *arguments)
            with nt.accelerate(report=True) as report:
                got = operator(x, *arguments)
            served = counted(report, name)
            # torch's own averages and bins of a channels-last volume are contiguous.
            kept = x.is_contiguous() or n == 2 or name.startswith("max")
            assert served == kept, (
                name, str(report),
            )  # fmt: skip
            looked_at += served
            for mine, other in zip(
                got if isinstance(got, tuple) else (got,),
                want if isinstance(want, tuple) else (want,), strict=True,
            ):  # fmt: skip
                tolerance = 2e-2 if dtype.itemsize == 2 and "avg" in name else None
                torch.testing.assert_close(
                    mine, other, equal_nan=True, rtol=tolerance, atol=tolerance
                )
                assert mine.stride() == other.stride()
                assert mine.dtype == other.dtype
    assert looked_at >= 4


def gradients(n):
    window = ([3] * n, [2] * n, [1] * n)
    yield f"max_pool{n}d_with_indices", (*window, [1] * n, True)
    yield f"avg_pool{n}d", (*window, True, False, None)
    yield f"adaptive_max_pool{n}d", ([3, 2, 4][:n],)
    yield f"_adaptive_avg_pool{n}d", ([3, 2, 4][:n],)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("expanded", [False, True], ids=["dense", "expanded"])
def test_gradients_are_torchs(n, expanded, served_always):
    for name, arguments in gradients(n):
        for x in tensors(n):
            given = x.nan_to_num().requires_grad_()
            made = getattr(aten, name).default(given, *arguments)
            y = made[0] if isinstance(made, tuple) else made
            grad = torch.ones(()).expand(y.shape) if expanded else torch.randn_like(y)
            (want,) = torch.autograd.grad(y, given, grad, retain_graph=True)
            with nt.accelerate(report=True) as report:
                (got,) = torch.autograd.grad(y, given, grad)
            torch.testing.assert_close(got, want)
            backward = f"{name}_backward"
            kept = x.is_contiguous() or (n == 2 and "max" not in name)
            assert counted(report, backward) == kept, str(report)
            if kept:
                assert got.stride() == want.stride()


@pytest.mark.parametrize("n", [2, 3])
def test_variants_that_write_to_the_callers_tensors(n, served_always):
    x = torch.rand(2, 3, *(9, 8, 7)[:n])
    two = [2] * n
    values, indices = getattr(aten, f"max_pool{n}d_with_indices").default(x, two)
    average = getattr(aten, f"avg_pool{n}d").default(x, two)
    with nt.accelerate(report=True) as report:
        out, places = torch.empty_like(values), torch.empty_like(indices)
        made = getattr(aten, f"max_pool{n}d_with_indices").out(x, two, out=out, indices=places)
        assert made[0] is out
        assert torch.equal(out, values)
        assert torch.equal(places, indices)
        mean = torch.empty_like(average)
        getattr(aten, f"avg_pool{n}d").out(x, two, out=mean)
        torch.testing.assert_close(mean, average)
        wrong = torch.empty(0)
        getattr(aten, f"avg_pool{n}d").out(x, two, out=wrong)  # torch makes it larger
        torch.testing.assert_close(wrong, average)
    assert counted(report, f"max_pool{n}d_with_indices.out") == 1
    assert counted(report, f"avg_pool{n}d.out") == 1


def test_errors_are_torchs(served_always):
    x = torch.rand(1, 2, 8, 8)
    for call in (
        lambda: TF.max_pool2d(x, 3, padding=2),
        lambda: TF.max_pool2d(x, 0),
        lambda: TF.avg_pool2d(x, 2, divisor_override=0),
        lambda: TF.avg_pool2d(x, 9),
        lambda: TF.adaptive_avg_pool2d(x, (-1, 2)),
        lambda: TF.max_pool2d(torch.rand(3, 3), 2),
        lambda: TF.max_pool2d(torch.rand(2, 2, 2, 2, 2), 2),
        lambda: TF.avg_pool2d(torch.rand(2, 0, 4, 4), 2),
        lambda: TF.max_pool2d(torch.rand(1, 4, 4).to(torch.complex64), 2),
    ):
        with pytest.raises(RuntimeError) as want:
            call()
        with nt.accelerate(), pytest.raises(RuntimeError) as got:
            call()
        assert str(got.value) == str(want.value)


def test_windows_in_the_padding_have_torchs_positions(served_always):
    x = torch.rand(1, 1, 3, 3)
    arguments = (x, [4, 4], [1, 1], [2, 2], [5, 5])
    with pytest.raises(RuntimeError):
        aten.max_pool2d_with_indices.default(*arguments)
    arguments = (torch.rand(1, 1, 5, 5), [2, 2], [1, 1], [1, 1], [6, 6])
    want = aten.max_pool2d_with_indices.default(*arguments)
    with nt.accelerate(report=True) as report:
        got = aten.max_pool2d_with_indices.default(*arguments)
    assert counted(report, "max_pool2d_with_indices") == 1
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


# --- what is chosen ------------------------------------------------------------------------------


def reasons(call, **options):
    with nt.accelerate(report=True, **options) as report:
        call()
    return {call.operator: call.reason for call in report.calls}


def test_what_is_left_to_torch_and_why():
    large = torch.rand(4, 16, 64, 64)
    for call, operator, reason in (
        (lambda: TF.max_pool2d(torch.rand(1, 1, 4, 4), 2), "max_pool2d_with_indices", "small"),
        (lambda: TF.avg_pool2d(large, 2), "avg_pool2d", ""),
        (lambda: TF.max_pool2d(large, 2), "max_pool2d", ""),
        (lambda: TF.max_pool1d(large[0], 2), "max_pool1d", ""),
        (lambda: TF.max_pool1d(large[0, :1, :4], 2), "max_pool1d", "small"),
        (
            lambda: TF.max_pool2d(large.clone().requires_grad_(), 2),
            "max_pool2d_with_indices", "",
        ),
        (lambda: TF.avg_pool2d(large.long(), 2), "avg_pool2d", "dtype int64"),
        (lambda: TF.avg_pool2d(large.transpose(2, 3), 2), "avg_pool2d", "memory format"),
        (
            lambda: TF.avg_pool2d(large.to(memory_format=torch.channels_last), 2),
            "avg_pool2d", "channels_last, where torch is as fast",
        ),
        (
            lambda: TF.max_pool2d(large.to(memory_format=torch.channels_last), 5, 1, 2),
            "max_pool2d", "",
        ),
        (lambda: TF.adaptive_avg_pool2d(large, 7), "_adaptive_avg_pool2d", ""),
    ):  # fmt: skip
        assert reasons(call)[operator] == reason, operator


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_worth_it(threads):
    def last(*shape):
        return torch.rand(shape).contiguous(memory_format=torch.channels_last)

    torch.set_num_threads(threads)  # undone by a fixture of this module
    image, short, bins = last(8, 3, 224, 224), torch.rand(16, 64, 10, 10), torch.rand(8, 64, 28, 28)
    as_fast, two = "channels_last, where torch is as fast", threads == 2
    for call, reason in (
        # Few channels last, and as many elements of more.
        (lambda: TF.max_pool2d(image, 2), ""),
        (lambda: TF.avg_pool2d(image, 2), ""),
        (lambda: aten.max_pool2d_with_indices(image, [2, 2]), ""),
        (lambda: TF.max_pool2d(last(8, 16, 128, 128), 2), ""),
        (lambda: TF.max_pool2d(last(8, 16, 128, 128).double(), 2), as_fast),
        (lambda: TF.max_pool2d(last(8, 24, 80, 80), 2), as_fast),
        (lambda: TF.max_pool2d(last(2, 3, 128, 128), 2), as_fast),
        # Channels last where windows overlap: several threads of torch are up to more.
        (lambda: TF.max_pool2d(last(1, 32, 32, 64), 3, 1, 1), as_fast if two else ""),
        (lambda: TF.max_pool2d(last(1, 64, 64, 64), 3, 1, 1), ""),
        (
            lambda: aten.max_pool2d_with_indices(last(8, 64, 32, 32), [5, 5], [1, 1], [2, 2]),
            as_fast,
        ),
        # Short rows, by how much windows overlap.
        (lambda: TF.avg_pool2d(short, 2), "short rows"),
        (lambda: TF.avg_pool2d(short, 3, 1, 1), ""),
        # Bins, by their elements.
        (lambda: TF.adaptive_max_pool2d(bins, 7), ""),
        (lambda: TF.adaptive_max_pool2d(bins, 4), "torch is as fast"),
        (lambda: TF.adaptive_avg_pool2d(bins, 4), "small" if two else ""),
        (lambda: TF.adaptive_avg_pool2d(torch.rand(8, 64, 56, 56), 4), ""),
    ):  # fmt: skip
        assert set(reasons(call).values()) == {reason}, call.__code__.co_firstlineno


def test_the_report_is_a_table():
    x = torch.rand(1, 8, 64, 64)
    with nt.accelerate(report=True) as report, torch.no_grad():
        torch.nn.MaxPool2d(2)(x)
        torch.nn.MaxPool2d(2)(x)
        torch.nn.MaxPool2d(2)(x[..., :4, :4])
    lines = str(report).splitlines()
    assert lines[0].split() == ["calls", "operator", "dtype", "shape", "ran", "by"]
    assert lines[1].split() == ["2", "max_pool2d", "float32", "1x8x64x64", "npool"]
    assert lines[2].split()[-2:] == ["torch:", "small"]
    with nt.accelerate() as silent:
        torch.nn.MaxPool2d(2)(x)
    assert not silent.calls
    assert "accelerate(report=True)" in str(silent)
    with pytest.raises(TypeError, match="report must be True or False, got 'yes'"):
        nt.accelerate(report="yes")


def test_no_more_threads_than_torch_uses(monkeypatch):
    seen = []
    inner = npool.functional.max_pool2d
    served = next(one for one in serving.SERVED if one.name == "max_pool2d")
    closure = served.answer.__closure__
    cell = next(c for c in closure if c.cell_contents is inner)
    monkeypatch.setattr(
        cell, "cell_contents", lambda *a: (seen.append(npool.get_num_threads()), inner(*a))[1]
    )
    before, ours = torch.get_num_threads(), npool.get_num_threads()
    try:
        npool.set_num_threads(4)
        for threads in (1, 3):
            torch.set_num_threads(threads)
            with nt.accelerate(), torch.no_grad():
                TF.max_pool2d(torch.rand(4, 16, 64, 64), 2)
    finally:
        torch.set_num_threads(before)
        npool.set_num_threads(ours)
    assert seen == [1, 3]


# --- on and off ----------------------------------------------------------------------------------


def kernels():
    """What would run for each of torch's operators, as torch prints it."""
    return [torch._C._dispatch_dump(f"aten::{served.name}") for served in serving.SERVED]


def test_all_is_undone():
    before = kernels()
    outer = nt.accelerate()
    during = kernels()
    assert all(one != other for one, other in zip(before, during, strict=True))
    inner = nt.accelerate()
    outer.undo()
    outer.undo()  # once more changes nothing
    assert kernels() == during, "an acceleration that is in force was undone"
    inner.undo()
    assert kernels() == before
    with pytest.raises(ZeroDivisionError), nt.accelerate():
        1 / 0
    assert kernels() == before


def test_a_failure_on_the_way_leaves_nothing(monkeypatch):
    before = kernels()
    broken = (*serving.SERVED, serving.Served("no_such_pool", lambda x: x))
    monkeypatch.setattr(acceleration, "SERVED", broken)
    with pytest.raises(RuntimeError, match="no_such_pool"):
        nt.accelerate()
    assert kernels() == before


def test_importing_changes_nothing_and_warns_of_nothing():
    code = """
        import torch, npool.torch
        x = torch.rand(1, 16, 64, 64)
        before = torch._C._dispatch_dump("aten::max_pool2d_with_indices")
        want = torch.nn.functional.max_pool2d(x, 2)
        with npool.torch.accelerate():
            assert torch._C._dispatch_dump("aten::max_pool2d_with_indices") != before
            assert torch.equal(torch.nn.functional.max_pool2d(x, 2), want)
        assert torch._C._dispatch_dump("aten::max_pool2d_with_indices") == before
        print("ok")
    """
    assert check_runs(code) == "ok\n"


def model():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.MaxPool2d(3, 2, 1), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.AvgPool2d(3, 1, 1),
        torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(256, 5),
    )  # fmt: skip


def trained(x, net, steps=2):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]


def test_training_in_four_threads_at_once():
    torch.manual_seed(9)
    inputs = [torch.rand(2, 3, 64, 64) for _ in range(4)]
    want = [trained(x, model()) for x in inputs]
    # Made beforehand: the generator that fills them is one for all threads.
    nets, got = [model() for _ in inputs], [None] * 4

    def work(i):
        with nt.accelerate(report=True) as report:  # each comes and goes as it likes
            got[i] = (trained(inputs[i], nets[i]), counted(report, "max_pool2d_with_indices"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (mine, served), other in zip(got, want, strict=True):
        assert served >= 2
        for one, two in zip(mine, other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_dataloader_workers_pool_inside():
    """Four forked workers, after calls on all threads here; each pools by torch's own names."""
    code = """
        import warnings
        warnings.simplefilter("ignore")
        import torch, npool, npool.torch as nt

        class Pictures(torch.utils.data.Dataset):
            def __len__(self):
                return 12

            def __getitem__(self, i):
                x = torch.full((8, 96, 96), float(i)) + torch.arange(96.0)
                with nt.accelerate(report=True) as report:
                    y = torch.nn.functional.max_pool2d(x, 3, 2, 1)
                    z = npool.avg_pool(x, (2, 2))
                served = sum(n for call, n in report.calls.items() if not call.reason)
                return y, z, served

        npool.set_num_threads(2)
        npool.max_pool(torch.rand(64, 512, 512), (2, 2))
        outer = nt.accelerate()
        loader = torch.utils.data.DataLoader(
            Pictures(), batch_size=3, num_workers=4, multiprocessing_context="fork"
        )
        seen = 0
        for _ in range(2):
            for y, z, served in loader:
                for one in range(len(y)):
                    i = float(y[one, 0, 0, 0]) - 1
                    x = torch.full((8, 96, 96), i) + torch.arange(96.0)
                    outer.undo()
                    assert torch.equal(y[one], torch.nn.functional.max_pool2d(x, 3, 2, 1))
                    assert torch.equal(z[one], torch.nn.functional.avg_pool2d(x, 2))
                    assert int(served[one]) == 1
                    seen += 1
        print(seen)
    """
    assert check_runs(code) == "24\n"


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_models_are_served_too(backend):
    x = torch.rand(2, 3, 64, 64)
    want = trained(x, model())
    torch._dynamo.reset()
    with nt.accelerate():
        net = torch.compile(model(), backend=backend, fullgraph=True)
        net(x).square().sum().backward()
        got = net(x)
    torch._dynamo.reset()
    torch.testing.assert_close(got, model()(x))
    assert want


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_transforms_under_acceleration(served_always):
    f = lambda x: TF.max_pool2d(x, 2).square().sum()  # noqa: E731
    x = torch.rand(3, 2, 8, 8)
    want = torch.func.vmap(torch.func.grad(f))(x), torch.func.jvp(f, (x,), (x,))
    with nt.accelerate():
        got = torch.func.vmap(torch.func.grad(f))(x), torch.func.jvp(f, (x,), (x,))
    torch.testing.assert_close(got, want)
