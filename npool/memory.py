"""Memory of results: on lines of the cache, and used again once a large result is gone.

The system hands out fresh memory zeroed, page by page, at the first touch: for a large result
that takes longer than pooling into it (docs/performance.md). So the memory of up to `KEPT`
bytes of results that nobody holds any more is kept for the next ones.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import deque
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["address", "empty"]

#: Bytes of a line of the cache; of a result from which on it starts on one, and from which on
#: its memory is used again; and of memory kept at most.
LINE, LARGE, HUGE, KEPT = 64, 1 << 15, 1 << 20, 1 << 26

# Appending and popping are atomic, and no lock is taken: results may die anywhere.
_free: deque[NDArray[np.uint8]] = deque()
if hasattr(os, "register_at_fork"):
    # A child would copy every page of these at its first write.
    os.register_at_fork(after_in_child=_free.clear)


def address(array: NDArray[Any]) -> int:
    """Where the elements of an array start.

    Not ``array.ctypes.data``, which takes a microsecond and imports a module the first time.
    """
    at: int = array.__array_interface__["data"][0]
    return at


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`numpy.empty` in C order; a large array starts on a line of the cache.

    NumPy's own large arrays start 16 bytes behind one, and then every vector of 64 bytes that
    is written takes two lines.
    """
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    if size < HUGE or size > KEPT:
        memory = np.empty(size + LINE, np.uint8)
        return np.ndarray(shape, dtype, memory, _start(memory))
    memory = _taken(size + LINE)
    # All views of the result refer to this, and to nothing else that owns the memory.
    owner: Any = (ctypes.c_uint8 * memory.size).from_address(address(memory))
    weakref.finalize(owner, _give, memory).atexit = False
    return np.ndarray(shape, dtype, owner, _start(memory))


def _start(memory: NDArray[np.uint8]) -> int:
    return -address(memory) % LINE


def _taken(size: int) -> NDArray[np.uint8]:
    """Memory of `size` bytes or a little more, used before if there is any."""
    for _ in range(len(_free)):
        try:
            memory = _free.popleft()
        except IndexError:
            break
        if size <= memory.size <= 2 * size:
            return memory
        _free.append(memory)
    return np.empty(size, np.uint8)


def _give(memory: NDArray[np.uint8]) -> None:
    """Keep `memory`, and as much of what was kept before as fits beside it."""
    _free.append(memory)
    while sum(kept.size for kept in tuple(_free)) > KEPT + 2 * LINE:
        try:
            _free.popleft()
        except IndexError:
            return
