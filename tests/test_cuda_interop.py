"""Arrays on a device by whose they are: Numba's, CuPy's, and any that speak a protocol.

None of these frameworks is here with a device. Numba's arrays are its own over memory of the host;
for CuPy, and for one that npool does not know by name, stands a module with the same words.
"""

import ctypes
import gc
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install npool[cuda]")

from away import STREAM, Executor, know, on

import npool
from npool.cuda import dlpack, toolkit
from npool.cuda.holders import held
from npool.dispatch import on_device

THEIRS = 0x7E15
EXECUTOR = Executor((9, 0), ((9, 0),), also=(1, 2, THEIRS))
X = np.random.default_rng(0).integers(-99, 99, (2, 3, 6, 8)).astype(np.float32)
LAST = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.fixture
def executor():
    gc.collect()
    EXECUTOR.asked.clear()
    EXECUTOR.reports.clear()
    EXECUTOR.streams.clear()
    with on(EXECUTOR):
        yield EXECUTOR
        gc.collect()
        assert not EXECUTOR.owned, "memory was not given back"


def borrowed(array):
    """The memory of an array, which this does not keep alive."""
    low, high = np.lib.array_utils.byte_bounds(array)
    return np.frombuffer((ctypes.c_uint8 * (high - low)).from_address(low), np.uint8)


def address_of(array):
    return array.__array_interface__["data"][0]


# --- Numba ----------------------------------------------------------------------------------------


class Gpus(list):
    """Numba's list of GPUs; `current` is the one that memory is taken from."""

    current = 0

    def __getitem__(self, number):
        @contextmanager
        def entered():
            before, self.current = self.current, number
            yield
            self.current = before

        return entered()


@pytest.fixture
def numba_array(monkeypatch):
    from numba.cuda.cudadrv.devicearray import DeviceNDArray

    gpus = Gpus()

    def array(shape, dtype, strides=None, number=None, stream=STREAM):
        host = np.zeros(shape, dtype)
        if strides is not None:
            host = np.lib.stride_tricks.as_strided(host, shape, strides)
        number = gpus.current if number is None else number
        memory = SimpleNamespace(
            device_ctypes_pointer=ctypes.c_void_p(address_of(host)), _cuda_memsize_=host.nbytes,
            context=SimpleNamespace(device=SimpleNamespace(id=number)), host=host,
        )  # fmt: skip
        know(host)
        return DeviceNDArray(shape, host.strides, dtype, stream, memory)

    asked = SimpleNamespace(device_array=lambda size, dtype: array((size,), dtype), gpus=gpus)
    monkeypatch.setattr(toolkit, "cuda", asked)

    def send(x, **named):
        made = array(x.shape, x.dtype, x.strides, **named)
        np.lib.stride_tricks.as_strided(made.gpu_data.host, x.shape, x.strides)[...] = x
        return made

    return send


def test_numba(executor, numba_array):
    for x in (X, LAST):
        for number in (0, 1):
            away = numba_array(x, number=number, stream=STREAM + number)
            got = npool.max_pool(away, (2, 2))
            wanted = npool.max_pool(x, (2, 2))
            assert type(got) is type(away)
            assert (got.shape, got.strides, got.dtype) == (wanted.shape, wanted.strides, x.dtype)
            assert got.gpu_data.context.device.id == number
            assert got.stream == away.stream == executor.streams[-1][1]
            flat = got.gpu_data.host
            found = np.lib.stride_tricks.as_strided(flat, wanted.shape, wanted.strides)
            np.testing.assert_array_equal(found, wanted)
    assert not executor.asked


def test_numba_without_a_stream(numba_array):
    assert held(numba_array(X, stream=0)).stream == 0


# --- CuPy -----------------------------------------------------------------------------------------


class Pointer:
    def __init__(self, host, number):
        self.host, self.ptr, self.number = host, address_of(host), number


