"""Kernels on a device: compiled once for its architecture, launched on the caller's stream.

Nothing is synchronised and nothing is copied. What is launched is the machine code that
`npool.cuda.inspect` shows, made of the PTX that the tests run.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from npool.cuda.binding import Code
from npool.cuda.inspect import cubin
from npool.cuda.program import Step
from npool.cuda.toolkit import ptx, types

__all__ = ["Driver", "driver", "launch", "signature"]


def signature(code: Code) -> tuple[Any, ...]:
    """The types of a kernel's arguments, as Numba names them."""

    def kind(dtype: np.dtype[Any]) -> Any:
        return getattr(types, dtype.name)

    pointers = (types.CPointer(kind(dtype)) for dtype in code.pointers)
    return (*pointers, *(kind(dtype) for _, dtype in code.numbers))


_C_TYPES = {"int32": ctypes.c_int32, "int64": ctypes.c_int64, "float32": ctypes.c_float,
            "float64": ctypes.c_double}  # fmt: skip


class Driver:
    """The CUDA driver: the few calls of it that a launch needs.

    Raises
    ------
    RuntimeError
        Where there is no driver or no device.
    """

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver as api

            (status,) = api.cuInit(0)
            failure = "" if not int(status) else f"cuInit says {status.name}"
        except (ImportError, RuntimeError, OSError) as error:
            api, failure = None, str(error).splitlines()[0]
        if failure:
            raise RuntimeError(
                f"x lies on a CUDA device, but there is no CUDA driver to reach it ({failure}): "
                "install NVIDIA's driver, or pass a numpy.ndarray"
            )
        self.api: Any = api
        self.contexts: dict[int, Any] = {}

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *found = getattr(self.api, name)(*arguments)
        if int(status):
            raise RuntimeError(f"the CUDA driver's {name} failed: {status.name}")
        return found[0] if found else None

    def architecture(self, device: int) -> tuple[int, int]:
        """The compute capability of a device."""
        attribute = self.api.CUdevice_attribute
        number = self._call("cuDeviceGet", device)
        return (
            int(self._call("cuDeviceGetAttribute",
                           attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, number)),
            int(self._call("cuDeviceGetAttribute",
                           attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, number)),
        )  # fmt: skip

    def _enter(self, device: int) -> bool:
        """Make the device's primary context current; whether it has to be left again."""
        if device not in self.contexts:
            number = self._call("cuDeviceGet", device)
            self.contexts[device] = self._call("cuDevicePrimaryCtxRetain", number)
        context = self.contexts[device]
        if int(self._call("cuCtxGetCurrent")) == int(context):
            return False
        self._call("cuCtxPushCurrent", context)
        return True

    def _within(self, device: int, name: str, *arguments: Any) -> Any:
        """A call in the device's context."""
        entered = self._enter(device)
        try:
            return self._call(name, *arguments)
        finally:
            if entered:
                self._call("cuCtxPopCurrent")

    def load(self, text: str, name: str, device: int, cc: tuple[int, int]) -> Any:
        """A kernel from its PTX."""
        code = cubin(text, cc)
        entered = self._enter(device)
        try:
            module = self._call("cuModuleLoadData", code)
            return self._call("cuModuleGetFunction", module, name.encode())
        finally:
            if entered:
                self._call("cuCtxPopCurrent")

    def upload(self, address: int, array: np.ndarray[Any, Any], device: int, stream: int) -> None:
        """Copy an array of the host to an address, in the order of a stream.

        The driver has taken the array's elements when this returns, and waits for nothing else.
        """
        self._within(device, "cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def allocate(self, size: int, device: int, stream: int) -> int:
        """The address of new memory of the device's pool, in the order of a stream."""
        return int(self._within(device, "cuMemAllocAsync", size, stream))

    def free(self, address: int, device: int, stream: int) -> None:
        """Give memory of `allocate` back, in the order of a stream."""
        self._within(device, "cuMemFreeAsync", address, stream)

    def order(self, device: int, first: int, then: int) -> None:
        """Let what comes to a stream from now on wait for what is on another; the host does not."""
        event = self._within(device, "cuEventCreate", 2)  # one that takes no time
        self._within(device, "cuEventRecord", event, first)
        self._within(device, "cuStreamWaitEvent", then, event, 0)
        self._within(device, "cuEventDestroy", event)

    def device_of(self, address: int) -> int:
        """The device that memory lies on."""
        attribute = self.api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(self._call("cuPointerGetAttribute", attribute, address))

    def launch(
        self,
        kernel: Any,
        device: int,
        stream: int,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        kinds: Sequence[Any],
    ) -> None:
        """Put a kernel on a stream."""
        packed = tuple(arguments), tuple(kinds)
        self._within(device, "cuLaunchKernel", kernel, *grid, *block, 0, stream, packed, 0)


_lock = threading.Lock()
_driver: Any = None
_architectures: dict[int, tuple[int, int]] = {}
_kernels: dict[Any, Any] = {}


def driver() -> Any:
    """The driver, looked for once."""
    global _driver
    if _driver is None:
        with _lock:
            _driver = _driver or Driver()
    return _driver


def launch(step: Step, addresses: Sequence[int], device: int, stream: int) -> None:
    """One launch; `addresses` are those of its pointers."""
    found = _kernels.get((step.code, device))
    if found is None:
        found = _prepared(step.code, device)
    kernel, kinds = found
    launched = step.launch
    arguments = (*addresses, *step.numbers)
    driver().launch(kernel, device, stream, launched.grid, launched.block, arguments, kinds)


def _prepared(code: Code, device: int) -> tuple[Any, tuple[Any, ...]]:
    reached = driver()
    with _lock:
        key = (code, device)
        if key not in _kernels:
            cc = _architectures.setdefault(device, reached.architecture(device))
            ((text, name),) = ptx(code.function(cc), signature(code), cc)
            kinds: tuple[Any, ...] = (ctypes.c_void_p,) * len(code.pointers)
            kinds += tuple(_C_TYPES[dtype.name] for _, dtype in code.numbers)
            _kernels[key] = reached.load(text, name, device, cc), kinds
        return _kernels[key]
