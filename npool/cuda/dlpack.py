"""DLPack 1: what a capsule says of an array on a device, and capsules of memory of our own.

https://dmlc.github.io/dlpack/latest/ gives the structures, and what streams are to each other: who
takes an array says on which stream it goes on, and who gives it sees to its being ready there.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

from npool.dtypes import named_dtype

__all__ = ["LEGACY", "Memory", "Shared", "Taken", "contiguous", "taken"]

#: The stream that frameworks without a word of their own work on, as DLPack and the driver name it.
LEGACY = 1
_CUDA = 2
_READ_ONLY = 1
_NAMES = (b"dltensor", b"dltensor_versioned")
#: DLPack's kinds of elements.
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device", _Device), ("ndim", ctypes.c_int32), ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _Tensor),
    )  # fmt: skip


def _python(name: str, result: Any, *arguments: Any) -> Any:
    # Capsules are passed as addresses: one that is being freed must not be referred to.
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_is_valid = _python("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer = _python("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_new = _python("PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


# --- what a capsule says --------------------------------------------------------------------------


class Taken(NamedTuple):
    """An array as its capsule describes it, with strides in bytes; alive as long as `capsule`."""

    address: int
    device: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    readonly: bool
    capsule: Any


def taken(x: Any, stream: int, name: str) -> Taken:
    """What `x` says by ``__dlpack__`` of its memory, once it is ready on `stream`.

    Raises
    ------
    TypeError
        For elements that DLPack has and npool does not pool.
    """
    try:
        capsule = x.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # from before DLPack had versions
        capsule = x.__dlpack__(stream=stream)
    found = id(capsule)
    if _is_valid(found, _NAMES[1]):
        whole = _Versioned.from_address(_pointer(found, _NAMES[1]))
        if whole.major != 1:
            raise TypeError(
                f"{name} is given by DLPack {whole.major}.{whole.minor}: npool reads version 1"
            )
        tensor, readonly = whole.tensor, bool(whole.flags & _READ_ONLY)
    elif _is_valid(found, _NAMES[0]):
        tensor, readonly = _Managed.from_address(_pointer(found, _NAMES[0])).tensor, False
    else:
        raise TypeError(f"{name}.__dlpack__() gave no DLPack capsule, but {capsule!r}")
    dtype = _dtype_of(tensor.type, name)
    shape = tuple(tensor.shape[: tensor.ndim])
    if tensor.strides:
        strides = tuple(s * dtype.itemsize for s in tensor.strides[: tensor.ndim])
    else:
        strides = contiguous(shape, dtype.itemsize)
    address = (tensor.data or 0) + tensor.offset
    return Taken(address, tensor.device.number, shape, strides, dtype, readonly, capsule)


def _dtype_of(kind: _Type, name: str) -> np.dtype[Any]:
    code = _CODES.get(kind.code)
    word = "bool" if code == "bool" and kind.bits == 8 else f"{code}{kind.bits}"
    if code is None or kind.lanes != 1:
        word = f"DLPack's {kind.code}, {kind.bits} bits, {kind.lanes} lanes"
    if word == "bfloat16":
        import ml_dtypes

        word = ml_dtypes.bfloat16
    return named_dtype(word, name)


def contiguous(shape: tuple[int, ...], step: int) -> tuple[int, ...]:
    """Strides in bytes of elements of `step` bytes one after another, the last axis the fastest."""
    strides = []
    for n in reversed(shape):
        strides.append(step)
        step *= max(1, n)
    return tuple(reversed(strides))


# --- memory of our own ----------------------------------------------------------------------------


class Memory:
    """Memory of the driver's pool of a device; given back in the order of its stream.

    Parameters
    ----------
    driver : npool.cuda.launching.Driver
    size : int
        In bytes.
    device, stream : int
    """

    def __init__(self, driver: Any, size: int, device: int, stream: int) -> None:
        self.driver, self.device, self.stream = driver, device, stream
        self.address = int(driver.allocate(max(1, size), device, stream))

    def __del__(self) -> None:
        address, self.address = getattr(self, "address", 0), 0
        if address:
            self.driver.free(address, self.device, self.stream)


class Shared:
    """An array in memory of ours, for a framework to take by its ``from_dlpack``."""

    def __init__(
        self, memory: Memory, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.memory, self.shape, self.strides, self.dtype = memory, shape, strides, dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CUDA, self.memory.device

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None,
        copy: Any = None,
    ) -> Any:  # fmt: skip
        """A capsule of the array, which is ready on the consumer's stream."""
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("npool gives its results where they lie, without a copy")
        theirs = LEGACY if stream is None else int(stream)
        memory = self.memory
        if theirs not in (-1, memory.stream):
            memory.driver.order(memory.device, memory.stream, theirs)
        versioned = max_version is not None and max_version[0] >= 1
        whole: Any = _Versioned() if versioned else _Managed()
        if versioned:
            whole.major, whole.minor = 1, 0
        lengths = (ctypes.c_int64 * max(1, len(self.shape)))(*self.shape)
        steps = (ctypes.c_int64 * max(1, len(self.shape)))(*self.strides)
        tensor = whole.tensor
        tensor.data, tensor.ndim, tensor.type = memory.address, len(self.shape), _type(self.dtype)
        tensor.device = _Device(_CUDA, memory.device)
        tensor.shape = ctypes.cast(lengths, ctypes.POINTER(ctypes.c_int64))
        tensor.strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64))
        whole.deleter = ctypes.cast(_delete, ctypes.c_void_p).value
        address = ctypes.addressof(whole)
        _given[address] = whole, lengths, steps, memory
        return _new(address, _NAMES[versioned], ctypes.cast(_drop, ctypes.c_void_p))


def _type(dtype: np.dtype[Any]) -> _Type:
    name = "bfloat" if dtype.name == "bfloat16" else dtype.name.rstrip("0123456789")
    code = next(code for code, word in _CODES.items() if word == name)
    return _Type(code, 8 * dtype.itemsize, 1)


#: What others hold of ours, by the address of its structure, until they call its deleter.
_given: dict[int, Any] = {}


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _delete(address: int) -> None:
    _given.pop(address, None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _drop(capsule: int) -> None:
    """A capsule that nobody took; one that was taken has another name."""
    for name in _NAMES:
        if _is_valid(capsule, name):
            _given.pop(_pointer(capsule, name), None)
