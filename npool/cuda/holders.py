"""Arrays on a device, by the framework that holds them: Numba, CuPy, torch, or any by protocol.

A framework is never imported: whoever has an array of its has imported it. Results are made by
the framework's own allocator, on the array's device, for the stream that is current there. Of a
framework that npool does not know by name, the protocols say where an array lies and on which
stream it is ready; results lie in the driver's memory, and become its arrays by its `from_dlpack`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from npool.cuda import dlpack
from npool.cuda.launching import driver
from npool.dispatch import on_device
from npool.dtypes import SUPPORTED, check_dtype, named_dtype

__all__ = ["HOLDERS", "Held", "aligned_to", "held"]


@dataclass(frozen=True)
class Held:
    """What the engine needs to know of an array on a device.

    Attributes
    ----------
    address, device, stream : int
        Of the first element, of the GPU, and the handle of its current stream.
    shape, strides : tuple of int
        Strides in bytes.
    dtype : numpy.dtype
    empty : callable
        ``empty(shape, strides, dtype)``: a new array there, strides in elements.
    array : object
        The array itself.
    scratch : callable, optional
        The same for what only kernels see, where it differs.
    deliver : callable, optional
        Makes of `array` what the caller gets, once it is written.
    readonly : bool
    keep : object
        What the memory lives by, beside `array`.
    """

    address: int
    device: int
    stream: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    empty: Callable[[tuple[int, ...], tuple[int, ...], np.dtype[Any]], Any]
    array: Any
    scratch: Callable[[tuple[int, ...], tuple[int, ...], np.dtype[Any]], Any] | None = None
    deliver: Callable[[Any], Any] | None = None
    readonly: bool = False
    keep: Any = None

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device

    @property
    def size(self) -> int:
        """How many elements there are."""
        return prod(self.shape)

    @property
    def extent(self) -> tuple[int, int]:
        """Where its memory begins and ends."""
        if not self.size:
            return self.address, self.address
        low = sum(min(0, s * (n - 1)) for n, s in zip(self.shape, self.strides, strict=True))
        high = sum(max(0, s * (n - 1)) for n, s in zip(self.shape, self.strides, strict=True))
        return self.address + low, self.address + high + self.dtype.itemsize


def _numba(x: Any) -> Held:
    from npool.cuda.toolkit import cuda

    about = x.__cuda_array_interface__
    shape, dtype, device = tuple(about["shape"]), np.dtype(about["typestr"]), _device_of(x)

    def empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        with cuda.gpus[device]:
            flat = cuda.device_array(max(1, prod(shape)), dtype)
        made = type(flat)
        size = dtype.itemsize
        stream = getattr(x, "stream", 0)
        return made(shape, tuple(s * size for s in strides), dtype, stream, flat.gpu_data)

    # Version 3 names the stream to be waited for; None is a promise that there is no need.
    stream = about.get("stream") or getattr(getattr(x, "stream", 0), "handle", 0) or 0
    return Held(about["data"][0], device, int(getattr(stream, "value", stream) or 0), shape,
                _strides(about, shape, dtype), dtype, empty, x)  # fmt: skip


def _device_of(x: Any) -> int:
    ask = getattr(x, "__dlpack_device__", None)
    if ask is not None:
        return int(ask()[1])
    context = getattr(getattr(x, "gpu_data", None), "context", None)
    return int(getattr(getattr(context, "device", None), "id", 0))


def _strides(
    about: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[int, ...]:
    given = about.get("strides")
    return dlpack.contiguous(shape, dtype.itemsize) if given is None else tuple(given)


def _cupy(x: Any) -> Held:
    cupy = sys.modules["cupy"]

    def empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        with cupy.cuda.Device(x.device.id):
            flat = cupy.empty(max(1, prod(shape)), dtype)
        size = dtype.itemsize
        return cupy.ndarray(shape, dtype, flat.data, tuple(s * size for s in strides))

    with cupy.cuda.Device(x.device.id):
        stream = cupy.cuda.get_current_stream().ptr
    return Held(int(x.data.ptr), int(x.device.id), int(stream), tuple(x.shape), tuple(x.strides),
                np.dtype(x.dtype), empty, x)  # fmt: skip


def _torch(x: Any) -> Held:
    torch = sys.modules["torch"]
    if getattr(x, "requires_grad", False) and torch.is_grad_enabled():
        raise TypeError(
            "x requires a gradient, which this function of arrays would lose: use npool.max_pool "
            "and its kin or npool.torch.functional, pass x.detach(), or call it under "
            "torch.no_grad()"
        )
    dtype = named_dtype(_torch_name(x.dtype), "x")

    def empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        return x.new_empty_strided(shape, strides, dtype=getattr(torch, dtype.name))

    device = x.device.index or 0
    return Held(int(x.data_ptr()), device, int(torch.cuda.current_stream(x.device).cuda_stream),
                tuple(x.shape), tuple(s * dtype.itemsize for s in x.stride()), dtype, empty,
                x)  # fmt: skip


def _torch_name(dtype: Any) -> Any:
    name = str(dtype).removeprefix("torch.")
    if name != "bfloat16":
        return name
    import ml_dtypes

    return ml_dtypes.bfloat16


def _by_protocol(x: Any, name: str) -> Held:
    """An array of a framework that npool does not know by name."""
    about = _interface_of(x)
    stream = _stream_of(about, name)
    take = _taker(x)
    if hasattr(x, "__dlpack__"):
        seen = dlpack.taken(x, stream, name)
        where, shape, strides, dtype = seen.device, seen.shape, seen.strides, seen.dtype
        address, readonly, keep = seen.address, seen.readonly, seen.capsule
    else:
        if about.get("mask") is not None:
            raise TypeError(f"{name} has a mask, which pooling would not heed: fill it first")
        shape, dtype = tuple(about["shape"]), named_dtype(about["typestr"], name)
        strides, (address, readonly), keep = _strides(about, shape, dtype), about["data"], None
        ask = getattr(x, "__dlpack_device__", None)
        where = ask()[1] if ask else driver().device_of(address) if address else 0

    def ours(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Held:
        memory = dlpack.Memory(driver(), prod(shape) * dtype.itemsize, where, stream)
        array = dlpack.Shared(memory, shape, strides, dtype)
        size = tuple(s * dtype.itemsize for s in strides)
        return Held(memory.address, where, stream, shape, size, dtype, ours, array, deliver=take)

    def none(*_: Any) -> Any:
        kind = type(x)
        raise TypeError(
            f"{name} is a {kind.__module__}.{kind.__qualname__} on a CUDA device, of which npool "
            f"cannot make results: give out=, or pass an array of {', '.join(HOLDERS)}, such as "
            "numba.cuda.as_cuda_array(x)"
        )

    return Held(int(address), int(where), stream, shape, strides, dtype, ours if take else none, x,
                scratch=ours, readonly=bool(readonly), keep=keep)  # fmt: skip


def _interface_of(x: Any) -> dict[str, Any]:
    try:
        about: dict[str, Any] = getattr(x, "__cuda_array_interface__", None) or {}
        return about
    except (RuntimeError, TypeError, BufferError):  # has it, but not for this array
        return {}


def _stream_of(about: dict[str, Any], name: str) -> int:
    """The stream of an array: the one that its interface names, from version 3 on, or the default.

    What is launched there comes after all that has been done to the array.
    """
    stream = about.get("stream") if about.get("version", 0) >= 3 else None
    if stream is None:
        return dlpack.LEGACY
    if stream == 0:
        raise ValueError(
            f"{name}.__cuda_array_interface__ has stream 0, which does not say which of two is "
            "meant: it must be None, 1 (the legacy default), 2 (that of a thread), or a stream"
        )
    return int(stream)


def _taker(x: Any) -> Callable[[Any], Any] | None:
    """The `from_dlpack` of the namespace, or else of the package, that an array comes from."""
    if not hasattr(x, "__dlpack__"):
        return None
    ask = getattr(x, "__array_namespace__", None)
    package = sys.modules.get(type(x).__module__.partition(".")[0])
    for place in (ask() if ask is not None else None, package):
        take: Callable[[Any], Any] | None = getattr(place, "from_dlpack", None)
        if take is not None:
            return take
    return None


#: The package that an array's type comes from, to what reads it.
HOLDERS: dict[str, Callable[[Any], Held]] = {"numba": _numba, "cupy": _cupy, "torch": _torch}


def held(x: Any, name: str = "x") -> Held:
    """What the engine needs to know of an array on a device.

    Raises
    ------
    TypeError
        For what is no array on a device, and for a dtype that is not supported.
    ValueError
        For elements that are not aligned.
    """
    if isinstance(x, Held):
        return x
    roots = [kind.__module__.partition(".")[0] for kind in type(x).__mro__]
    found = next((HOLDERS[root] for root in roots if root in HOLDERS), None)
    if found is None and not on_device(x):
        kind = type(x)
        raise TypeError(
            f"{name} is a {kind.__module__}.{kind.__qualname__}, which is not on a CUDA device: "
            "give an array of the kind of x"
        )
    about = found(x) if found is not None else _by_protocol(x, name)
    if not about.dtype.isnative:
        raise TypeError(f"{name} has dtype {about.dtype}, not in native byte order: use one of "
                        f"{SUPPORTED}")  # fmt: skip
    check_dtype(about.dtype, name)
    size = about.dtype.itemsize
    whole = all(s % size == 0 for n, s in zip(about.shape, about.strides, strict=True) if n > 1)
    if about.size and (about.address % _alignment(about.dtype) or not whole):
        raise ValueError(f"{name} is not aligned to its elements of {size} bytes: copy it first")
    return about


def _alignment(dtype: np.dtype[Any]) -> int:
    return dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize


def aligned_to(addresses: Sequence[int]) -> int:
    """To how many bytes, up to 16, all of some addresses are aligned."""
    together = 16
    for address in addresses:
        together |= address
    return together & -together