@pytest.fixture
def cupy(monkeypatch):
    """A module with the words of CuPy's that are used, and no others."""
    module, state = ModuleType("cupy"), SimpleNamespace(current=0, made=[])

    class ndarray:
        def __init__(self, shape, dtype, memptr, strides):
            self.shape, self.dtype, self.strides = shape, np.dtype(dtype), strides
            self.data, self.device = memptr, SimpleNamespace(id=memptr.number)
            know(memptr.host)

        def __dlpack_device__(self):
            return 2, self.device.id

        def home(self):
            return np.ndarray(self.shape, self.dtype, self.data.host, 0, self.strides)

        def __array__(self, *_args, **_kwargs):
            raise TypeError("Implicit conversion to a NumPy array is not allowed")

    @contextmanager
    def device(number):
        before, state.current = state.current, number
        yield
        state.current = before

    def empty(size, dtype):
        state.made.append(np.full(size, 77, dtype))
        memory = Pointer(state.made[-1], state.current)
        return ndarray((size,), dtype, memory, (np.dtype(dtype).itemsize,))

    ndarray.__module__ = "cupy"
    module.ndarray, module.empty = ndarray, empty
    module.cuda = SimpleNamespace(
        Device=device, get_current_stream=lambda: SimpleNamespace(ptr=STREAM + state.current)
    )

    def send(x, number):
        host = x.copy(order="K")
        flat = np.ndarray((x.size,), x.dtype, host.transpose(np.argsort(x.strides)[::-1]))
        return ndarray(x.shape, x.dtype, Pointer(flat, number), x.strides)

    module.send, module.state = send, state
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_cupy(executor, cupy):
    for x in (X, LAST):
        for number in (0, 1):
            away = cupy.send(x, number)
            values, places = npool.max_pool(away, (3, 3), 2, 1, return_indices=True)
            wanted = npool.max_pool(x, (3, 3), 2, 1, return_indices=True)
            for got, one in zip((values, places), wanted, strict=True):
                assert type(got) is cupy.ndarray
                assert (got.device.id, got.dtype, got.strides) == (number, one.dtype, one.strides)
                np.testing.assert_array_equal(got.home(), one)
            assert executor.streams[-1] == (number, STREAM + number)
    # Two results a call, by CuPy's allocator, and nothing else of anybody's.
    assert len(cupy.state.made) == 2 * len(executor.reports) == 8
    assert not executor.asked
    assert cupy.state.current == 0


def test_cupy_arrays_of_two_devices_are_refused(executor, cupy):
    out = cupy.send(np.zeros((2, 3, 3, 4), np.float32), 1)
    with pytest.raises(ValueError, match="out lies on device 1, and x on device 0"):
        npool.max_pool(cupy.send(X, 0), (2, 2), out=out)
    assert not executor.reports


# --- any framework that speaks DLPack -------------------------------------------------------------


class Foreign:
    """An array of a framework that npool has never heard of, whose capsules are NumPy's."""

    versions, kind, number = True, 2, 0

    def __init__(self, host):
        self._host, self.asked = host, []
        know(borrowed(host))

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: f"foreign.{self._host.dtype}")

    def __dlpack_device__(self):
        return self.kind, self.number

    def __dlpack__(self, *, stream=None, max_version=None):
        if max_version is not None and not self.versions:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.asked.append(stream)
        return self._host.__dlpack__(max_version=max_version if self.versions else None)

    def __array__(self, *_args, **_kwargs):
        raise AssertionError("an array on a device was copied to the host")

    def home(self):
        return self._host


class AsHost:
    """What an importer sees of a capsule's owner, but for the type of its device."""

    def __init__(self, owner, version):
        self.owner, self.version = owner, version

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        return self.owner.__dlpack__(stream=THEIRS, max_version=self.version)


