"""The same words as `npool.cpu.instructions`, for NUMBA_DISABLE_JIT=1: nothing is compiled.

The loops and the driver then run as plain Python, which is slow but shows a debugger, and a
coverage tool, every line. Addresses stay addresses; a 'compiled loop' is a number in a table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npool import scalars

__all__ = [
    "DECODERS",
    "ENCODERS",
    "VOCABULARY",
    "Memory",
    "caller",
    "caster",
    "copy",
    "fence",
    "get",
    "jit",
    "prefetch",
    "put",
    "register",
    "select",
    "stream",
    "table",
    "view",
]

select = scalars.select
#: The meaning of each word is the word itself.
VOCABULARY: dict[Any, Any] = {}
_loops: list[Callable[..., Any]] = []


def jit(
    function: Callable[..., Any], entry: bool = False, inline: bool = False
) -> Callable[..., Any]:
    """The function itself."""
    return function


class Memory:
    """Elements at an address; integers are Python's when read, and wrap when written."""

    def __init__(self, at: int, n: int, dtype: np.dtype[Any]) -> None:
        dtype = np.dtype(dtype)
        self.dtype, self.n = dtype, n
        raw = (ctypes.c_uint8 * (n * dtype.itemsize)).from_address(int(at))
        self.array: NDArray[Any] = np.ctypeslib.as_array(raw).view(dtype)

    def __getitem__(self, i: int) -> Any:
        if not 0 <= i < self.n:
            raise IndexError(f"element {i} of {self.n}")
        value = self.array[i]
        return value if self.dtype.kind == "f" else value.item()

    def __setitem__(self, i: int, value: Any) -> None:
        if not 0 <= i < self.n:
            raise IndexError(f"element {i} of {self.n}")
        if self.dtype.kind in "iu":
            bits = int(value) & ((1 << 8 * self.dtype.itemsize) - 1)
            value = np.array(bits, f"u{self.dtype.itemsize}").view(self.dtype)
        self.array[i] = value


def caster(dtype: np.dtype[Any]) -> Callable[[Any], Any]:
    """What makes a scalar one of `dtype`; integers stay Python's, but wrap."""
    if dtype.kind not in "iu":
        return dtype.type
    bits, low = 8 * dtype.itemsize, int(np.iinfo(dtype).min)
    return lambda value: (int(value) - low) % (1 << bits) + low


def view(at: int, n: int, dtype: np.dtype[Any]) -> Memory:
    """The `n` elements of `dtype` at the address `at`."""
    return Memory(at, n, dtype)


_WORD = np.dtype(np.int64)


def get(at: int, k: int) -> int:
    """The int64 at place `k` behind an address."""
    return int(Memory(at + 8 * k, 1, _WORD)[0])


def put(at: int, k: int, value: int) -> None:
    """Write an int64 to place `k` behind an address."""
    Memory(at + 8 * k, 1, _WORD)[0] = value


def prefetch(at: int, n: int) -> None:
    """Nothing: it is only for speed."""


def copy(dst: int, src: int, n: int) -> None:
    """Copy `n` bytes."""
    ctypes.memmove(dst, src, n)


def stream(dst: int, src: int, n: int) -> None:
    """Copy `n` bytes."""
    ctypes.memmove(dst, src, n)


def fence() -> None:
    """Nothing: one thread runs at a time."""


def table(width: int) -> tuple[Callable[..., int], Callable[..., None]]:
    """``read(at, i, k)`` and ``write(at, i, k, value)`` of int64 tables of `width` columns."""
    return (
        lambda at, i, k: get(at, i * width + k),
        lambda at, i, k, value: put(at, i * width + k, value),
    )


def register(function: Callable[..., Any]) -> int:
    """A number by which a caller finds `function`."""
    _loops.append(function)
    return len(_loops) - 1


def caller(arguments: tuple[str, ...]) -> Callable[..., None]:
    """A function that calls a registered loop with `arguments`."""

    def call(loop: int, *given: Any) -> None:
        # Numba's arithmetic is silent; so is this.
        with np.errstate(all="ignore"):
            _loops[loop](*(bool(g) if a == "fresh" else int(g) for a, g in zip(
                arguments, given, strict=True)))  # fmt: skip

    return call


def _half(name: str) -> np.dtype[Any]:
    if name == "float16":
        return np.dtype(np.float16)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def _decoder(name: str) -> Callable[[int], Any]:
    return lambda bits: np.array(bits, np.uint16).view(_half(name)).astype(np.float32)[()]


def _encoder(name: str) -> Callable[[Any], int]:
    return lambda value: np.array(value, np.float32).astype(_half(name)).view(np.uint16).item()


def _key(infinity: int, nan: int) -> Callable[[int], int]:
    def decode(bits: int) -> int:
        if bits & 0x7FFF > infinity:
            return nan
        return bits if bits < 0x8000 else -(bits & 0x7FFF) - 1

    return decode


def _encode_key(key: int) -> int:
    return key if key >= 0 else 0x8000 | (-key - 1)


DECODERS: dict[tuple[str, str], Any] = {
    ("float16", "highest"): _key(0x7C00, 0x7FFF),
    ("float16", "lowest"): _key(0x7C00, -0x8000),
    ("bfloat16", "highest"): _key(0x7F80, 0x7FFF),
    ("bfloat16", "lowest"): _key(0x7F80, -0x8000),
}
ENCODERS: dict[tuple[str, str], Any] = dict.fromkeys(DECODERS, _encode_key)
for _name in ("float16", "bfloat16"):
    DECODERS[_name, "value"] = _decoder(_name)
    ENCODERS[_name, "value"] = _encoder(_name)
