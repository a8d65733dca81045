"""Arrays on a device: which engine they reach, what it is asked to do, and what is refused."""

import mmap
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

from away import STREAM, Away, Executor, _held, call, on, send

import npool
from npool.cuda import calls, holders, launching
from npool.cuda.holders import aligned_to, held
from npool.dispatch import on_device
from npool.testing import oracle

ROOT = Path(__file__).resolve().parents[1]
EXECUTOR = Executor((9, 0))
X = np.arange(2 * 3 * 6 * 8, dtype=np.float32).reshape(2, 3, 6, 8)


def no_gpu():
    try:
        launching.Driver()
    except RuntimeError:
        return True
    return False


def test_where_an_array_lies():
    assert on_device(send(X))
    assert on_device(SimpleNamespace(__cuda_array_interface__={}))
    assert not any(on_device(x) for x in (X, [1.0], "x", None, SimpleNamespace()))

    class Shy:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("requires grad")

    assert not on_device(Shy())


def test_importing_npool_and_pooling_on_the_host_load_no_cuda_package():
    code = """
import sys, numpy, npool
npool.max_pool(numpy.zeros(4), (2,))
print([name for name in sys.modules if name.split(".")[0] in ("numba_cuda", "cuda", "cupy", "torch")
       or name.startswith(("numba.cuda.cudadrv", "npool.cuda"))])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=False, timeout=300)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.skipif(not no_gpu(), reason="there is a CUDA driver here")
def test_without_a_driver_there_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(holders.HOLDERS, "away", _held)
    with pytest.raises(RuntimeError) as caught:
        npool.max_pool(send(X), (2, 2))
    message = str(caught.value)
    assert "no CUDA driver" in message
    assert "install NVIDIA's driver, or pass a numpy.ndarray" in message
    assert "\n" not in message


def test_the_result_is_of_the_same_kind_order_and_stream():
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for x in (X, last, X[::-1, :, ::2]):
        got = call(npool.max_pool, EXECUTOR, x, kernel_size=(2, 2))
        wanted = npool.max_pool(x, (2, 2))
        np.testing.assert_array_equal(got, wanted)
        assert got.strides == wanted.strides
    with on(EXECUTOR) as executor:
        executor.reports.clear()
        assert isinstance(npool.avg_pool(send(X), (2, 2)), Away)
        ((step, report),) = executor.reports
    # Everything is read once and written once.
    assert (report.loaded, report.stored) == (X.nbytes, X.nbytes // 4)
    assert step.launch.form.load == 4


def test_nothing_is_launched_for_an_empty_batch():
    with on(EXECUTOR) as executor:
        executor.reports.clear()
        got = npool.max_pool(send(X[:0]), (2, 2))
        assert got.shape == (0, 3, 3, 4)
        assert not executor.reports


def test_out_is_written_in_place_or_refused():
    with on(EXECUTOR):
        x, out = send(X), send(np.zeros((4, 3, 3, 2), np.float32).T)
        assert npool.max_pool(x, (2, 2), out=out) is out
        np.testing.assert_array_equal(out.home(), npool.max_pool(X, (2, 2)))
        for wrong, error, words in [
            (send(np.zeros((2, 3, 3, 3), np.float32)), ValueError, "the result has shape"),
            (send(np.zeros((2, 3, 3, 4))), TypeError, "float64"),
            (Away(x.home()[..., :3, :4]), ValueError, "shares memory"),
            (send(np.broadcast_to(np.float32(0), (2, 3, 3, 4))), ValueError, "stride of 0"),
        ]:
            with pytest.raises(error, match=words):
                npool.max_pool(x, (2, 2), out=wrong)
        with pytest.raises(TypeError, match="cannot make results"):
            npool.max_pool(x, (2, 2), out=X)


def test_what_cannot_be_pooled_is_refused_in_words():
    with on(EXECUTOR):
        with pytest.raises(ValueError, match="the window does not fit"):
            npool.max_pool(send(X), (9, 9))
        with pytest.raises(TypeError, match="not in native byte order"):
            npool.max_pool(send(X.astype(">f4")), (2, 2))
        with pytest.raises(ValueError, match="not aligned"):
            npool.max_pool(send(X, offset=2), (2, 2))
    with pytest.raises(TypeError, match=r"away\.Away on a CUDA device, of which npool cannot make"):
        npool.max_pool(send(X), (2, 2))
    assert aligned_to([16, 32]) == 16
    assert aligned_to([16, 24]) == 8


def test_odd_addresses_are_read_without_wide_loads():
    for offset in (4, 8, 16):
        with on(EXECUTOR) as executor:
            executor.reports.clear()
            got = npool.max_pool(send(X, offset=offset), (2, 2))
            np.testing.assert_array_equal(got.home(), npool.max_pool(X, (2, 2)))
            form = executor.reports[0][0].launch.form
            assert form.load == {4: 1, 8: 2, 16: 4}[offset]


FUNCTIONAL = {
    "max_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "avg_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "lp_pool2d": {"norm_type": 2.0, "kernel_size": 3, "stride": 2},
    "adaptive_max_pool2d": {"output_size": (3, 2)},
    "adaptive_avg_pool2d": {"output_size": 2},
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_names_of_torch_take_arrays_on_a_device(name):
    face, arguments = getattr(npool.functional, name), FUNCTIONAL[name]
    got = call(face, EXECUTOR, X, **arguments)
    np.testing.assert_allclose(got, face(X, **arguments), rtol=1e-6)
    with on(EXECUTOR), pytest.raises(npool.functional.ArgumentError):
        face(send(X[0, 0]), **arguments)


def test_positions_and_integers_under_names_of_torch():
    whole = X.astype(np.int16)
    got = call(npool.functional.avg_pool2d, EXECUTOR, whole, kernel_size=2)
    np.testing.assert_array_equal(got, npool.functional.avg_pool2d(whole, 2))
    for got, wanted in zip(
        call(npool.functional.max_pool2d, EXECUTOR, X, kernel_size=2, return_indices=True),
        npool.functional.max_pool2d(X, 2, return_indices=True), strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(got, wanted)
    with on(EXECUTOR), pytest.raises(TypeError, match="wholly in the padding"):
        npool.functional.max_pool1d(send(X[0, 0, :1, :2]), 2, 1, 1, 3, return_indices=True)


def test_samples_are_checked():
    with on(EXECUTOR):
        x, one = send(X[0, 0]), np.array([[0.5]])
        for samples, error, words in [
            (send(one.astype(np.int64)), TypeError, "must be floats"),
            (send(np.zeros((5, 1))), ValueError, "does not broadcast"),
            (np.array([[1.5]]), ValueError, "between 0 and 1"),
            (0.5, TypeError, "cannot make results"),
        ]:
            with pytest.raises(error, match=words):
                npool.fractional_max_pool(x, (2,), (3,), samples=samples)
        got = npool.fractional_max_pool(x, (2,), (3,), samples=send(one))
    wanted = npool.fractional_max_pool(X[0, 0], (2,), (3,), samples=one)
    np.testing.assert_array_equal(got.home(), wanted)


# --- past 2**31 elements --------------------------------------------------------------------------


def far_apart(shape, strides):
    """An array whose elements lie so far apart; only the pages that are touched exist."""
    size = sum(s * (n - 1) for n, s in zip(shape, strides, strict=True)) + 4096
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
    except (OSError, ValueError):
        pytest.skip("the system gives no address space of some GiB")
    return np.ndarray(shape, np.float32, memory, 0, strides)


@pytest.mark.parametrize(
    ("shape", "strides", "wide"),
    [
        # Planes that lie past 2**31 elements, each of them small; and planes that do not fit.
        ((3, 5, 6), (1 << 33, 24, 4), False),
        ((2, 3, 6), (64, 3 << 32, 4), True),
    ],
)
def test_offsets_past_two_to_the_31(shape, strides, wide):
    x = far_apart(shape, strides)
    x[...] = np.random.default_rng(0).integers(-9, 9, shape)
    away = Away(x)
    with on(EXECUTOR) as executor:
        executor.reports.clear()
        got = npool.max_pool(away, (2, 3), 1)
        assert executor.reports[0][0].launch.form.wide is wide
        np.testing.assert_array_equal(got.home(), oracle.pool(np.array(x), (2, 3), 1))


# --- the driver -----------------------------------------------------------------------------------


class Api:
    """Stands in for cuda.bindings.driver: it answers, and remembers what it was asked."""

    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
    )

    def __init__(self, current=0, failing=()):
        self.asked, self.current, self.failing = [], current, failing

    def __getattr__(self, name):
        def answer(*arguments):
            self.asked.append((name, arguments))
            status = SimpleNamespace(name="CUDA_ERROR_INVALID_VALUE")
            code = type("Status", (int,), {"name": status.name})(1 if name in self.failing else 0)
            found = {
                "cuDeviceGet": 40,
                "cuDevicePrimaryCtxRetain": 77,
                "cuCtxGetCurrent": self.current,
                "cuModuleLoadData": "module",
                "cuModuleGetFunction": "function",
                "cuDeviceGetAttribute": {"major": 9, "minor": 0}.get([*arguments, None][0]),
            }
            return (code, found[name]) if name in found else (code,)

        return answer


def driven(api):
    driver = object.__new__(launching.Driver)
    driver.api, driver.contexts = api, {}
    return driver


@pytest.mark.parametrize("current", [77, 0])
def test_a_launch_asks_the_driver_for_no_more_than_it_needs(monkeypatch, current):
    api = Api(current)
    driver = driven(api)
    monkeypatch.setattr(launching, "_driver", driver)
    monkeypatch.setattr(launching, "_kernels", {})
    monkeypatch.setattr(launching, "_architectures", {})
    monkeypatch.setattr(calls, "held", lambda x, name="x": _held(x))
    monkeypatch.setitem(holders.HOLDERS, "away", _held)
    for _ in range(2):
        npool.max_pool(send(X), (2, 2))
    names = [name for name, _ in api.asked]
    assert names.count("cuLaunchKernel") == 2
    assert names.count("cuModuleLoadData") == 1, "a kernel is made once"
    assert (
        names.count("cuCtxPushCurrent")
        == names.count("cuCtxPopCurrent")
        == (0 if current == 77 else 3)
    )
    # Nothing is synchronised, nothing copied, nothing allocated behind the framework's back.
    assert not [n for n in names if "Sync" in n or "Memcpy" in n or "Mem" in n]
    (_, arguments) = [asked for asked in api.asked if asked[0] == "cuLaunchKernel"][-1]
    kernel, *dims, shared, stream, (values, kinds), extra = arguments
    assert (kernel, shared, stream, extra) == ("function", 0, STREAM, 0)
    assert len(dims) == 6
    assert len(values) == len(kinds)


def test_what_the_host_sends_keeps_to_the_stream():
    api = Api(77)
    array = np.arange(3.0)
    driven(api).upload(4096, array, 0, STREAM)
    assert api.asked[-1] == ("cuMemcpyHtoDAsync", (4096, array.ctypes.data, 24, STREAM))


def test_what_the_driver_refuses_is_said():
    with pytest.raises(RuntimeError, match="cuLaunchKernel failed: CUDA_ERROR_INVALID_VALUE"):
        driven(Api(77, ("cuLaunchKernel",))).launch("f", 0, 0, (1, 1, 1), (1, 1, 1), (), ())


def test_frameworks_are_read_by_their_own_words(monkeypatch):
    class Stream:
        cuda_stream = 123

    class Tensor:
        __module__ = "torch"
        dtype, shape = "torch.float32", (2, 3)
        device = SimpleNamespace(index=1)

        def data_ptr(self):
            return 4096

        def stride(self):
            return 3, 1

    made = []
    torch = SimpleNamespace(
        cuda=SimpleNamespace(current_stream=lambda _: Stream), float32="f32",
        empty_strided=lambda *a, **k: made.append((a, k)),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    about = held(Tensor())
    assert (about.address, about.device, about.stream, about.strides) == (4096, 1, 123, (12, 4))
    assert about.extent == (4096, 4096 + 24)
    about.empty((2, 2), (2, 1), np.dtype(np.float32))
    torch.is_grad_enabled, Tensor.requires_grad = (lambda: True), True
    with pytest.raises(TypeError, match=r"pass x\.detach\(\)"):
        held(Tensor())
    assert made == [(((2, 2), (2, 1)), {"dtype": "f32", "device": Tensor.device})]