@pytest.fixture(params=[(1, 0), None], ids=["versioned", "unversioned"])
def foreign(monkeypatch, request):
    """A framework whose arrays know it as their namespace; NumPy reads npool's capsules for it."""

    def from_dlpack(owner):
        assert owner.__dlpack_device__() == (2, 0)
        with monkeypatch.context() as patch:
            patch.setattr(dlpack, "_CUDA", 1)
            host = np.from_dlpack(AsHost(owner, request.param))
        # Of old capsules NumPy makes arrays that are not written to.
        low, _ = np.lib.array_utils.byte_bounds(host)
        memory = borrowed(host), address_of(host) - low
        made = Strange(np.ndarray(host.shape, host.dtype, *memory, host.strides))
        made.owner = host
        return made

    space = SimpleNamespace(from_dlpack=from_dlpack)

    class Strange(Foreign):
        versions = request.param is not None

        def __array_namespace__(self):
            return space

    return Strange


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint16", "int64", "bool"])
def test_dlpack(executor, foreign, dtype):
    for x in (X.astype(dtype), LAST.astype(dtype), X.astype(dtype)[:, ::-1, ::2]):
        if not foreign.versions and dtype == "bool":
            continue  # NumPy's old capsules have none
        executor.asked.clear()
        away = foreign(x)
        got = npool.max_pool(away, (2, 2), return_indices=True)
        for one, wanted in zip(got, npool.max_pool(x, (2, 2), return_indices=True), strict=True):
            assert type(one) is foreign
            assert one.home().dtype == wanted.dtype
            assert one.home().strides == wanted.strides
            np.testing.assert_array_equal(one.home(), wanted)
        # It was asked to be ready on the stream of the launch, and theirs waits for that.
        assert away.asked == [1]
        assert executor.streams[-1] == (0, 1)
        assert [what for what, *_ in executor.asked] == ["allocate"] * 2 + ["order"] * 2
        assert executor.asked[-1] == ("order", 0, 1, THEIRS)
        del got, one


def test_memory_lives_as_long_as_the_result(executor, foreign):
    big = foreign(np.arange(200.0, dtype=np.float32).reshape(1, 200))
    got = npool.max_pool(big, (150,), 1)
    gc.collect()
    assert len(executor.owned) == 1, "the buffers were given back"
    np.testing.assert_array_equal(got.home(), npool.max_pool(big.home(), (150,), 1))
    assert executor.asked[-1] != ("free", 0, 1)
    del got
    gc.collect()
    assert executor.asked[-1] == ("free", 0, 1)
    assert not executor.owned


def test_gradients_and_samples_by_dlpack(executor, foreign):
    values, places = npool.max_pool(foreign(X), (2, 2), return_indices=True)
    got = npool.max_pool_backward(values, places, X.shape, (2, 2))
    flat, at = npool.max_pool(X, (2, 2), return_indices=True)
    np.testing.assert_array_equal(got.home(), npool.max_pool_backward(flat, at, X.shape, (2, 2)))
    assert type(got) is type(npool.max_unpool(values, places, (2, 2))) is foreign
    samples = np.full((2, 3, 2), 0.4)
    got = npool.fractional_max_pool(foreign(X), (2, 2), (3, 3), samples=foreign(samples))
    wanted = npool.fractional_max_pool(X, (2, 2), (3, 3), samples=samples)
    np.testing.assert_array_equal(got.home(), wanted)
    assert executor.reports


def test_a_framework_that_takes_no_capsules(executor):
    """Its arrays are read; results go where the caller has a place for them."""
    with pytest.raises(TypeError, match=r"Foreign on a CUDA device, .* give out=, or pass"):
        npool.max_pool(Foreign(X), (2, 2))
    out = Foreign(np.zeros((2, 3, 3, 4), np.float32))
    assert npool.max_pool(Foreign(X), (2, 2), out=out) is out
    np.testing.assert_array_equal(out.home(), npool.max_pool(X, (2, 2)))
    shut = Foreign(np.zeros((2, 3, 3, 4), np.float32))
    shut.home().flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        npool.max_pool(Foreign(X), (2, 2), out=shut)


def test_the_package_of_a_class_is_its_namespace(executor, monkeypatch):
    class Array(Foreign):
        pass

    taken = []
    module = ModuleType("strange")
    module.from_dlpack = lambda owner: taken.append(owner) or "an array of strange's"
    Array.__module__ = "strange.core"
    monkeypatch.setitem(sys.modules, "strange", module)
    assert npool.max_pool(Array(X), (2, 2)) == "an array of strange's"
    (owner,) = taken
    assert owner.__dlpack_device__() == (2, 0)


