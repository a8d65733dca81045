"""Arrays on a device, by the framework that holds them: Numba, CuPy, torch.

A framework is never imported: whoever has an array of its has imported it. Results are made by
the framework's own allocator, on the array's device, for the stream that is current there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

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
    """

    address: int
    device: int
    stream: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    empty: Callable[[tuple[int, ...], tuple[int, ...], np.dtype[Any]], Any]
    array: Any

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
    shape, dtype = tuple(about["shape"]), np.dtype(about["typestr"])

    def empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        flat = cuda.device_array(max(1, prod(shape)), dtype)
        made = type(flat)
        size = dtype.itemsize
        stream = getattr(x, "stream", 0)
        return made(shape, tuple(s * size for s in strides), dtype, stream, flat.gpu_data)

    # Version 3 names the stream to be waited for; None is a promise that there is no need.
    stream = about.get("stream") or getattr(getattr(x, "stream", 0), "handle", 0) or 0
    return Held(about["data"][0], _device_of(x), int(getattr(stream, "value", stream) or 0), shape,
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
    if given is not None:
        return tuple(given)
    strides, step = [], dtype.itemsize
    for n in reversed(shape):
        strides.append(step)
        step *= max(1, n)
    return tuple(reversed(strides))


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


#: The package that an array's type comes from, to what reads it.
HOLDERS: dict[str, Callable[[Any], Held]] = {"numba": _numba, "cupy": _cupy, "torch": _torch}


def held(x: Any, name: str = "x") -> Held:
    """What the engine needs to know of an array on a device.

    Raises
    ------
    TypeError
        For a kind of array of which npool cannot make results, and for a dtype that is not
        supported.
    ValueError
        For elements that are not aligned.
    """
    if isinstance(x, Held):
        return x
    roots = [kind.__module__.partition(".")[0] for kind in type(x).__mro__]
    found = next((HOLDERS[root] for root in roots if root in HOLDERS), None)
    if found is None:
        kind = type(x)
        raise TypeError(
            f"{name} is a {kind.__module__}.{kind.__qualname__} on a CUDA device, of which npool "
            f"cannot make results: pass an array of {', '.join(HOLDERS)}, such as "
            "numba.cuda.as_cuda_array(x)"
        )
    about = found(x)
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
