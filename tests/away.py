"""Arrays that say they lie on a CUDA device, and an engine that runs their kernels as PTX.

Their memory is the host's, so whatever reaches for it without the engine is found out by the
types, and what a kernel writes can be looked at. `Executor` takes the place of the driver: each
launch runs the PTX that the device would be given, and may touch the arrays of its call alone.
"""

import ctypes
from contextlib import contextmanager
from math import prod
from typing import ClassVar

import cuda_counts
import numpy as np
from quick_numba import spared, uncollected

from npool.cuda import calls, device, holders, launching, steps, toolkit
from npool.cuda.binding import Code
from npool.cuda.holders import Held

ARCHITECTURES = ((8, 0), (9, 0), (10, 0))
#: The stream that is current on device 0; on device 1 it is the next.
STREAM = 0x5EED


class Away:
    """A NumPy array that is not one: only its protocols say what it holds."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def __cuda_array_interface__(self):
        about = dict(self._array.__array_interface__)
        return {**about, "version": 3, "stream": STREAM}

    def __dlpack_device__(self):
        return 2, 0

    def __array__(self, *_args, **_kwargs):
        raise AssertionError("an array on a device was copied to the host")

    def home(self):
        """The elements, for a test to look at."""
        return self._array


def send(array, offset=0):
    """A copy 'on the device', in the same memory order, `offset` bytes past a line of 64."""
    strides = array.strides
    low = sum(min(0, s * (n - 1)) for n, s in zip(array.shape, strides, strict=True))
    high = sum(max(0, s * (n - 1)) for n, s in zip(array.shape, strides, strict=True))
    raw = np.full(high - low + array.itemsize + 192, 0xA5, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    inside = raw[start : start + high - low + array.itemsize]
    copy = np.lib.stride_tricks.as_strided(
        inside[-low:].view(np.uint8), (*array.shape, array.itemsize), (*strides, 1)
    )
    copy[...] = np.ascontiguousarray(array).view(np.uint8).reshape(*array.shape, array.itemsize)
    made = np.ndarray(array.shape, array.dtype, inside, -low, strides)
    return Away(made)


def _empty(shape, strides, dtype):
    flat = np.full(max(1, prod(shape)) * dtype.itemsize + 64, 0xEE, np.uint8)
    start = -flat.ctypes.data % 64
    size = dtype.itemsize
    return Away(np.ndarray(shape, dtype, flat, start, tuple(s * size for s in strides)))


def _held(x):
    array = x.home()
    return Held(array.__array_interface__["data"][0], 0, STREAM, array.shape, array.strides,
                array.dtype, _empty, x)  # fmt: skip


class Uploads:
    """Takes what the host sends, and gives memory, as the driver would."""

    def __init__(self, also=()):
        #: What was asked but launches, and the memory that was given; streams that may be used
        #: beside the one that is current.
        self.asked, self.owned, self.also = [], {}, also

    def _check(self, number, stream):
        assert stream == STREAM + number or stream in self.also, f"launched on stream {stream:#x}"

    def upload(self, address, array, number, stream):
        self._check(number, stream)
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def allocate(self, size, number, stream):
        self._check(number, stream)
        raw = np.full(size + 64, 0xEE, np.uint8)
        memory = raw[-raw.ctypes.data % 64 :][:size]
        address = memory.ctypes.data
        self.owned[address] = _known[id(memory)] = memory
        self.asked.append(("allocate", size, number, stream))
        return address

    def free(self, address, number, stream):
        del self.owned[address]
        self.asked.append(("free", number, stream))

    def order(self, number, first, then):
        self.asked.append(("order", number, first, then))

    def device_of(self, address):
        self.asked.append(("device_of", address))
        return 0


class Executor(Uploads):
    """Runs launches; `cc` is the architecture whose PTX is run, of those compiled `together`."""

    kernels: ClassVar[dict] = {}

    def __init__(self, cc=(9, 0), together=((9, 0), (10, 0)), also=()):
        super().__init__(also)
        self.cc, self.together, self.reports, self.streams = cc, together, [], []

    @classmethod
    def compiled(cls, code: Code, architectures=ARCHITECTURES):
        """The PTX of a kernel for each architecture, made once."""
        key = (
            code.source,
            code.kinds,
            code.form,
            code.pointers,
            code.reducer and code.reducer.combine,
            code.reducer and code.reducer.lift,
            code.reducer and code.reducer.finish,
        )
        found = cls.kernels.setdefault(key, {})
        if not set(architectures) <= set(found):
            function = code.function(architectures[0])
            with spared():
                texts = toolkit.ptx(function, launching.signature(code), *architectures)
            for cc, (text, _) in zip(architectures, texts, strict=True):
                found[cc] = [text, None]
        return found

    def kernel(self, code):
        """The kernel, translated once."""
        from ptx import Kernel

        entry = self.compiled(code, self.together)[self.cc]
        if entry[1] is None:
            with uncollected():
                entry[1] = Kernel(entry[0])
        return entry[1]

    def launch(self, step, addresses, number, stream):
        from ptx import Grid

        self._check(number, stream)
        named = step.code.form.pointers()
        sources = [a for name, a in zip(named, addresses, strict=True) if name[0] == "s"]
        results = [a for name, a in zip(named, addresses, strict=True) if name[0] == "d"]
        reads = [_memory_at(a) for a in sources]
        writes = [_memory_at(a) for a in results]
        if step.code.form.adding:
            reads += writes
        # Results are written once; a buffer between passes has room for several parts.
        once = not any(is_buffer(array) for array in writes)
        grid = Grid(step.launch.grid, step.launch.block)
        report = self.kernel(step.code)(
            grid, [*addresses, *step.numbers], _distinct(reads), _distinct(writes), once
        )
        self.reports.append((step, report))
        self.streams.append((number, stream))


class Flat:
    """Memory from an address on, as a pointer sees it; nothing outside its array is reached."""

    def __init__(self, array, address, dtype, writes):
        low, high = np.lib.array_utils.byte_bounds(array)
        self.size = dtype.itemsize
        self.first, self.last = low - address, high - address
        raw = (ctypes.c_uint8 * (high - low)).from_address(low)
        self.raw, self.dtype, self.writes = np.frombuffer(raw, np.uint8), dtype, writes

    def _at(self, i):
        start = int(i) * self.size
        if not self.first <= start <= self.last - self.size:
            raise IndexError(f"element {i} of a pointer lies outside its array")
        return self.raw[start - self.first :][: self.size]

    def __getitem__(self, i):
        value = self._at(i).view(self.dtype)[0]
        return value if self.dtype.kind == "f" else value.item()

    def __setitem__(self, i, value):
        if not self.writes:
            raise IndexError("an array that is only to be read is written")
        if self.dtype.kind in "iu":
            bits = int(value) & ((1 << 8 * self.size) - 1)
            value = np.array(bits, f"u{self.size}").view(self.dtype)
        self._at(i).view(self.dtype)[0] = value


class Simulator(Uploads):
    """Runs launches in Numba's simulator, a Python thread for each of the GPU's."""

    def __init__(self):
        super().__init__()
        self.launches = 0

    def launch(self, step, addresses, number, stream):
        self._check(number, stream)
        self.launches += 1
        code = step.code
        kernel = toolkit.cuda.jit(code.function())
        pointers = [
            Flat(_memory_at(address), address, dtype, name[0] == "d")
            for address, dtype, name in zip(
                addresses, code.pointers, code.form.pointers(), strict=True)
        ]  # fmt: skip
        numbers = [
            dtype.type(n) if dtype.kind == "f" else int(n)
            for n, (_, dtype) in zip(step.numbers, code.numbers, strict=True)
        ]
        kernel[step.launch.grid, step.launch.block](*pointers, *numbers)


_known = {}
_buffers = set()


def is_buffer(array):
    """Whether an array is a buffer between two passes."""
    return array.__array_interface__["data"][0] in _buffers


def _distinct(arrays):
    return list({id(a): a for a in arrays}.values())


def _memory_at(address):
    """The array, of those of the call, that an address lies in."""
    for array in reversed(list(_known.values())):
        low, high = np.lib.array_utils.byte_bounds(array)
        if low <= address < high:
            return array
    raise AssertionError(f"{address:#x} is in no array of the call")


def _watched(x, name="x"):
    about = _original(x, name)
    if isinstance(x, Away):
        know(x.home())
    elif hasattr(about.array, "memory_here"):  # a tensor, or an array of some stand-in
        know(about.array.memory_here())
    if name == "a buffer":
        _buffers.add(about.address)
    return about


def know(array):
    """Let kernels of the calls to come touch an array of the host."""
    _known[id(array)] = array


_original = holders.held


@contextmanager
def on(executor):
    """Calls with `Away` arrays run by an executor."""
    before = calls.held, calls.launch, calls.driver, holders.driver
    holders.HOLDERS["away"] = _held
    calls.held, calls.launch = _watched, executor.launch
    calls.driver = holders.driver = lambda: executor
    _known.clear()
    _buffers.clear()
    try:
        yield executor
    finally:
        del holders.HOLDERS["away"]
        calls.held, calls.launch, calls.driver, holders.driver = before
        _known.clear()


@contextmanager
def small_grids():
    """Grids of one block of a few threads, each of which goes through many planes."""
    before = steps.THREADS, steps.BLOCKS
    steps.THREADS, steps.BLOCKS = 16, 1
    _forget()
    try:
        yield
    finally:
        steps.THREADS, steps.BLOCKS = before
        _forget()


def _forget():
    device._program.cache_clear()
    device._drawn_program.cache_clear()
    device._take_program.cache_clear()
    device._anywhere_program.cache_clear()
    device._gradient_program.cache_clear()


def call(function, executor, *arrays, home=True, **arguments):
    """``function(*arrays, **arguments)`` with the arrays sent away, and what came back."""
    sent = [send(a) if isinstance(a, np.ndarray) else a for a in arrays]
    before = len(getattr(executor, "reports", ()))
    with on(executor):
        result = function(*sent, **arguments)
    if isinstance(executor, Executor):
        steps_ = [step for step, _ in executor.reports[before:]]
        cuda_counts.note(executor.cc, steps_, cuda_counts.geometry_of(arrays[0], arguments))
    many = result if isinstance(result, tuple) else (result,)
    assert all(isinstance(r, Away) for r in many), "the result is of another kind"
    for array, away in zip(arrays, sent, strict=True):
        if isinstance(array, np.ndarray):
            assert array.tobytes() == away.home().tobytes(), "the input was written to"
    found = tuple(r.home() for r in many) if home else many
    return found if isinstance(result, tuple) else found[0]