def test_what_dlpack_may_say_and_npool_refuses(executor):
    class Odd(Foreign):
        def __dlpack__(self, **_):
            return "no capsule"

    with pytest.raises(TypeError, match="gave no DLPack capsule, but 'no capsule'"):
        npool.max_pool(Odd(X), (2, 2))
    with pytest.raises(TypeError, match="DLPack's 7, 8 bits, 2 lanes"):
        dlpack._dtype_of(dlpack._Type(7, 8, 2), "x")
    if sys.modules.get("ml_dtypes") or pytest.importorskip("ml_dtypes"):
        kind = dlpack._dtype_of(dlpack._Type(4, 16, 1), "x")
        assert kind.name == "bfloat16"
        assert dlpack._type(kind).code == 4
    pinned = Foreign(X)
    pinned.kind = 3  # memory of the host, though CUDA's
    assert not on_device(pinned)
    pinned.kind = 13  # managed
    assert on_device(pinned)


def test_a_capsule_that_nobody_took_frees_its_memory(executor):
    memory = dlpack.Memory(executor, 64, 0, 1)
    shared = dlpack.Shared(memory, (4, 4), (4, 1), np.dtype(np.float32))
    del memory
    for version in ((1, 0), None):
        capsule = shared.__dlpack__(stream=-1, max_version=version)
        assert len(dlpack._given) == 1
        del capsule
        assert not dlpack._given
    assert [what for what, *_ in executor.asked] == ["allocate"], "-1 asks for no order"
    for wrong in ({"copy": True}, {"dl_device": (1, 0)}):
        with pytest.raises(BufferError, match="without a copy"):
            shared.__dlpack__(**wrong)
    del shared
    assert executor.asked[-1] == ("free", 0, 1)


# --- and __cuda_array_interface__ -----------------------------------------------------------------


class Described:
    """An array of which only ``__cuda_array_interface__`` speaks."""

    def __init__(self, host, **more):
        know(host)
        about = dict(host.__array_interface__)
        if host.flags.c_contiguous:
            about["strides"] = None
        self.host, self.__cuda_array_interface__ = host, {**about, **more}
        self.shape = host.shape


@pytest.mark.parametrize(
    ("more", "stream"),
    [({"version": 2}, 1), ({"version": 2, "stream": THEIRS}, 1), ({"version": 3}, 1),
     ({"version": 3, "stream": None}, 1), ({"version": 3, "stream": 1}, 1),
     ({"version": 3, "stream": 2}, 2), ({"version": 3, "stream": THEIRS}, THEIRS)],
    ids=str,
)  # fmt: skip
def test_streams_of_the_interface(executor, more, stream):
    """What it names from version 3 on is where the kernel goes; else the default stream."""
    for x in (X, LAST):
        out = Described(np.zeros((2, 3, 3, 4), np.float32), **more)
        assert npool.max_pool(Described(x, **more), (2, 2), out=out) is out
        np.testing.assert_array_equal(out.host, npool.max_pool(x, (2, 2)))
        assert executor.streams[-1] == (0, stream)
    # Whose memory it is only the driver knows.
    assert {what for what, *_ in executor.asked} == {"device_of"}


def test_both_protocols(executor, foreign):
    """The stream of the one is what the other is asked to be ready on."""
    away = foreign(X)
    away.__cuda_array_interface__ = {"version": 3, "stream": THEIRS}
    npool.max_pool(away, (2, 2))
    assert away.asked == [THEIRS]
    assert executor.streams == [(0, THEIRS)]
    assert not [asked for asked in executor.asked if asked[0] == "order"]


def test_what_the_interface_may_say_and_npool_refuses(executor):
    for more, error, words in [
        ({"version": 3, "stream": 0}, ValueError, "does not say which of two"),
        ({"version": 3, "mask": Described(X > 0)}, TypeError, "has a mask"),
        ({"version": 3, "typestr": "<V2"}, TypeError, "dtype"),
        ({"version": 3, "data": (address_of(X) + 1, False)}, ValueError, "not aligned"),
    ]:
        with pytest.raises(error, match=words):
            npool.max_pool(Described(X, **more), (2, 2), out=Described(X.copy(), version=3))
    with pytest.raises(TypeError, match=r"Described on a CUDA device.*give out="):
        npool.max_pool(Described(X, version=3), (2, 2))
    assert not executor.reports
